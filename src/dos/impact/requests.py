"""Failed and slowed requests of users, against what was usual, with an interval.

Each sample stands for `rate × seconds` requests, of which a share failed, or was slow (longer than
the usual 95th percentile). What is more than the usual share is put down to the incident:

    more = Σ requests · (share - usual)

The usual share is that of all baseline requests. It wanders by itself, and what of it would have
come during the incident nobody saw. So the baseline is cut into blocks as long as the incident
(shorter where there would be fewer than `BLOCKS` of them), and the interval runs from the 5 % to
the 95 % quantile of the blocks' shares in the place of the usual one. Nothing is drawn at random:
the blocks are all there are, each one sample further than the last.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from dos.impact.base import ImpactConfig
from dos.impact.signals import Requests, Telemetry, requests_of
from dos.impact.slowness import share_above
from dos.kit.clock import MINUTE
from dos.model.ids import EntityId
from dos.model.impact import EntryImpact, Estimate
from dos.model.telemetry import BoolArray, Float64Array

GUARD = 5 * MINUTE
"""How late the start of an incident may be told: samples this close before it are not usual."""
ENOUGH = 5
"""Samples of usual times from which on anything is said of what is usual."""
BLOCKS = 19
"""Of so many equal blocks the worst is at the 95 % quantile of the next one."""
RECENT = 5 * MINUTE
"""The last minutes that say how bad it is now."""
_ONE_SIDED = 1.645
"""Sigmas beyond which 5 % of a normal distribution lie."""
_USUAL_LEVEL = 0.95
"""Percentile of latency whose usual value says what is slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """A share in usual times."""

    level: float
    low: float
    high: float


def entry_impact(
    telemetry: Telemetry | None, entity: EntityId, config: ImpactConfig, *, counted: bool = True
) -> EntryImpact:
    """What the requests at `entity` met since the incident began.

    Args:
        telemetry: The window of samples; None where there is none.
        entity: Where users come in.
        config: Users and money per request.
        counted: Whether it goes into the totals.
    """
    here = requests_of(telemetry, entity) if telemetry is not None else None
    if telemetry is None or here is None:
        why = f"{entity}: no series says how many requests there are"
        return EntryImpact(entity=entity, counted=counted, unknown=(why,))
    usual, during = spans(telemetry, here)
    unknown = [f"{entity}: {why}" for why in here.unknown]
    if not during.any():
        unknown.append(f"{entity}: it has had no sample since the incident began")
        return EntryImpact(entity=entity, counted=counted, unknown=tuple(unknown))
    count = here.count
    failed, failing = _more(here, count, here.failing, usual, during)
    answered = count * (1.0 - np.nan_to_num(here.failing))
    slow, doubt = _slow(here, usual)
    slowed, slowing = _more(here, answered, slow, usual, during, doubt)
    short = usual.sum() < ENOUGH
    if short:
        unknown.append(f"{entity}: too few samples before the incident say what is usual")
    users, revenue = _weighed(entity, failed, slowed, config)
    return EntryImpact(
        entity=entity,
        counted=counted,
        requests=rounded(float(count[during].sum())),
        failed=failed,
        slowed=slowed,
        failing=failing,
        slowing=slowing,
        users=users,
        revenue=revenue,
        unknown=tuple(unknown),
    )


def spans(telemetry: Telemetry, here: Requests) -> tuple[BoolArray, BoolArray]:
    """`[sample]` which samples are of usual times, and which of the incident."""
    during = here.times >= telemetry.start
    clear = ~during
    for began, ended in telemetry.past:
        clear &= (here.times < began) | (here.times > ended)
    until = telemetry.baseline_end
    guarded = clear & (here.times < (telemetry.start - GUARD if until is None else until))
    return (guarded if guarded.sum() >= ENOUGH else clear), during


def usual_share(count: Float64Array, share: Float64Array, length: int) -> Usual | None:
    """How large `share` usually is in a stretch of `length` samples.

    Args:
        count: `[sample]` requests of usual times, none missing.
        share: `[sample]` of them, 0 to 1, none missing.
        length: Samples of the incident.

    Returns:
        None where there are too few samples, or no requests.
    """
    total = float(count.sum())
    if len(count) < ENOUGH or total <= 0:
        return None
    level = float((count * share).sum()) / total
    size = max(1, min(length, len(count) // BLOCKS))
    requests, hits = _moving(count, size), _moving(count * share, size)
    shares = hits[requests > 0] / requests[requests > 0]
    tail = 0.05 if len(count) >= BLOCKS * size else 0.0
    low, high = np.quantile(shares, [tail, 1.0 - tail]).tolist()
    if level == 0.0:
        # None in n requests: at most 3/n with 95 % (Hanley and Lippman-Hand, JAMA 249, 1983).
        high = max(high, min(1.0, 3.0 / total))
    return Usual(level=level, low=min(low, level), high=max(high, level))


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What happened at all entry points together; None where it is not known of any."""

    failed: Estimate | None
    slowed: Estimate | None
    users: Estimate | None
    revenue: Estimate | None

    @staticmethod
    def of(entries: Iterable[EntryImpact]) -> Totals:
        """The sums over the entry points that count."""
        counted = [one for one in entries if one.counted]
        return Totals(
            failed=_total(one.failed for one in counted),
            slowed=_total(one.slowed for one in counted),
            users=_total(one.users for one in counted),
            revenue=_total(one.revenue for one in counted),
        )


def _total(estimates: Iterable[Estimate | None]) -> Estimate | None:
    """The sum of those that are known.

    The ends are added up too, as if all were wrong the same way, so it is rather too wide.
    """
    known = [one for one in estimates if one is not None]
    if not known:
        return None
    return _rounded(
        math.fsum(one.value for one in known),
        math.fsum(one.low for one in known),
        math.fsum(one.high for one in known),
    )


@dataclass(frozen=True, slots=True)
class _Reading:
    """Requests, and the share of them that was hit. Arrays `[sample]`."""

    count: Float64Array
    share: Float64Array
    """NaN where it is not known."""
    usual: BoolArray
    during: BoolArray

    def normal(self) -> Usual | None:
        """What the share usually is in a stretch as long as the incident."""
        before = self.usual & ~np.isnan(self.share)
        return usual_share(self.count[before], self.share[before], int(self.during.sum()))

    def hit(self, within: BoolArray) -> tuple[float, float]:
        """Requests hit, and all of which it is known."""
        known = within & ~np.isnan(self.share)
        return float((self.count * self.share)[known].sum()), float(self.count[known].sum())


def _more(
    here: Requests,
    count: Float64Array,
    share: Float64Array,
    usual: BoolArray,
    during: BoolArray,
    second: Float64Array | None = None,
) -> tuple[Estimate | None, Estimate | None]:
    """Requests beyond the usual share in the incident, and their share in the last minutes.

    Args:
        here: The requests of the entity.
        count: `[sample]` how many there were.
        share: `[sample]` of them, hit; NaN where it is not known.
        usual: Samples of usual times.
        during: Samples of the incident.
        second: Another reading of `share`; the interval is wider by as much as they differ.
    """
    if not (during & ~np.isnan(share)).any():
        return None, None
    during = _from_onset(here, share, usual, during)
    reading = _Reading(count, share, usual, during)
    normal = reading.normal()
    if normal is None:
        return None, None
    hit, asked = reading.hit(during)
    doubt = 0.0
    if second is not None:
        other = _Reading(count, second, usual, during)
        level = other.normal()
        if level is not None:
            also, of = other.hit(during)
            doubt = abs((hit - asked * normal.level) - (also - of * level.level))
    so_far = _estimate(hit, asked, normal, doubt)
    newest = int(here.times[during & ~np.isnan(share)][-1])
    lately, of = reading.hit(during & (here.times > newest - RECENT))
    if of <= 0:
        return so_far, None
    rough = _ONE_SIDED * math.sqrt(max(lately, 1.0)) + doubt * of / asked
    latest = _estimate(lately, of, normal, rough)
    return so_far, _rounded(latest.value / of, latest.low / of, min(1.0, latest.high / of))


def _from_onset(
    here: Requests, share: Float64Array, usual: BoolArray, during: BoolArray
) -> BoolArray:
    """`during`, with the samples right before it that are beyond the usual already.

    The start is told late: what is abnormal first need not be what is counted here.
    """
    normal = share[usual & ~np.isnan(share)]
    if len(normal) == 0:
        return during
    limit = float(np.quantile(normal, 0.95))
    first = int(np.flatnonzero(during)[0])
    earliest = here.times[first] - GUARD
    begun, at = during.copy(), first - 1
    while at >= 0 and not usual[at] and here.times[at] >= earliest and share[at] > limit:
        begun[at] = True
        at -= 1
    return begun


def _estimate(hit: float, asked: float, normal: Usual, rough: float) -> Estimate:
    """Hits beyond the usual; never below 0, since nobody is saved by an incident."""
    return _rounded(
        max(0.0, hit - asked * normal.level),
        max(0.0, hit - asked * normal.high - rough),
        max(0.0, hit - asked * normal.low + rough),
    )


def _slow(here: Requests, usual: BoolArray) -> tuple[Float64Array, Float64Array]:
    """`[sample]` share of requests slower than the usual 95th percentile, in two readings.

    Where there is no 95th percentile the next to it is taken.
    """
    nothing = np.full(len(here.times), np.nan)
    if not here.levels:
        return nothing, nothing
    level = min(range(len(here.levels)), key=lambda at: abs(here.levels[at] - _USUAL_LEVEL))
    before = here.latency[usual, level]
    before = before[~np.isnan(before)]
    if len(before) == 0:
        return nothing, nothing
    limit = float(np.median(before))
    return (
        share_above(here.levels, here.latency, limit),
        share_above(here.levels, here.latency, limit, straight=True),
    )


def _weighed(
    entity: EntityId, failed: Estimate | None, slowed: Estimate | None, config: ImpactConfig
) -> tuple[Estimate | None, Estimate | None]:
    """Users and money, where somebody said what a request stands for."""
    users = revenue = None
    each = config.users(entity)
    if each is not None:
        users = _total([_times(failed, each), _times(slowed, each)])
    worth = config.revenue(entity)
    if worth is not None:
        slow = worth * config.revenue_lost_when_slow
        lost = [_times(failed, worth), _times(slowed, slow) if slow > 0 else None]
        revenue = _total(lost)
    return users, revenue


def _times(one: Estimate | None, factor: float) -> Estimate | None:
    if one is None:
        return None
    return _rounded(one.value * factor, one.low * factor, one.high * factor)


def rounded(number: float) -> float:
    """To six figures: what is beyond is noise, and differs from machine to machine."""
    return float(f"{number:.6g}")


def _rounded(value: float, low: float, high: float) -> Estimate:
    return Estimate(value=rounded(value), low=rounded(low), high=rounded(high))


def _moving(values: Float64Array, size: int) -> Float64Array:
    """Sums of every `size` neighbours."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    moving: Float64Array = sums[size:] - sums[:-size]
    return moving
