"""Samples as JSON: what `POST /collect-metrics` takes, checked one by one.

A body is a list of samples; one bad sample does not spoil the others. `read_samples` returns
what was understood as a `Delivery` and a reason for each that was not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from dos.ingest.base import Delivery
from dos.ingest.roles import meaning_of
from dos.kit.clock import Millis, from_rfc3339
from dos.model.ids import EntityId
from dos.model.telemetry import MetricKind, Role, SampleFrame, SeriesSpec

MAX_SAMPLES = 50_000
"""Samples in one body at most."""
_MAX_LABELS = 32
_EARLIEST = 946_684_800_000
"""2000-01-01: an earlier time in milliseconds is one in seconds, misread."""
_LATEST = 253_402_300_799_999
"""The end of 9999, beyond which there is no RFC 3339; also keeps times within 64 bits."""


def _millis(value: object) -> object:
    if isinstance(value, str):
        return from_rfc3339(value)
    if isinstance(value, int) and value < _EARLIEST:
        msg = "is before the year 2000; write milliseconds since the epoch, or RFC 3339 text"
        raise ValueError(msg)
    return value


Name = Annotated[str, StringConstraints(min_length=1, max_length=256, strip_whitespace=True)]
Timestamp = Annotated[
    int, BeforeValidator(_millis, json_schema_input_type=int | str), Field(strict=True, le=_LATEST)
]


class PushedSample(BaseModel):
    """One sample of one metric of one service."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    entity: Name | None = Field(
        default=None,
        description="`name` or `namespace/name` of the service (or node, database, …).",
        examples=["shop/checkout"],
    )
    service: Name | None = Field(default=None, description="Another word for `entity`.")
    metric: Name = Field(description="Name of the metric.", examples=["latency_p95"])
    value: float = Field(allow_inf_nan=False, description="In `unit`.", examples=[0.182])
    timestamp: Timestamp | None = Field(
        default=None,
        description="Milliseconds since the epoch or RFC 3339 text; time of arrival if left out.",
    )
    labels: dict[Name, Annotated[str, StringConstraints(max_length=1024)]] = Field(
        default_factory=dict, max_length=_MAX_LABELS, description="Further labels."
    )
    unit: Annotated[str, StringConstraints(max_length=32)] = Field(
        default="", description="Unit of the value (`ms`, `By`, `%`, …); else read off the name."
    )
    kind: MetricKind | None = Field(
        default=None, description="`counter` for running totals; else read off the name."
    )
    role: Role | None = Field(
        default=None, description="What the metric says about the service; else read off the name."
    )

    @model_validator(mode="after")
    def _names_one(self) -> PushedSample:
        if (self.entity is None) == (self.service is None):
            msg = "name what was measured in `entity` (or `service`), once"
            raise ValueError(msg)
        return self

    def spec(self) -> tuple[SeriesSpec, float]:
        """The series, and the factor that brings its values into the base unit."""
        meaning = meaning_of(self.metric, self.unit)
        spec = SeriesSpec(
            entity=EntityId(self.entity or self.service or ""),
            metric=self.metric,
            labels=tuple(sorted(self.labels.items())),
            role=self.role or meaning.role,
            unit=meaning.unit,
            kind=self.kind or meaning.kind,
        )
        return spec, meaning.scale


@dataclass(frozen=True, slots=True, kw_only=True)
class BadSample:
    """A sample that was not understood."""

    position: int
    """Its place in the body, from 0."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSamples:
    """A body after reading."""

    delivery: Delivery
    understood: int
    bad: tuple[BadSample, ...]


def read_samples(now: Millis, items: Sequence[object]) -> ReadSamples:
    """Check each of `items` (decoded JSON) and put the good ones into one delivery.

    Args:
        now: Time of arrival: the timestamp of samples that carry none.
        items: Decoded JSON, at most `MAX_SAMPLES`.

    Raises:
        ValueError: There are more than `MAX_SAMPLES`.
    """
    if len(items) > MAX_SAMPLES:
        msg = f"{len(items)} samples in one body; send at most {MAX_SAMPLES} at once"
        raise ValueError(msg)
    good: list[PushedSample] = []
    bad: list[BadSample] = []
    for position, item in enumerate(items):
        try:
            good.append(PushedSample.model_validate(item))
        except ValidationError as error:
            bad.append(BadSample(position=position, reason=_reason(error)))
    return ReadSamples(delivery=delivery_of(now, good), understood=len(good), bad=tuple(bad))


def delivery_of(now: Millis, samples: Sequence[PushedSample]) -> Delivery:
    """`samples` as one delivery; empty for no samples."""
    if not samples:
        return Delivery()
    rows: dict[SeriesSpec, int] = {}
    index = np.empty(len(samples), np.int32)
    at = np.empty(len(samples), np.int64)
    value = np.empty(len(samples), np.float64)
    for position, sample in enumerate(samples):
        spec, scale = sample.spec()
        index[position] = rows.setdefault(spec, len(rows))
        at[position] = now if sample.timestamp is None else sample.timestamp
        value[position] = sample.value * scale
    frame = SampleFrame(series=tuple(rows), index=index, timestamp=at, value=value)
    return Delivery(frame=frame)


def _reason(error: ValidationError) -> str:
    """All that is wrong with one sample, as one line."""
    found: list[str] = []
    for one in error.errors(include_url=False, include_input=False):
        where = ".".join(str(part) for part in one["loc"])
        what = one["msg"].removeprefix("Value error, ")
        found.append(f"{where}: {what}" if where else what)
    return "; ".join(found)
