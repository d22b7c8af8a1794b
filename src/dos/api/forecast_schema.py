"""What the API answers about forecasts."""

from __future__ import annotations

from pydantic import Field

from dos.api.wire import Labels, Number, Time, Wire
from dos.model.forecast import ForecastId, ForecastKind, ForecastReason, ForecastState
from dos.model.ids import EntityId, SeriesId


class ForecastOut(Wire):
    """When one series reaches its limit, as far as can be told."""

    id: ForecastId = Field(description="The same from the beginning of an alarm to its end.")
    series_id: SeriesId
    entity: EntityId
    metric: str
    labels: Labels
    kind: ForecastKind
    state: ForecastState = Field(description="`watched` is no alarm.")
    reason: ForecastReason
    at: Time = Field(description="When this was computed.")
    value: Number
    limit: Number = Field(description="Where it is exhausted, in `unit`; 0 for what counts down.")
    unit: str
    used: Number = Field(description="Share of the limit in use; 1 is exhausted.")
    growth: Number = Field(description="Change of `used` per second; null for a certificate.")
    exhausted_at: Time | None = Field(description="The most probable time of exhaustion.")
    earliest: Time | None = Field(description="The interval holds the true time with `coverage`.")
    latest: Time | None = Field(description="Null with an `earliest`: it may never come.")
    coverage: Number
    window: Number = Field(description="Seconds of the past that the trend was seen over.")
    points: int
    alarmed_at: Time | None
    ended_at: Time | None
    title: str
    evidence: str
