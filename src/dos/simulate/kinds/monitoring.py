"""The system is well and its monitoring is not."""

from __future__ import annotations

from random import Random

from dos.kit.clock import Millis
from dos.model.entity import EntityKind
from dos.simulate.faults import FaultRun, FaultType
from dos.simulate.flow import Corruption, Effects
from dos.simulate.kinds.base import Kind
from dos.simulate.propagation import Physics
from dos.simulate.world import SimulatedService

WAYS = (
    ("latency_p95", 1000.0),  # milliseconds taken for seconds
    ("cpu_usage", 0.0),  # an exporter that lost its cgroup
    ("request_rate", 0.0),  # a counter renamed
    ("memory_usage", 2.0),  # counted twice
)
"""Metric and factor: unit errors and lost series, as they happen."""


def garbled(run: str) -> tuple[str, float]:
    """The metric that the fault run of that id corrupts, and the factor that it shows."""
    return Random(run).choice(WAYS)  # noqa: S311  a simulation, not a secret


class MetricCorruption(Kind):
    """One metric silently shows something else."""

    type = FaultType.METRIC_CORRUPTION
    ramp = 0.0
    recovery = 0.0

    def fits(self, service: SimulatedService, *, called: bool) -> bool:
        """Who has metrics of its own."""
        return service.kind is not EntityKind.EXTERNAL

    def apply(
        self, run: FaultRun, strength: float, effects: Effects, physics: Physics, now: Millis
    ) -> None:
        """Garble one metric, the same one for the whole course."""
        metric, factor = garbled(run.id)
        effects.corrupted.append(Corruption(service=run.fault.target, metric=metric, factor=factor))
