"""Onset order: who became abnormal first, and how sure that is.

Trouble needs time to travel. The change point of each series (`dos.rca.measure`) is uncertain by
the gap between the two samples that it lies between, uniform: a twelfth of its square; and, where
the change is small beside the noise, by how far a maximum-likelihood change point strays: variance
26 / d^4 in samples, for a shift of d standard deviations (Yao, *Approximating the distribution of
the maximum likelihood estimate of the change-point*, Annals of Statistics 15, 1987). Its tails are
exponential, so a logistic distribution of that variance stands for it. Of each entity the series
counts that had surely begun first. The score is the probability of being the first of all
abnormal entities, the integral of its density times the survival of all others.

    >>> from dos.testing.rankers import concluded, ranked, story
    >>> case = story(("payment", "cpu", 3.0, 0), ("orders", "latency_p95", 5.0, 4))
    >>> ranked("onset", case)[0]
    'payment'
    >>> concluded("onset", case).ranked[0].probability > 0.8
    True

Fails: where samples are coarse, many begin within one step and share the probability; where a
caller notices before its callee measures anything (timeouts, retries); where clocks differ by more
than `skew`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dos.kit.clock import SECOND
from dos.kit.plugins import Plugin
from dos.model.rootcause import Evidence, EvidenceKind, RootCause
from dos.model.telemetry import Float64Array, Int64Array
from dos.rca.base import EntityScores
from dos.rca.case import Case
from dos.rca.evidence import NOTABLE, clock_time
from dos.rca.review import Review

_VARIANCE = 26.0
"""Of the change point of a shift of one standard deviation, in samples squared."""
_LOGISTIC = np.sqrt(3.0) / np.pi
"""Scale of a logistic distribution of variance 1."""
_SURE = 2.0
"""Standard errors after the estimate at which a series has surely begun."""
_REACH = 20.0
"""Scales from the middle within which all of a logistic distribution lies, but for 2e-9."""
_POINTS = 8192
"""Points of the integral, over all entities."""


class Config(BaseModel):
    """Keys of `type: onset`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hypotheses: int = Field(default=6, ge=1, le=20, description="Most hypotheses to give.")
    skew: float = Field(
        default=1.0,
        ge=0,
        le=3600,
        description="Seconds by which clocks of different entities may differ.",
    )


class OnsetRanker:
    """Ranks entities by how probably they became abnormal first."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def score(self, case: Case) -> EntityScores:
        """Probability of having been the first; 0 for what is not clearly abnormal."""
        review = Review.of(case)
        return review.scores(_first(review, _begun(review, self._config.skew)))

    def rank(self, case: Case) -> RootCause:
        """Who was probably first, with when, how sure, and how long before the next."""
        review = Review.of(case)
        begun = _begun(review, self._config.skew)
        first = _first(review, begun)

        def own(entity: int) -> Sequence[Evidence]:
            return _said(review, begun, first, entity)

        return review.conclude(
            first,
            method="onset",
            limit=self._config.hypotheses,
            own=own,
            beside=(EvidenceKind.DEVIATION, EvidenceKind.INTERNAL_SIGNAL),
            chances=first * review.sure(),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Begun:
    """When entities became abnormal; all `[entity]`, and only known where `series` is not -1."""

    series: Int64Array
    """The series that had surely begun first."""
    at: Float64Array
    """ms; the middle of the gap in which it began."""
    error: Float64Array
    """Standard error, ms."""


def _begun(review: Review, skew: float) -> _Begun:
    measured, count = review.measured, len(review.entities)
    series = np.full(count, -1, np.int64)
    at, error = np.zeros(count), np.ones(count)
    chosen = np.flatnonzero(review.weighed >= NOTABLE)
    if chosen.size:
        gap, spacing = _gaps(review.case, chosen, measured.onset[chosen])
        middle = measured.onset[chosen] - gap / 2
        shift = np.maximum(np.abs(measured.deviation[chosen]), 1.0)
        stray = _VARIANCE * spacing**2 / shift**4
        wide = np.sqrt(gap**2 / 12 + stray + (skew * SECOND) ** 2 + 1.0)
        # The strongest last, then the surest: what is assigned last stays.
        order = np.lexsort((review.weighed[chosen], -(middle + _SURE * wide)))
        owner = review.owner[chosen][order]
        series[owner], at[owner], error[owner] = chosen[order], middle[order], wide[order]
    return _Begun(series=series, at=at, error=error)


def _gaps(case: Case, chosen: Int64Array, onset: Int64Array) -> tuple[Float64Array, Float64Array]:
    """For each chosen series: ms from the sample before its onset to it, and between samples."""
    present = np.isfinite(case.values[:, chosen])
    times = case.times[:, None]
    before = present & (times < onset)
    last = np.where(before, times, np.iinfo(np.int64).min).max(axis=0)
    count = present.sum(axis=0)
    newest = np.where(present, times, np.iinfo(np.int64).min).max(axis=0)
    oldest = np.where(present, times, np.iinfo(np.int64).max).min(axis=0)
    spacing = (newest - oldest) / np.maximum(count - 1, 1)
    gap = np.where(before.any(axis=0), onset - last.astype(np.float64), spacing)
    return gap.astype(np.float64), spacing.astype(np.float64)


def _first(review: Review, begun: _Begun) -> Float64Array:
    """`[entity]` probability of being first; sums to 1 where anybody is abnormal."""
    share = np.zeros(len(review.entities))
    known = np.flatnonzero(begun.series >= 0)
    if not known.size:
        return share
    origin = begun.at[known].min()  # times since then, so that nothing is lost to rounding
    middle, scale = begun.at[known] - origin, begun.error[known] * _LOGISTIC
    # Nobody is first after the time at which somebody has surely begun.
    over = float((middle + _REACH * scale).min())
    spread = np.linspace(-_REACH, _REACH, max(_POINTS // len(known), 9))
    grid = np.unique((middle[:, None] + scale[:, None] * spread).ravel())
    grid = grid[grid <= over]
    alive = -np.logaddexp(0.0, (grid[:, None] - middle) / scale)  # log of survival [point, entity]
    others = alive.sum(axis=1, keepdims=True) - alive
    density = alive[:-1] - alive[1:]  # log of survival lost from point to point
    lost = np.exp(alive[:-1]) * -np.expm1(-density)
    meanwhile = np.exp((others[:-1] + others[1:]) / 2)
    share[known] = (lost * meanwhile).sum(axis=0)
    total = share.sum()
    return share / total if total > 0 else share


def _said(review: Review, begun: _Begun, first: Float64Array, entity: int) -> Sequence[Evidence]:
    name, series = review.entities[entity], int(begun.series[entity])
    metric = review.case.series[series].metric
    text = (
        f"{name} became abnormal at {clock_time(round(begun.at[entity]))} "
        f"± {begun.error[entity] / SECOND:.2g} s ({metric}), first of all with {first[entity]:.0%}"
    )
    rest = [i for i in np.flatnonzero(begun.series >= 0) if i != entity]
    if rest:
        rival = min(rest, key=lambda i: (begun.at[i], review.entities[i]))
        lead = (begun.at[rival] - begun.at[entity]) / SECOND
        word = "before" if lead >= 0 else "after"
        text += f"; {abs(lead):.3g} s {word} {review.entities[rival]}"
    # In nats: how much more probable than if all abnormal ones were equally so.
    weight = float(np.log(max(first[entity], 1e-12) * (len(rest) + 1)))
    onset = int(review.measured.onset[series])
    return [review.say(name, EvidenceKind.ONSET, text, weight, metric=metric, start=onset)]


PLUGIN = Plugin(Config, OnsetRanker)
