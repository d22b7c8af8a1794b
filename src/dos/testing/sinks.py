"""A sink that keeps what was delivered, for tests of sources."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import numpy as np

from dos.ingest.base import Delivery
from dos.model.entity import Entity
from dos.model.graph import EdgeEvidence
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array, Int64Array, SeriesSpec


class RecordingSink:
    """Keeps every delivery in order.

    Args:
        capacity: After so many deliveries `offer` refuses, and `deliver` waits for `drain`.
    """

    def __init__(self, capacity: int = 100_000) -> None:
        self._capacity = capacity
        self._taken = 0
        self._changed = asyncio.Event()
        self.deliveries: list[Delivery] = []
        """All deliveries, oldest first; sources may not change them afterwards."""

    async def deliver(self, delivery: Delivery) -> None:
        """Keep it, waiting for room."""
        await self.until(lambda sink: sink.has_room)
        self._keep(delivery)

    def offer(self, delivery: Delivery) -> bool:
        """Keep it if there is room."""
        if not self.has_room:
            return False
        self._keep(delivery)
        return True

    async def submit(self, delivery: Delivery) -> bool:
        """Keep it if there is room."""
        return self.offer(delivery)

    async def until(self, met: Callable[[RecordingSink], bool]) -> None:
        """Wait until `met(self)`; asked again whenever something came or was drained."""
        while not met(self):
            self._changed.clear()
            await self._changed.wait()

    def drain(self) -> Sequence[Delivery]:
        """Everything delivered since the last call; makes room."""
        new = self.deliveries[self._taken :]
        self._taken = len(self.deliveries)
        self._changed.set()
        return new

    @property
    def has_room(self) -> bool:
        """Whether one more delivery would be taken."""
        return len(self.deliveries) - self._taken < self._capacity

    @property
    def entities(self) -> dict[EntityId, Entity]:
        """Entities as described last."""
        return {entity.id: entity for one in self.deliveries for entity in one.entities}

    @property
    def edges(self) -> list[EdgeEvidence]:
        """All evidence for edges."""
        return [edge for one in self.deliveries for edge in one.edges]

    @property
    def series(self) -> set[SeriesSpec]:
        """Every series that has a sample."""
        found: set[SeriesSpec] = set()
        for one in self.deliveries:
            if one.frame is not None:
                found |= {one.frame.series[row] for row in np.unique(one.frame.index)}
        return found

    def samples(
        self, entity: str, metric: str, *, history: bool | None = None
    ) -> tuple[Int64Array, Float64Array]:
        """Timestamps (ms) and values of one series in order of delivery.

        Args:
            entity: The entity.
            metric: The metric, whatever its further labels.
            history: Only what was delivered as back-fill (True) or live (False).
        """
        times: list[Int64Array] = [np.empty(0, np.int64)]
        values: list[Float64Array] = [np.empty(0, np.float64)]
        for one in self.deliveries:
            if one.frame is None or (history is not None and one.history != history):
                continue
            rows = [
                row
                for row, spec in enumerate(one.frame.series)
                if spec.entity == entity and spec.metric == metric
            ]
            chosen = np.isin(one.frame.index, rows)
            times.append(one.frame.timestamp[chosen])
            values.append(one.frame.value[chosen])
        return np.concatenate(times), np.concatenate(values)

    def _keep(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        self._changed.set()
