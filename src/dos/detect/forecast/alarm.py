"""From trends to alarms: which scale speaks, how urgent it is, and hysteresis.

An alarm is raised when the early end of the interval lies within the horizon, and has for a
twentieth of the time that is left (a disk that is full in ten hours is watched for half an hour
first, one that is full in five minutes for 15 s). It is raised again when it becomes critical, and
ends when nothing has pointed to a horizon and a half for `resolve_after`, and for a tenth of the
window it was seen in, for a trend of hours pauses now and then. One table of columns,
NumPy over the few rows that something grows in.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import cast

import numpy as np

from dos.detect.columns import Column, Columns
from dos.detect.forecast.base import ForecastConfig
from dos.detect.forecast.scales import COUNTDOWN, Past
from dos.detect.forecast.trend import STALL, Trends, Verdict
from dos.kit.clock import SECOND, Millis
from dos.model.forecast import ForecastKind
from dos.model.telemetry import (
    BoolArray,
    Float32Array,
    Float64Array,
    Int8Array,
    Int32Array,
    Int64Array,
)

KINDS = tuple(ForecastKind)
"""By the code in column `kind`."""
CONFIRM = 0.05
"""Share of the time left for which a trend has to last before it is told."""
CREDIBLE = 2.0
"""The early end is told only if the likely one is no more than this many times as far."""
VAGUE = 4.0
"""An interval that ends later than this many times the likely time says nothing."""
STAY = 1.5
"""An alarm lasts until the end is farther than this many horizons."""
LINGER, MOST_LINGER = 0.1, 3_600.0
"""An alarm outlasts its trend by this share of the window, and so many seconds at most."""
FULL = 0.995
"""Share of the limit from which on what was forecast has come."""
LEAST_SILENCE = 900.0
"""Seconds without samples, at least, after which nobody knows any more; else `PATIENCE` steps."""
PATIENCE = 10.0
TIMED_SILENCE = 86_400.0
"""The same of certificates, which are looked at seldom."""
RELIEF = 0.05
"""A fall of the used share by this much ended the alarm, and not that it grew slower."""


class Level(IntEnum):
    """Urgency, as kept in column `level`."""

    NONE = 0
    WARNING = 1
    CRITICAL = 2


LAYOUT = {
    "kind": Column(dtype="|i1"),
    "urgency": Column(dtype="|i1"),
    "pending_since": Column(dtype="<i8", initial=-1),
    "quiet_since": Column(dtype="<i8", initial=-1),
    "alarmed_at": Column(dtype="<i8", initial=-1),
    "most": Column(dtype="<f8"),
    "full": Column(dtype="|b1", initial=False),
    "held": Column(dtype="<f4"),
}
"""`urgency`: a `Level`; `pending_since`: when it first looked more urgent than it is told to be;
`most`: the largest share of the limit, or the earliest end, during the alarm; `full`: whether the
limit was reached in it; `held`: window of the trend that last asked for it, seconds.
Times are ms, -1 is none."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outlook:
    """What is known of some rows at one time, in columns `[row]`; times in seconds."""

    row: Int32Array
    scale: Int8Array
    """The scale that speaks; -1 where none does."""
    end: Float64Array
    early: Float64Array
    late: Float64Array
    """Infinite where no end is in sight."""
    window: Float32Array
    """Seconds over which the trend was seen."""
    full: BoolArray
    """Whether the limit is reached, and an alarm said so before."""
    silent: BoolArray
    timed: BoolArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Changes:
    """Rows whose urgency changed."""

    rose: Int32Array
    """They became a warning or critical."""
    ended: Int32Array
    ended_silent: BoolArray
    ended_relieved: BoolArray


def outlook(past: Past, trends: Trends, columns: Columns, now: Millis) -> Outlook:
    """What is to come, of the rows in which something grows or an alarm is on.

    Of several scales with a trend the one with the narrowest interval speaks.
    """
    seconds = now / SECOND
    urgency = cast(Int8Array, columns["urgency"])
    timed = past.mode >= COUNTDOWN
    seen = past.newest > 0
    grows = (trends.verdict == Verdict.TREND).any(axis=1)
    row = np.flatnonzero((grows | (urgency > 0) | timed) & seen).astype(np.int32)
    newest = past.newest[row] / SECOND
    line = trends.level[row] + trends.slope[row] * (newest[:, None] - trends.level_at[row])
    holds = (trends.verdict[row] == Verdict.TREND) & (trends.late[row] > seconds)
    holds &= past.used[row][:, None] >= line - trends.slack[row]
    holds[:, 1:] &= trends.steepest[row, :-1] >= STALL * trends.slope[row, 1:]
    end = np.maximum(trends.end[row], seconds)
    early = np.maximum(trends.early[row], seconds)
    late = trends.late[row]
    likely = np.where(holds, end - seconds, 1.0)
    width = np.where(holds, late, 1.0) - np.where(holds, early, 0.0)
    width = np.minimum(width, VAGUE * likely) / np.maximum(likely, 1e-3)
    scale = np.argmin(np.where(holds, width, np.inf), axis=1).astype(np.int8)
    some = holds.any(axis=1)
    at = (np.arange(len(row)), scale)
    is_timed = timed[row]
    full = ~is_timed & (urgency[row] > 0) & (past.used[row] >= FULL)
    silence = np.where(
        is_timed, TIMED_SILENCE, np.maximum(LEAST_SILENCE, PATIENCE * past.usual[row])
    )

    def chosen(found: Float64Array) -> Float64Array:
        picked = np.where(some, found[at], np.inf)
        picked = np.where(full, seconds, picked)
        return np.where(is_timed, past.used[row], picked)

    return Outlook(
        row=row,
        scale=np.where(some & ~is_timed, scale, -1).astype(np.int8),
        end=chosen(end),
        early=chosen(early),
        late=chosen(late),
        window=np.where(some, trends.span[row][at], 0.0).astype(np.float32),
        full=full,
        silent=seconds - newest > silence,
        timed=is_timed,
    )


class Alarms:
    """Decides over the rows of one table."""

    def __init__(self, config: ForecastConfig) -> None:
        self._config = config
        horizons = [config.horizon(kind) for kind in KINDS]
        self._warning = np.array([one.warning for one in horizons])
        self._critical = np.array([one.critical for one in horizons])

    def decide(self, columns: Columns, past: Past, seen: Outlook, now: Millis) -> Changes:
        """Move the hysteresis of the rows of `seen` on to `now`."""
        row = seen.row
        urgency = cast(Int8Array, columns["urgency"])
        level, since = urgency[row], cast(Int64Array, columns["pending_since"])
        wanted = self._wanted(columns, seen, level, now)
        pending = np.where(wanted <= level, -1, np.where(since[row] < 0, now, since[row]))
        left = np.where(seen.timed | seen.full, 0.0, seen.end - now / SECOND)
        left = np.where(np.isfinite(left), left, 0.0)
        rises = (wanted > level) & (now - pending >= CONFIRM * left * SECOND)
        since[row] = np.where(rises, -1, pending)
        quiet = cast(Int64Array, columns["quiet_since"])
        calm = np.where((level > 0) & (wanted == 0), np.where(quiet[row] < 0, now, quiet[row]), -1)
        most = cast(Float64Array, columns["most"])
        used = past.used[row]
        fell = np.where(seen.timed, used - most[row] > 60.0, most[row] - used > RELIEF)
        held = cast(Float32Array, columns["held"])
        asked = (wanted > 0) & (seen.scale >= 0)
        held[row[asked]] = seen.window[asked]
        patience = np.where(fell | seen.silent, 0.0, np.minimum(LINGER * held[row], MOST_LINGER))
        patience = np.maximum(patience, self._config.resolve_after)
        ends = (calm >= 0) & (now - calm >= patience * SECOND)
        quiet[row] = np.where(ends, -1, calm)
        began = rises & (level == 0)
        most[row] = np.where(began, used, np.where(seen.timed, np.minimum(most[row], used),
                                                   np.maximum(most[row], used)))  # fmt: skip
        full = cast(BoolArray, columns["full"])
        full[row] = (full[row] & ~began) | seen.full
        urgency[row] = np.where(rises, wanted, np.where(ends, 0, level))
        past.alarmed[row] = urgency[row] > 0
        started = cast(Int64Array, columns["alarmed_at"])
        started[row[began]] = now
        return Changes(
            rose=row[rises],
            ended=row[ends],
            ended_silent=seen.silent[ends],
            ended_relieved=fell[ends],
        )

    def _wanted(self, columns: Columns, seen: Outlook, level: Int8Array, now: Millis) -> Int8Array:
        """`[row]` the level that the outlook asks for."""
        kind = cast(Int8Array, columns["kind"])[seen.row]
        ahead: Float32Array | Float64Array = seen.early - now / SECOND
        critical = self._critical[kind] * np.where(level == Level.CRITICAL, STAY, 1.0)
        likely = seen.end - now / SECOND
        vague = seen.late - now / SECOND > VAGUE * np.maximum(likely, 0.0)
        ahead = np.maximum(ahead, np.minimum(likely, 1e15) / CREDIBLE)
        ahead = np.where(vague & ~seen.timed & ~seen.full, np.inf, ahead)
        warning = self._warning[kind] * np.where(level > Level.NONE, STAY, 1.0)
        wanted = np.where(ahead < critical, Level.CRITICAL, np.where(ahead < warning, 1, 0))
        return np.where(seen.silent, 0, wanted).astype(np.int8)
