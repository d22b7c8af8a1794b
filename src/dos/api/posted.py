"""Series as they are posted for analysis, and the columns they become."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from dos.api.backend import Case
from dos.ingest.roles import meaning_of
from dos.ingest.samples import Name, Timestamp
from dos.kit.clock import Millis, from_rfc3339
from dos.model.graph import EdgeEvidence, EdgeKind
from dos.model.ids import EntityId
from dos.model.telemetry import MetricKind, Role, SampleFrame, SeriesSpec

_FIRST = from_rfc3339("2000-01-01T00:00:00Z")  # numbers below are seconds, misread
_LAST = from_rfc3339("9999-12-31T23:59:59Z")


def _number_or_none(value: object) -> object:
    """Prometheus writes numbers as text, and what has no value as "NaN"."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return value
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


PostedTime = Annotated[
    Timestamp,
    Field(le=_LAST),
    AfterValidator(partial(max, 0)),  # as in queries, what lies before 1970 is read as 1970
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "format": "date-time"},
                {"type": "integer", "minimum": _FIRST, "maximum": _LAST},
            ]
        }
    ),
]
"""RFC 3339 text, or milliseconds since the epoch."""

PostedValue = Annotated[
    float | None,
    BeforeValidator(_number_or_none),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "null"}]}),
]


class PostedSeries(BaseModel):
    """A series with its samples."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    entity: Name = Field(
        description="Who it is about: `name` or `namespace/name`.", examples=["shop/checkout"]
    )
    metric: Name = Field(examples=["latency_p95"])
    labels: dict[Name, Annotated[str, Field(max_length=1024)]] = Field(
        default_factory=dict, max_length=32, description="Further labels that tell series apart."
    )
    role: Role | None = Field(
        default=None, description="What the metric says; else read off its name and unit."
    )
    unit: str = Field(
        default="", max_length=32, description="Unit of the values; else read off the name."
    )
    kind: MetricKind | None = Field(
        default=None, description="`counter` for running totals; else read off the name."
    )
    points: list[tuple[PostedTime, PostedValue]] = Field(
        min_length=1,
        max_length=100_000,
        description="`[time, value]`, in any order; the time as RFC 3339 text or in milliseconds "
        "since the epoch, null where a sample was taken and had no value.",
        examples=[[["2026-11-23T14:30:00Z", 0.182], ["2026-11-23T14:30:15Z", None]]],
    )

    def spec(self) -> tuple[SeriesSpec, float]:
        """The series, and the factor that brings its values into the base unit."""
        meaning = meaning_of(self.metric, self.unit)
        spec = SeriesSpec(
            entity=EntityId(self.entity),
            metric=self.metric,
            labels=tuple(sorted(self.labels.items())),
            role=self.role or meaning.role,
            unit=meaning.unit,
            kind=self.kind or meaning.kind,
        )
        return spec, meaning.scale


class PostedEdge(BaseModel):
    """`caller` depends on `callee`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    caller: Name
    callee: Name
    kind: EdgeKind = EdgeKind.CALL


class AnalyzeRequest(BaseModel):
    """Recorded series to analyse, apart from the live system."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    series: list[PostedSeries] = Field(
        min_length=1, max_length=10_000, description="Each series once."
    )
    edges: list[PostedEdge] = Field(
        default_factory=list, max_length=100_000, description="Who calls whom, as far as known."
    )
    trouble_began_at: PostedTime | None = Field(
        default=None, description="What comes before is normal; without it this is found out."
    )

    @model_validator(mode="after")
    def _each_series_once(self) -> AnalyzeRequest:
        seen: set[SeriesSpec] = set()
        for position, series in enumerate(self.series):
            spec, _ = series.spec()
            if spec in seen:
                msg = f"series.{position} is {spec.describe()!r}, which was posted before"
                raise ValueError(msg)
            seen.add(spec)
        return self

    def case(self) -> Case:
        """The request in columns, samples in order of time.

        Cost: O(samples log samples); call it in a worker thread.
        """
        described = [series.spec() for series in self.series]
        counts = [len(series.points) for series in self.series]
        index = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        at = np.array([at for s in self.series for at, _ in s.points], dtype=np.int64)
        # None becomes NaN: a sample that was taken and had no value.
        value = np.array([value for s in self.series for _, value in s.points], dtype=np.float64)
        value *= np.repeat([scale for _, scale in described], counts)
        order = np.lexsort((index, at))
        edges = tuple(
            EdgeEvidence(
                caller=EntityId(edge.caller),
                callee=EntityId(edge.callee),
                kind=edge.kind,
                source="posted",
                seen_at=Millis(int(at[order[-1]])),
            )
            for edge in self.edges
        )
        began = self.trouble_began_at
        return Case(
            frame=SampleFrame(
                series=tuple(spec for spec, _ in described),
                index=index[order],
                timestamp=at[order],
                value=value[order],
            ),
            edges=edges,
            trouble_began_at=None if began is None else Millis(began),
        )
