"""Forecasts: when a resource with a known limit will run out, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from dos.kit.clock import Millis
from dos.model.ids import EntityId, SeriesId

ForecastId = NewType("ForecastId", str)


class ForecastKind(StrEnum):
    """What runs out."""

    DISK = "disk"
    MEMORY = "memory"
    CERTIFICATE = "certificate"
    QUOTA = "quota"


class ForecastState(StrEnum):
    """How urgent it is."""

    WATCHED = "watched"
    """It is growing, but nothing has to be done yet: no alarm."""
    WARNING = "warning"
    """It may run out within the warning horizon of its kind."""
    CRITICAL = "critical"
    """It may run out within the critical horizon."""
    OVER = "over"
    """There was an alarm, and it has ended; `reason` says why."""


class ForecastReason(StrEnum):
    """Why a forecast is in its state."""

    GROWING = "growing"
    """The trend leads to the limit, but not soon."""
    RUNS_OUT = "runs_out"
    """The early end of the interval lies within the horizon."""
    EXHAUSTED = "exhausted"
    """The limit is reached."""
    RELIEVED = "relieved"
    """Use fell: something was cleaned up, restarted, renewed, or the limit was raised."""
    LEVELLED_OFF = "levelled_off"
    """It no longer grows towards its limit, or so slowly that there is time."""
    SILENT = "silent"
    """The series stopped reporting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """When one series reaches its limit, as far as can be told."""

    id: ForecastId
    """The same from the beginning of an alarm to its end."""
    series_id: SeriesId
    entity: EntityId
    metric: str
    labels: tuple[tuple[str, str], ...] = ()
    kind: ForecastKind
    state: ForecastState
    reason: ForecastReason
    at: Millis
    """When this was computed."""
    value: float
    """The newest sample, in `unit`."""
    limit: float
    """The value at which it is exhausted; 0 for what counts down."""
    unit: str
    used: float
    """Share of the limit in use: 1 is exhausted. For a certificate 0 until it has expired."""
    growth: float | None = None
    """Change of `used` per second; None for a certificate, whose end is written in it."""
    exhausted_at: Millis | None = None
    """The most probable time of exhaustion; None when none can be told."""
    earliest: Millis | None = None
    latest: Millis | None = None
    """The interval that holds the true time with probability `coverage`; None: none can be told
    (`latest` alone None: it may never come)."""
    coverage: float
    window: float = 0.0
    """Seconds of the past that the trend was seen over."""
    points: int = 0
    """Points of the trend."""
    alarmed_at: Millis | None = None
    """When the alarm began."""
    ended_at: Millis | None = None
    title: str = ""
    """What will happen when, in one line."""
    evidence: str = ""
    """What was seen, with numbers, as a sentence."""
