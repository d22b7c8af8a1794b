"""Two runs over the same past: which pages are new, gone, earlier or later.

A page of one run is the page of the other when both were open at a time and share an entity; of
several the one that began closest. The report is what `dos backtest --json` prints.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pydantic import TypeAdapter

from dos.app.settings import Settings
from dos.detect.promotion import Figures
from dos.evaluate.backtest.past import Known, Past
from dos.evaluate.backtest.run import Flight, Page, Progress, fly
from dos.kit.clock import SECOND

_FAR = 1 << 62


class Difference(StrEnum):
    """How a page differs between the two configurations."""

    NEW = "new"
    GONE = "gone"
    EARLIER = "earlier"
    LATER = "later"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One page that is not the same under the other configuration."""

    difference: Difference
    page: Page
    """Of the other configuration; what is gone of the present one."""
    seconds: float = 0.0
    """By how much it is earlier or later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestReport:
    """What would have fired, and what another configuration would change."""

    past: str
    """Where the input came from."""
    known: tuple[Known, ...]
    """What really was wrong, as far as it is known."""
    present: Flight
    other: Flight | None = None
    changes: tuple[Change, ...] = ()
    """In order of time."""


BACKTEST: TypeAdapter[BacktestReport] = TypeAdapter(BacktestReport)


def backtest(
    past: Past,
    present: Settings,
    other: Settings | None = None,
    *,
    other_past: Past | None = None,
    progress: Progress | None = None,
) -> BacktestReport:
    """Run the past under the present configuration, and under another one where it is given.

    Args:
        past: The input.
        present: What it is compared with.
        other: The configuration to be tried.
        other_past: The input of the second run where it differs, as by one more label.
        progress: Called with the time that was reached.
    """
    before = fly(past, present, progress)
    if other is None and other_past is None:
        return BacktestReport(past=past.name, known=past.known, present=before)
    after = fly(other_past or past, other or present, progress)
    return BacktestReport(
        past=past.name,
        known=past.known,
        present=before,
        other=after,
        changes=tuple(changes(before.pages, after.pages)),
    )


def changes(before: Sequence[Page], after: Sequence[Page]) -> Iterator[Change]:
    """What differs between the pages of two runs, in order of time."""
    pairs = _pairs(before, after)
    kept = {id(old) for old, _ in pairs}
    matched = {id(new): old for old, new in pairs}
    found: list[Change] = [
        Change(difference=Difference.GONE, page=page) for page in before if id(page) not in kept
    ]
    for page in after:
        old = matched.get(id(page))
        if old is None:
            found.append(Change(difference=Difference.NEW, page=page))
        elif page.told_at != old.told_at:
            seconds = (page.told_at - old.told_at) / SECOND
            moved = Difference.EARLIER if seconds < 0 else Difference.LATER
            found.append(Change(difference=moved, page=page, seconds=abs(seconds)))
    yield from sorted(found, key=lambda one: (one.page.told_at, one.page.incident))


def _pairs(before: Sequence[Page], after: Sequence[Page]) -> list[tuple[Page, Page]]:
    """Pages that are the same one; each is in one pair at most, the closest beginnings first."""
    candidates = sorted(
        (
            (abs(old.began_at - new.began_at), index, place)
            for index, old in enumerate(before)
            for place, new in enumerate(after)
            if _same(old, new)
        )
    )
    used: set[int] = set()
    taken: set[int] = set()
    pairs: list[tuple[Page, Page]] = []
    for _, index, place in candidates:
        if index not in used and place not in taken:
            used.add(index)
            taken.add(place)
            pairs.append((before[index], after[place]))
    return pairs


def _same(one: Page, other: Page) -> bool:
    together = one.began_at <= _end(other) and other.began_at <= _end(one)
    return together and not set(one.entities).isdisjoint(other.entities)


def _end(page: Page) -> int:
    return _FAR if page.resolved_at is None else page.resolved_at


def figures(flight: Flight) -> Figures:
    """What the rule of promotion looks at: pages about nothing known to be wrong are false."""
    counted = flight.tally
    return Figures(
        false=counted.pages - counted.right,
        found=counted.found,
        known=counted.known,
        mean_delay=counted.mean_delay,
    )
