"""What was spent of error budgets, kept for as long as the objectives ask.

Recent samples reach back for hours, objectives for weeks. So the ledger adds up good and bad
requests in buckets of five minutes, and after three days of an hour. It reads its buckets from the
recent samples once they are complete, and holds nothing where there are no objectives.

Plain state: `advance` takes the time and a way to read, `dump` and `load` write and read it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from pydantic import TypeAdapter

from dos.impact.base import Slo
from dos.impact.signals import Telemetry, requests_of
from dos.impact.slo import Spent, spent_of
from dos.kit.clock import DAY, HOUR, MINUTE, Millis
from dos.model.ids import EntityId

BUCKET = 5 * MINUTE
"""Length of a bucket, ms."""
LATE = MINUTE
"""A bucket is read so long after its end: samples may come late."""
FINE = 3 * DAY
"""Buckets older than this are put together by the hour."""

Read = Callable[[EntityId, Millis, Millis], Telemetry | None]
"""Samples of an entity from one time to another."""


@dataclass(slots=True, kw_only=True)
class _Book:
    """The buckets of one objective, oldest first: `[ms of the end, seconds, requests, bad]`."""

    rows: list[tuple[int, float, float, float]] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class _State:
    read_to: int = 0
    """End of the newest bucket that was read, ms; 0 before the first."""
    books: dict[str, _Book] = field(default_factory=dict)
    """By what is counted, so that a changed objective starts anew and a renamed one does not."""


_STATE: TypeAdapter[_State] = TypeAdapter(_State)


class Ledger:
    """Keeps what was spent.

    Args:
        slos: The objectives.
    """

    def __init__(self, slos: Sequence[Slo]) -> None:
        self._slos = tuple(slos)
        self._state = _State()

    def advance(self, now: Millis, read: Read) -> None:
        """Add the buckets that are complete by `now`.

        Args:
            now: The time.
            read: How to get at the samples; asked once for each objective and call.
        """
        if not self._slos:
            return
        state, end = self._state, (now - LATE) // BUCKET * BUCKET
        if end <= state.read_to:
            return
        # At first, and after a long silence, only what the samples at hand may still hold.
        start = max(state.read_to, end - DAY)
        for slo in self._slos:
            book = state.books.setdefault(_key(slo), _Book())
            telemetry = read(EntityId(slo.entity), Millis(start - BUCKET), Millis(end))
            if telemetry is not None:
                book.rows += _buckets(slo, telemetry, start)
            book.rows = _kept(book.rows, end, slo)
        state.books = {key: one for key, one in state.books.items() if key in self._keys()}
        state.read_to = end

    def spent(self) -> Mapping[str, Spent]:
        """What is known of each objective, by its name."""
        return {
            slo.title: _spent(self._state.books[_key(slo)])
            for slo in self._slos
            if _key(slo) in self._state.books
        }

    def dump(self) -> bytes:
        """The state as canonical JSON."""
        return _STATE.dump_json(self._state)

    def load(self, data: bytes) -> None:
        """Restore what `dump` wrote."""
        self._state = _STATE.validate_json(data)

    def _keys(self) -> set[str]:
        return {_key(slo) for slo in self._slos}


def _key(slo: Slo) -> str:
    return f"{slo.kind.value}/{slo.threshold}/{slo.entity}"


def _buckets(slo: Slo, telemetry: Telemetry, start: int) -> list[tuple[int, float, float, float]]:
    """The buckets after `start` in which anything is known."""
    here = requests_of(telemetry, EntityId(slo.entity))
    if here is None:
        return []
    pieces = spent_of(slo, here)
    bucket = -(-pieces.ends // BUCKET) * BUCKET  # a sample belongs to the time before it
    found: list[tuple[int, float, float, float]] = []
    for end in np.unique(bucket[pieces.ends > start]).tolist():
        seconds, requests, bad = pieces.within(end - BUCKET, end)
        found.append((end, seconds, requests, bad))
    return found


def _kept(
    rows: list[tuple[int, float, float, float]], end: int, slo: Slo
) -> list[tuple[int, float, float, float]]:
    """What the objective's window still needs; what is older than `FINE` by the hour."""
    oldest = end - max(round(slo.window * 1000), FINE)
    kept: list[tuple[int, float, float, float]] = []
    for at, seconds, requests, bad in rows:
        if at <= oldest:
            continue
        hour = -(-at // HOUR) * HOUR
        if hour <= end - FINE:
            _, s, r, b = kept.pop() if kept and kept[-1][0] == hour else (hour, 0.0, 0.0, 0.0)
            kept.append((hour, s + seconds, r + requests, b + bad))
        else:
            kept.append((at, seconds, requests, bad))
    return kept


def _spent(book: _Book) -> Spent:
    ends, seconds, requests, bad = zip(*book.rows, strict=True) if book.rows else ((), (), (), ())
    return Spent(
        ends=np.array(ends, np.int64),
        seconds=np.array(seconds, np.float64),
        requests=np.array(requests, np.float64),
        bad=np.array(bad, np.float64),
    )
