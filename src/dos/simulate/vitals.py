"""What the metrics of a tick say of an entity: `CPU=85% | Latency=200ms | Errors=2%`."""

from __future__ import annotations

from collections.abc import Sequence

from dos.model.ids import EntityId
from dos.model.telemetry import SampleFrame, SeriesSpec

USUAL = ("cpu_usage", "memory_usage", "latency_p95", "error_rate")
"""What is told of a service on any day."""
OF_NODES = ("cpu_usage", "memory_usage", "ready", "clock_offset")
"""What is told of a node."""
NAMES = {
    "request_rate": "Requests",
    "error_rate": "Errors",
    "latency_p50": "Median",
    "latency_p95": "Latency",
    "latency_p99": "P99",
    "cpu_usage": "CPU",
    "memory_usage": "Memory",
    "connections": "Connections",
    "queue_depth": "Queue",
    "network_receive": "Receive",
    "network_transmit": "Transmit",
    "restarts": "Restarts",
    "retransmits": "Retransmits",
    "disk_usage": "Disk",
    "hit_ratio": "Hits",
    "ready": "Ready",
    "clock_offset": "Clock",
}
"""How metrics are called on a line; any other one by its own name."""


class Vitals:
    """Looks the metrics of entities up in frames of one tick.

    Args:
        series: The table of every frame.
    """

    def __init__(self, series: Sequence[SeriesSpec]) -> None:
        self._place = {(spec.entity, spec.metric): at for at, spec in enumerate(series)}
        self._unit = {spec.metric: spec.unit for spec in series}
        self.nodes = {spec.entity for spec in series if spec.metric == "ready"}
        """Entities that are machines."""

    def place(self, entity: EntityId, metric: str) -> int | None:
        """Of a series in the table; None where there is none."""
        return self._place.get((entity, metric))

    def value(self, frame: SampleFrame, entity: EntityId, metric: str) -> float | None:
        """What a frame of one tick says; None where the entity has no such series."""
        place = self.place(entity, metric)
        return None if place is None else float(frame.value[place])

    def line(self, frame: SampleFrame, entity: EntityId, also: Sequence[str] = ()) -> str:
        """The usual metrics of an entity, those named in `also` behind them; empty without any."""
        usual = OF_NODES if entity in self.nodes else USUAL
        parts = []
        for metric in dict.fromkeys((*usual, *also)):
            value = self.value(frame, entity, metric)
            if value is not None:
                parts.append(f"{NAMES.get(metric, metric)}={self.said(metric, value)}")
        return " | ".join(parts)

    def said(self, metric: str, value: float) -> str:
        """A value with its unit, as short as it can be read."""
        return said(metric, value, self._unit.get(metric, ""))


def said(metric: str, value: float, unit: str) -> str:
    """A value of `metric` in `unit` as people write it: `85%`, `200ms`, `2.4s`, `120/s`."""
    if metric == "ready":
        return "yes" if value >= 0.5 else "no"
    if unit == "ratio":
        return f"{value:.0%}"
    if unit == "seconds":
        return f"{value * 1000:.0f}ms" if abs(value) < 10.0 else f"{value:,.0f}s"
    if unit == "bytes/s":
        return f"{value / 1e6:,.1f}MB/s"
    if unit == "1/s":
        return f"{value:,.0f}/s"
    return f"{value:,.0f}"
