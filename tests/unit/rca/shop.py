"""A small shop whose telemetry a test can spoil on purpose."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dos.kit.clock import SECOND, Millis
from dos.model.change import Change
from dos.model.entity import Entity
from dos.model.graph import Edge, GraphSnapshot
from dos.model.ids import EntityId
from dos.model.telemetry import Role, SeriesSpec
from dos.rca.case import Case

CALLS = (
    ("frontend", "orders"),
    ("frontend", "catalogue"),
    ("orders", "payment"),
    ("orders", "user-db"),
    ("catalogue", "catalogue-db"),
)
METRICS = {
    "latency_p95": (Role.LATENCY, "seconds", 0.12, 0.01),
    "error_ratio": (Role.ERRORS, "ratio", 0.002, 0.001),
    "requests": (Role.TRAFFIC, "1/s", 50.0, 2.0),
    "cpu": (Role.SATURATION, "ratio", 0.3, 0.02),
}
STEP = 15 * SECOND
BEFORE, DURING = 120, 20
ORIGIN = 1_700_000_000_000 // STEP * STEP
START = Millis(ORIGIN + BEFORE * STEP)


def graph(calls: tuple[tuple[str, str], ...] = CALLS) -> GraphSnapshot:
    names = sorted({end for call in calls for end in call})
    return GraphSnapshot(
        version=1,
        entities=tuple(Entity(id=EntityId(name)) for name in names),
        edges=tuple(Edge(caller=EntityId(a), callee=EntityId(b)) for a, b in sorted(calls)),
    )


@dataclass
class Shop:
    """Noise on every series from a seed; `spoil` multiplies a metric from a step on."""

    seed: int = 1
    values: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        for name in sorted({end for call in CALLS for end in call}):
            for metric, (_, _, level, noise) in METRICS.items():
                series = level + noise * rng.standard_normal(BEFORE + DURING)
                self.values[name, metric] = np.maximum(series, 0.0)

    def spoil(self, entity: str, metric: str, factor: float, *, after_steps: int = 0) -> Shop:
        self.values[entity, metric][BEFORE + after_steps :] *= factor
        return self

    def case(
        self,
        *,
        with_graph: bool = True,
        late_s: float = 0.0,
        changes: tuple[Change, ...] = (),
        target: tuple[EntityId, str | None] | None = None,
        abnormal: frozenset[EntityId] | None = None,
    ) -> Case:
        keys = list(self.values)
        return Case(
            times=ORIGIN + STEP * np.arange(BEFORE + DURING, dtype=np.int64),
            values=np.column_stack([self.values[key] for key in keys]),
            series=tuple(
                SeriesSpec(
                    entity=EntityId(entity),
                    metric=metric,
                    role=METRICS[metric][0],
                    unit=METRICS[metric][1],
                )
                for entity, metric in keys
            ),
            graph=graph() if with_graph else None,
            start=Millis(START + round(late_s * SECOND)),
            end=Millis(ORIGIN + STEP * (BEFORE + DURING - 1)),
            changes=changes,
            target=target,
            abnormal=abnormal,
        )
