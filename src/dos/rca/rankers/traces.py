"""Traces: whose own code, or whose way to others, takes the extra time.

A span's duration is time in its own code, plus what its child spans take, plus the way there and
back. Series of the first (label `scope="self"`) and of the last (`trace_network_seconds_*`) are
made from spans at the intake. Unlike other metrics they are in the same unit for everybody, so
seconds are compared and not sigmas: the score is an entity's share of all extra time that spans
of one kind take, among entities that are clearly slower than usual (Yu et al., *MicroRank*, WWW
2021, and Li et al., *TraceRCA*, IWQoS 2021, compare spans one by one; here they were summed up
before).

    >>> from dos.testing.rankers import ranked, story
    >>> case = story(("payment", "self_seconds", 20.0, 0), ("orders", "latency_p95", 9.0, 0))
    >>> ranked("traces", case)
    ['payment']
    >>> ranked("traces", story(("payment", "cpu", 9.0, 0), metrics=["cpu", "latency_p95"]))
    []

Fails: without traces it says that it does not know; failures without slowness do not show; an
entity that is asked more often per request takes more in all than its spans say; the way of a
call counts for both of its ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dos.kit.plugins import Plugin
from dos.model.rootcause import Evidence, EvidenceKind, RootCause
from dos.model.telemetry import Float64Array, Int64Array, Role, SeriesSpec
from dos.rca.base import EntityScores
from dos.rca.case import Case
from dos.rca.evidence import NOTABLE, quantity
from dos.rca.review import Review, greatest

_OWN = ("scope", "self")
_WAY = "trace_network_seconds"


class Config(BaseModel):
    """Keys of `type: traces`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hypotheses: int = Field(default=6, ge=1, le=20, description="Most hypotheses to give.")


class TracesRanker:
    """Ranks entities by how much of the extra time is spent in them."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def score(self, case: Case) -> EntityScores:
        """Share of the extra time, 0 to 1; 0 for all where there are no traces."""
        review = Review.of(case)
        return review.scores(_spent(review).share)

    def rank(self, case: Case) -> RootCause:
        """Where the time goes, against where else it could."""
        review = Review.of(case)
        spent = _spent(review)

        def own(entity: int) -> Sequence[Evidence]:
            return _said(review, spent, entity)

        return review.conclude(
            spent.share,
            method="traces",
            limit=self._config.hypotheses,
            own=own,
            beside=(EvidenceKind.INTERNAL_SIGNAL,),
            chances=spent.share * review.sure(),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Spent:
    share: Float64Array
    """`[entity]` of all extra time; sums to 1 where there is any."""
    extra: Float64Array
    """`[series]` seconds more than usual; 0 for what is no time of spans, or not clearly more."""
    series: Int64Array
    """`[entity]` the series in which its share is greatest; -1 without any."""


def _spent(review: Review) -> _Spent:
    case, measured, count = review.case, review.measured, len(review.entities)
    clear = (review.found.strength >= NOTABLE) & (measured.deviation > 0)
    timed = np.array([_is_time(spec) for spec in case.series], np.bool_)
    extra = np.where(clear & timed, np.nan_to_num(measured.observed - measured.center), 0.0)
    part = np.zeros(len(case.series))
    for members in _by_kind(case.series, timed):
        # Several series of an entity (replicas) are not several times as much: its greatest counts.
        most = greatest(extra[members], review.owner[members], count)
        whole = most.sum()
        part[members] = extra[members] / whole if whole > 0 else 0.0
    share = greatest(part, review.owner, count)
    best = np.full(count, -1, np.int64)
    order = [at for at in np.argsort(part, kind="stable") if part[at] > 0]
    for at in order:
        best[review.owner[at]] = at
    total = share.sum()
    return _Spent(share=share / total if total > 0 else share, extra=extra, series=best)


def _is_time(spec: SeriesSpec) -> bool:
    return spec.role is Role.LATENCY and (_OWN in spec.labels or spec.metric.startswith(_WAY))


def _by_kind(series: tuple[SeriesSpec, ...], timed: np.ndarray) -> list[Int64Array]:
    """Series that may be compared: those of one metric."""
    kinds: dict[str, list[int]] = {}
    for at in np.flatnonzero(timed):
        kinds.setdefault(series[at].metric, []).append(int(at))
    return [np.array(members) for members in kinds.values()]


def _said(review: Review, spent: _Spent, entity: int) -> Sequence[Evidence]:
    name, at = review.entities[entity], int(spent.series[entity])
    spec, measured = review.case.series[at], review.measured
    where = "its own code takes" if _OWN in spec.labels else "the way between it and others takes"
    text = (
        f"{where} {quantity(float(spent.extra[at]), spec.unit)} more than usual ({spec.metric}: "
        f"{quantity(float(measured.center[at]), spec.unit)} → "
        f"{quantity(float(measured.observed[at]), spec.unit)}), "
        f"{spent.share[entity]:.0%} of all extra time in traces"
    )
    graph = review.case.graph
    below = graph.dependencies(name) if graph is not None else {}
    others = [
        spent.extra[i]
        for i, one in enumerate(review.case.series)
        if one.metric == spec.metric and one.entity != name and one.entity in below
    ]
    if others:
        text += f"; what it depends on takes {quantity(float(max(others)), spec.unit)} more"
    weight = float(review.found.strength[at])
    onset = int(measured.onset[at])
    kind = EvidenceKind.INTERNAL_SIGNAL
    return [review.say(name, kind, text, weight, metric=spec.metric, start=onset)]


PLUGIN = Plugin(Config, TracesRanker)
