"""Onset order: who became abnormal first, and how sure that is.

Trouble needs time to travel. The change point of each series (`dos.rca.measure`) is uncertain by
the gap between the two samples that it lies between, uniform: a twelfth of its square; and, where
the change is small beside the noise, by how far a maximum-likelihood change point strays: variance
26 / d^4 in samples, for a shift of d standard deviations (Yao, *Approximating the distribution of
the maximum likelihood estimate of the change-point*, Annals of Statistics 15, 1987). Its tails are
exponential, so a logistic distribution of that variance stands for it. Noise begins at any time,
so each series counts only as far as it is probably part of the trouble: strong, and not long
before the bulk of it. An entity begins with the
first of its series; the score is the probability of being the first of all that are abnormal: the
integral of the density of its beginning times the probability that no other has begun.

    >>> from dos.testing.rankers import concluded, ranked, story
    >>> case = story(("payment", "cpu", 3.0, 0), ("orders", "latency_p95", 5.0, 4))
    >>> ranked("onset", case)[0]
    'payment'
    >>> concluded("onset", case).ranked[0].probability > 0.7
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
from dos.rca.conclude import TEMPERATURE, WEAK
from dos.rca.evidence import clock_time
from dos.rca.review import Review

_VARIANCE = 26.0
"""Of the change point of a shift of one standard deviation, in samples squared."""
_LOGISTIC = np.sqrt(3.0) / np.pi
"""Scale of a logistic distribution of variance 1."""
_SURE = 2.0
"""Standard errors after the estimate at which a series has surely begun."""
_REACH = 20.0
"""Scales from the middle within which all of a logistic distribution lies, but for 2e-9."""
_AROUND = 41
_POINTS = 1024
"""Points of the integral, around each series and in all."""
_HOLE = 10.0
"""Steps without a sample beyond which the history has a hole, in which nothing began."""
_UNLIKELY = 0.01
"""Probability below which a series is taken for noise."""
_PART = 0.7
"""Strength, against the strongest, at which a series is as probably noise as part of the trouble;
of 0.3, 0.5 and 0.7 the best on development seeds of the simulator."""


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
    spread: float = Field(
        default=30.0,
        gt=0,
        description="Seconds, and a step, that trouble takes to spread: what began that much "
        "longer before the bulk of it counts a third. Something always drifts.",
    )


class OnsetRanker:
    """Ranks entities by how probably they became abnormal first."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def score(self, case: Case) -> EntityScores:
        """Probability of having been the first; 0 for what is not clearly abnormal."""
        review = Review.of(case)
        return review.scores(_first(review, _begun(review, self._config)))

    def rank(self, case: Case) -> RootCause:
        """Who was probably first, with when, how sure, and how long before the next."""
        review = Review.of(case)
        begun = _begun(review, self._config)
        first = _first(review, begun)

        def own(entity: int) -> Sequence[Evidence]:
            return _said(review, begun, first, entity)

        return review.conclude(
            first,
            method="onset",
            limit=self._config.hypotheses,
            own=own,
            beside=(EvidenceKind.DEVIATION, EvidenceKind.INTERNAL_SIGNAL),
            chances=first,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Begun:
    """When series that may really be abnormal became so; all `[one of them]`."""

    series: Int64Array
    """Place in the case."""
    at: Float64Array
    """ms; the middle of the gap in which it began."""
    error: Float64Array
    """Standard error, ms."""
    real: Float64Array
    """Probability that it is abnormal and not noise that looks like it."""


def _begun(review: Review, config: Config) -> _Begun:
    measured = review.measured
    even = max(WEAK, _PART * float(review.weighed.max(initial=0.0)))
    real = 1.0 / (1.0 + np.exp((even - review.weighed) / TEMPERATURE))
    chosen = np.flatnonzero((review.weighed > 0) & (real >= _UNLIKELY))
    if not chosen.size:
        nothing = np.zeros(0)
        return _Begun(series=chosen, at=nothing, error=nothing, real=nothing)
    gap, spacing = _gaps(review.case, chosen, measured.onset[chosen])
    shift = np.maximum(np.abs(measured.deviation[chosen]), 1.0)
    stray = _VARIANCE * spacing**2 / shift**4
    error = np.sqrt(gap**2 / 12 + stray + (config.skew * SECOND) ** 2 + 1.0)
    at = measured.onset[chosen] - gap / 2
    spread = config.spread * SECOND + spacing
    early = np.maximum(review.found.onset - at - _SURE * error - spread, 0.0)
    together = np.exp(-early / spread)
    return _Begun(series=chosen, at=at, error=error, real=real[chosen] * together)


def _gaps(case: Case, chosen: Int64Array, onset: Int64Array) -> tuple[Float64Array, Float64Array]:
    """For each chosen series: ms from the sample before its onset to it, and between samples."""
    present = np.isfinite(case.values[:, chosen])
    times = case.times[:, None]
    before = present & (times < onset)
    last = np.where(before, times, np.iinfo(np.int64).min).max(axis=0)
    # History may have holes, by which the usual distance must not grow: hence the median.
    step = float(np.median(np.diff(case.times))) if len(case.times) > 1 else 0.0
    spacing = step * len(case.times) / np.maximum(present.sum(axis=0), 1)
    gap = np.where(before.any(axis=0), onset - last.astype(np.float64), spacing)
    return np.minimum(gap, _HOLE * spacing), spacing


def _first(review: Review, begun: _Begun) -> Float64Array:
    """`[entity]` probability of being first; what is left to 1: nobody is really abnormal.

    An entity has begun by the time t unless none of its series has: 1 - product of 1 - q F(t),
    over its series, each really abnormal with probability q and begun by then with F(t).
    """
    first: Float64Array = np.zeros(len(review.entities))
    if not begun.series.size:
        return first
    grid = _grid(begun)
    scale = begun.error * _LOGISTIC
    by_then = begun.real / (1.0 + np.exp(np.clip((begun.at - grid[:, None]) / scale, -700, 700)))
    owner = review.owner[begun.series]
    order = np.argsort(owner, kind="stable")
    entities, start = np.unique(owner[order], return_index=True)
    # Log of the probability that an entity has not begun yet, [point, one of entities].
    waiting = np.add.reduceat(np.log1p(-by_then[:, order]), start, axis=1)
    others = waiting.sum(axis=1, keepdims=True) - waiting
    begins = np.exp(waiting[:-1]) * -np.expm1(waiting[1:] - waiting[:-1])
    first[entities] = (begins * np.exp((others[:-1] + others[1:]) / 2)).sum(axis=0)
    # What the sum misses between points: the whole is known exactly.
    whole, total = -np.expm1(waiting[-1].sum()), first.sum()
    return first * (whole / total) if total > 0 else first


def _grid(begun: _Begun) -> Float64Array:
    """Times, ms, at which to sum: close together where series probably began."""
    scale = begun.error * _LOGISTIC
    spread = np.linspace(-_REACH, _REACH, _AROUND)
    grid = np.unique((begun.at[:, None] + scale[:, None] * spread).ravel())
    return grid[:: -(-len(grid) // _POINTS)] if len(grid) > _POINTS else grid


def _said(review: Review, begun: _Begun, first: Float64Array, entity: int) -> Sequence[Evidence]:
    """When it began by the series that had most surely begun first, and who came next."""
    at = {i: _earliest(review, begun, i) for i in np.unique(review.owner[begun.series]).tolist()}
    mine = at[entity]
    name, series = review.entities[entity], int(begun.series[mine])
    metric = review.case.series[series].metric
    text = (
        f"{name} became abnormal at {clock_time(round(begun.at[mine]))} "
        f"± {_seconds(begun.error[mine])} ({metric}), "
        f"as the first with {first[entity]:.0%} probability"
    )
    rest = [i for i in at if i != entity]
    if rest:
        rival = max(rest, key=lambda i: (first[i], review.entities[i]))
        lead = float(begun.at[at[rival]] - begun.at[mine])
        word = "before" if lead >= 0 else "after"
        text += f"; {_seconds(abs(lead))} {word} {review.entities[rival]}"
    # In nats: how much more probable than if all abnormal ones were equally so.
    weight = float(np.log(max(first[entity], 1e-12) * len(at)))
    onset = int(review.measured.onset[series])
    return [review.say(name, EvidenceKind.ONSET, text, weight, metric=metric, start=onset)]


def _seconds(milliseconds: float) -> str:
    seconds = milliseconds / SECOND
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"


def _earliest(review: Review, begun: _Begun, entity: int) -> int:
    """Which of its series had surely begun first, among those at least half as really abnormal."""
    mine = np.flatnonzero(review.owner[begun.series] == entity)
    mine = mine[begun.real[mine] >= begun.real[mine].max() / 2]
    surely = begun.at[mine] + _SURE * begun.error[mine]
    return int(mine[np.lexsort((begun.series[mine], -begun.real[mine], surely))[0]])


PLUGIN = Plugin(Config, OnsetRanker)
