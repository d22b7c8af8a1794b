"""What alarms were worth, anomaly by anomaly rather than point by point.

Judged behind the prefix only, by these rules:

* Labelled stretches at most `GRACE` points apart are one anomaly; so are alarms in `merged`.
* An alarm belongs to an anomaly if it *began* from `GRACE` points before its first to `GRACE`
  points after its last point: an alarm that was on long before says nothing, and one that needs a
  few samples to be sure of a spike of one sample is not wrong.
* An anomaly is found if such an alarm was on at or after its first point. The delay is from there,
  at least 0.
* An alarm that belongs to no anomaly is a false one, however long it is on. `share_on` is the
  share of the other points with an alarm on, so that one endless alarm does not look well.

No point-adjusted figures: they rate random alarms as excellent (Kim, Choi, Choi, Lee & Yoon,
*Towards a Rigorous Evaluation of Time-Series Anomaly Detection*, AAAI 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dos.evaluate.series.vus import stretches
from dos.kit.clock import DAY, SECOND
from dos.model.telemetry import BoolArray, Float64Array, Int64Array

GRACE = 10
"""Points that an alarm may begin before or after an anomaly."""
_SWEPT = 120
"""Thresholds tried by `at_recall`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventScore:
    """Alarms of one series against its anomalies."""

    anomalies: int
    found: tuple[bool, ...]
    """`[anomaly]`."""
    delays: tuple[int, ...]
    """Points until the alarm, of those found."""
    alarms: int
    false: int
    days: float
    """Time behind the prefix."""
    quiet: int
    """Points behind the prefix that are not anomalous nor within the grace of an anomaly."""
    on: int
    """Of these, points with an alarm on."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """A series with scores, as `at_recall` needs it."""

    labels: BoolArray
    score: Float64Array
    prefix: int
    step_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """One threshold for all series, and what it gives."""

    threshold: float
    recall: float
    false_per_day: float


def judge(labels: BoolArray, alarm: BoolArray, prefix: int, step_s: float) -> EventScore:
    """Compare alarms with anomalies.

    Args:
        labels: `[n]` whether a point is anomalous.
        alarm: `[n]` whether an alarm is on.
        prefix: Points at the beginning that are not judged.
        step_s: Seconds between points.
    """
    labels, alarm = labels[prefix:], alarm[prefix:]
    first, last = merged(*stretches(labels))
    begins, ends = stretches(alarm)
    owner = _owners(first, last, begins)
    found, delays = _found(first, begins, ends, owner)
    near = _near(len(labels), first, last)
    return EventScore(
        anomalies=len(first),
        found=tuple(found.tolist()),
        delays=tuple(delays.tolist()),
        alarms=len(begins),
        false=int(np.count_nonzero(owner < 0)),
        days=len(labels) * step_s * SECOND / DAY,
        quiet=int(np.count_nonzero(~near)),
        on=int(np.count_nonzero(alarm & ~near)),
    )


def at_recall(fleet: Sequence[Judged], recall: float) -> OperatingPoint | None:
    """The highest threshold, one for all series, that finds `recall` of all anomalies.

    An alarm is on where the score reaches the threshold; alarms at most `GRACE` points apart are
    one, as they would be for whoever is called. None if no threshold does.
    """
    pooled = np.concatenate([one.score[one.prefix :] for one in fleet])
    days = sum((len(one.score) - one.prefix) * one.step_s * SECOND / DAY for one in fleet)
    share = np.geomspace(1.0 / len(pooled), 1.0, _SWEPT)
    levels = np.unique(np.quantile(pooled, 1.0 - share, method="higher"))[::-1]
    anomalies = [merged(*stretches(one.labels[one.prefix :])) for one in fleet]
    count = sum(len(first) for first, _ in anomalies)
    for level in levels.tolist():
        found = false = 0
        for one, (first, last) in zip(fleet, anomalies, strict=True):
            begins, ends = merged(*stretches(one.score[one.prefix :] >= level))
            owner = _owners(first, last, begins)
            found += int(np.count_nonzero(_found(first, begins, ends, owner)[0]))
            false += int(np.count_nonzero(owner < 0))
        if count and found >= recall * count:
            return OperatingPoint(threshold=level, recall=found / count, false_per_day=false / days)
    return None


def merged(first: Int64Array, last: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Stretches, with those at most `GRACE` points apart made one."""
    if not len(first):
        return first, last
    apart = first[1:] - last[:-1] > GRACE
    return first[np.concatenate([[True], apart])], last[np.concatenate([apart, [True]])]


def away(labels: BoolArray) -> BoolArray:
    """`[n]` whether a point is neither in an anomaly nor within its grace."""
    return ~_near(len(labels), *merged(*stretches(labels)))


def _owners(first: Int64Array, last: Int64Array, begins: Int64Array) -> Int64Array:
    """`[alarm]` number of the anomaly that an alarm belongs to, -1 for none."""
    if not len(first):
        return np.full(len(begins), -1)
    # The last anomaly whose time of grace has begun; the one before where it still lasts.
    owner = np.searchsorted(first - GRACE, begins, side="right") - 1
    before = np.maximum(owner - 1, 0)
    owner = np.where((owner > 0) & (begins <= last[before] + GRACE), before, owner)
    return np.where((owner >= 0) & (begins <= last[owner] + GRACE), owner, -1)


def _found(
    first: Int64Array, begins: Int64Array, ends: Int64Array, owner: Int64Array
) -> tuple[BoolArray, Int64Array]:
    """`[anomaly]` whether it was found, and the delays of those that were."""
    earliest = np.full(len(first), np.iinfo(np.int64).max)
    mine = np.flatnonzero(owner >= 0)
    mine = mine[ends[mine] >= first[owner[mine]]]
    np.minimum.at(earliest, owner[mine], begins[mine])
    found = earliest < np.iinfo(np.int64).max
    return found, np.maximum(earliest[found] - first[found], 0)


def _near(count: int, first: Int64Array, last: Int64Array) -> BoolArray:
    """`[n]` whether a point is in an anomaly or within its grace."""
    change = np.zeros(count + 1, np.int64)
    np.add.at(change, np.maximum(first - GRACE, 0), 1)
    np.add.at(change, np.minimum(last + GRACE + 1, count), -1)
    near: BoolArray = np.cumsum(change[:-1]) > 0
    return near
