"""A shard host with a few series, fed one column of values after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dos.compute.local import LocalHost
from dos.detect.engine import DetectConfig, DetectKernel, EngineState, Readings
from dos.kit.clock import SECOND
from dos.model.anomaly import Findings
from dos.model.ids import EntityId, SeriesId
from dos.model.telemetry import Float64Array, MetricBatch, Role, Series, SeriesSpec

MONDAY = 1_767_571_200_000
"""2026-01-05T00:00:00Z, in ms."""

LATENCY = SeriesSpec(
    entity=EntityId("checkout"), metric="latency_p95", role=Role.LATENCY, unit="seconds"
)
ERRORS = SeriesSpec(
    entity=EntityId("checkout"), metric="error_ratio", role=Role.ERRORS, unit="ratio"
)
TRAFFIC = SeriesSpec(
    entity=EntityId("checkout"), metric="request_rate", role=Role.TRAFFIC, unit="1/s"
)
SATURATION = SeriesSpec(
    entity=EntityId("checkout"), metric="cpu_usage", role=Role.SATURATION, unit="ratio"
)
AVAILABILITY = SeriesSpec(
    entity=EntityId("checkout"), metric="up", role=Role.AVAILABILITY, unit="ratio"
)
ALL = (LATENCY, ERRORS, TRAFFIC, SATURATION, AVAILABILITY)


@dataclass(frozen=True)
class Found:
    """One finding as plain numbers, to compare and to read."""

    series: int
    at: int
    """Milliseconds."""
    started: bool
    onset: int
    deviation: float
    score: float
    band: tuple[float, float, float]
    observed: float


def rows(findings: Findings) -> list[Found]:
    return [
        Found(
            series=int(findings.series_id[i]),
            at=int(findings.timestamp[i]),
            started=bool(findings.started[i]),
            onset=int(findings.onset[i]),
            deviation=float(findings.deviation[i]),
            score=float(findings.score[i]),
            band=(float(findings.lower[i]), float(findings.expected[i]), float(findings.upper[i])),
            observed=float(findings.observed[i]),
        )
        for i in range(len(findings))
    ]


def interned(specs: Sequence[SeriesSpec]) -> list[Series]:
    return [Series(id=SeriesId(i), spec=spec) for i, spec in enumerate(specs)]


class Watch:
    """Series on a regular grid."""

    def __init__(
        self,
        *specs: SeriesSpec,
        config: DetectConfig | None = None,
        partitions: int = 1,
        step: float = 15.0,
        start: int = MONDAY,
    ) -> None:
        self.kernel = DetectKernel(config or DetectConfig())
        self.host: LocalHost[EngineState] = LocalHost(self.kernel, partitions)
        self.series = interned(specs)
        self.host.register(self.series)
        self.step = round(step * SECOND)
        self.now = start
        self.found: list[Found] = []

    def feed(self, values: npt.ArrayLike, *, history: bool = False) -> list[Found]:
        """One step for each of `values`, `[time]` for all series or `[time, series]`."""
        grid = np.asarray(values, np.float64)
        if grid.ndim == 1:
            grid = np.repeat(grid[:, None], len(self.series), axis=1)
        fresh: list[Found] = []
        for line in grid:
            self.now += self.step
            fresh += rows(self.host.step(batch_at(self.now, line), history=history))
        self.found += fresh
        return fresh

    @property
    def readings(self) -> Readings:
        """Of the first partition."""
        return self.kernel.readings(self.host.states[0])


def batch_at(now: int, line: Float64Array) -> MetricBatch:
    return MetricBatch(
        series_id=np.arange(len(line), dtype=np.int32),
        timestamp=np.full(len(line), now, np.int64),
        value=line,
    )


def noisy(
    level: float, count: int, *, seed: int = 1, share: float = 0.05, log: bool = False
) -> Float64Array:
    """`[time]` around `level`, with a relative spread of `share`; `log`: log-normal."""
    draws = np.random.default_rng(seed).standard_normal(count) * share
    return level * (np.exp(draws) if log else 1 + draws)
