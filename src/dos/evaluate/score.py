"""Scores of rankings against the truth, per set, with confidence intervals and a table.

AC@k is the share of cases whose true entity is among the first k; Avg@5 the mean of AC@1 to AC@5
(Pham et al. 2024, "Root cause analysis for microservices based on causal inference"). Entities
that tie stand at the worst of their places, so that a ranker gains nothing by giving everybody
the same score. The true service counts when the true entity is no entity of the case (a service
level name over pods): then any of its pods is right, and `level` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich import box
from rich.table import Table

from dos.evaluate.cases import LoadedCase, Truth, discover, load_case, reported_late
from dos.ingest.recorded import workload_of
from dos.kit.clock import Clock, SystemClock
from dos.model.ids import EntityId
from dos.model.rootcause import RootCause
from dos.model.telemetry import Float64Array
from dos.rca.base import Ranker

RESAMPLES = 2000
DEPTH = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedCase:
    """One case, ranked, beside its truth."""

    path: Path
    cause: RootCause
    order: tuple[tuple[EntityId, float], ...]
    """Every entity and its score, most suspect first."""
    truth: Truth | None
    place: int | None
    """Place of the truth, from 1, ties at their worst; None without a truth or when the truth
    is not among the entities."""
    level: str
    """`entity`, or `service` where the truth names no entity of the case."""
    seconds: float
    """Time to rank, without reading."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A mean with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SetScore:
    """How a ranker did on one set."""

    name: str
    late_s: float
    """Seconds by which the start was reported too late."""
    cases: int
    ac1: Share
    ac3: Share
    avg5: Share
    median_s: float
    """Median time to rank a case, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreReport:
    """Scores of one ranker on several sets."""

    sets: tuple[SetScore, ...]

    def markdown(self) -> str:
        """A table in Markdown."""
        lines = [f"| {' | '.join(_HEADER)} |", "|" + " --- |" * len(_HEADER)]
        lines += [f"| {' | '.join(_cells(one))} |" for one in self.sets]
        return "\n".join(lines) + "\n"

    def table(self) -> Table:
        """A table for the terminal."""
        title = "Root cause: share of cases, 95 % bootstrap interval"
        table = Table(*_SHORT_HEADER, title=title, box=box.SIMPLE_HEAD, pad_edge=False)
        for one in self.sets:
            # Two lines a share, so that the table fits 80 columns.
            table.add_row(*(cell.replace(" (", "\n(") for cell in _cells(one)))
        return table


def rank_case(
    path: Path, ranker: Ranker, *, late_s: float = 0.0, clock: Clock | None = None
) -> RankedCase:
    """Read the case in `path` and rank it.

    Args:
        path: A case directory.
        ranker: Gets the case without its truth.
        late_s: Seconds by which the start is reported too late.
        clock: Times the ranking; the machine's by default.

    Raises:
        PermanentError: The directory is not a readable case.
    """
    return rank_loaded(load_case(path, late_s=late_s), ranker, clock or SystemClock())


def rank_loaded(loaded: LoadedCase, ranker: Ranker, clock: Clock) -> RankedCase:
    """Rank a case that was read before."""
    began = clock.monotonic()
    cause = ranker.rank(loaded.case)
    seconds = clock.monotonic() - began
    order = tuple(ranker.score(loaded.case).ordered())
    names = {entity for entity, _ in order}
    truth = loaded.truth
    by_service = truth is not None and truth.entity not in names
    return RankedCase(
        path=loaded.path,
        cause=cause,
        order=order,
        truth=truth,
        place=place_of(truth, order) if truth else None,
        level="service" if by_service else "entity",
        seconds=seconds,
    )


def place_of(truth: Truth, order: Sequence[tuple[EntityId, float]]) -> int | None:
    """Place of the true entity from 1, ties at the worst; None when it is not in `order`."""
    scores = dict(order)
    if truth.entity in scores:
        right = scores[truth.entity]
        return sum(score >= right for score in scores.values())
    # Entities are pods and the truth a service: rank services by their worst pod.
    services: dict[str, float] = {}
    for entity, score in order:
        service = workload_of(entity)
        services[service] = max(score, services.get(service, -np.inf))
    if truth.service not in services:
        return None
    return sum(score >= services[truth.service] for score in services.values())


def score_sets(
    folders: Iterable[Path],
    ranker: Ranker,
    *,
    late_s: Sequence[float] = (0.0, 60.0),
    seed: int = 0,
    clock: Clock | None = None,
    progress: Callable[[RankedCase], None] | None = None,
) -> ScoreReport:
    """Score `ranker` on every set of cases in `folders`; cases without a truth are left out.

    Args:
        folders: Sets (`case-*` inside), folders of sets, or single cases.
        ranker: The ranker.
        late_s: Score once for each of these delays of the reported start.
        seed: Of the bootstrap.
        clock: Times the ranking; the machine's by default.
        progress: Called after each case.

    Raises:
        PermanentError: A folder holds no readable case.
    """
    clock = clock or SystemClock()
    ranked: dict[tuple[float, str], list[RankedCase]] = {}
    for folder in folders:
        for path in discover(folder):
            loaded = load_case(path)
            for late in late_s:
                one = rank_loaded(reported_late(loaded, late), ranker, clock)
                if progress is not None:
                    progress(one)
                if one.truth is not None:
                    ranked.setdefault((late, path.resolve().parent.name), []).append(one)
    return ScoreReport(
        sets=tuple(
            _score(name, late, ranked[late, name], seed)
            for late, name in sorted(ranked, key=lambda key: late_s.index(key[0]))
        )
    )


def _score(name: str, late_s: float, ranked: Sequence[RankedCase], seed: int) -> SetScore:
    places, seconds = [one.place for one in ranked], [one.seconds for one in ranked]
    return score_places(name, places, seconds, late_s=late_s, seed=seed)


def score_places(
    name: str,
    places: Sequence[int | None],
    seconds: Sequence[float],
    *,
    late_s: float = 0.0,
    seed: int = 0,
) -> SetScore:
    """The score of a set from the places of the true causes (None: not ranked at all)."""
    numbers = np.array([np.inf if place is None else place for place in places])
    hits = (numbers[:, None] <= np.arange(1, DEPTH + 1)).astype(np.float64)
    return SetScore(
        name=name,
        late_s=late_s,
        cases=len(places),
        ac1=bootstrap(hits[:, 0], seed),
        ac3=bootstrap(hits[:, 2], seed),
        avg5=bootstrap(hits.mean(axis=1), seed),
        median_s=float(np.median(seconds)),
    )


def bootstrap(values: Float64Array, seed: int) -> Share:
    """Mean of `values` with its percentile bootstrap interval (Efron 1979), 95 %."""
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Share(mean=float(values.mean()), low=float(low), high=float(high))


_HEADER = ("set", "start late", "cases", "AC@1", "AC@3", "Avg@5", "median time")
_SHORT_HEADER = ("set", "late", "n", "AC@1", "AC@3", "Avg@5", "median")


def _cells(score: SetScore) -> tuple[str, ...]:
    return (
        score.name,
        f"{score.late_s:.0f} s",
        str(score.cases),
        _share(score.ac1),
        _share(score.ac3),
        _share(score.avg5),
        f"{score.median_s * 1000:.1f} ms",
    )


def _share(share: Share) -> str:
    return f"{share.mean:.2f} ({share.low:.2f}–{share.high:.2f})"
