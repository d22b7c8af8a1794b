"""Log lines in columns, and what can be unusual about them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from dos.kit.clock import Millis
from dos.model.ids import EntityId
from dos.model.telemetry import (
    Float64Array,
    Int32Array,
    Int64Array,
    Role,
    SeriesSpec,
    UInt8Array,
)


class LogSignal(StrEnum):
    """In what way the lines of an entity can be unusual. The value is the name of its series."""

    NEW = "log_new_templates"
    """Lines that it never wrote before."""
    BURST = "log_bursts"
    """Known lines far more often than before, or after a long time."""
    PARAMETER = "log_parameters"
    """Known lines with values in them that they did not have before."""

    def spec(self, entity: EntityId) -> SeriesSpec:
        """The series of its score, 0 to 1, of `entity`."""
        return SeriesSpec(entity=entity, metric=self.value, role=Role.OTHER, unit="")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line, as a source has it."""

    entity: EntityId
    timestamp: Millis
    body: bytes
    """UTF-8, as far as the writer knew what that is."""
    severity: int = 0
    """As OpenTelemetry numbers them, 1 to 24; 0 where it is not known."""
    weight: float = 1.0
    """How many lines it stands for, where not all are kept."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LogBatch:
    """Lines in columns `[line]`."""

    entities: tuple[EntityId, ...]
    """The batch's own table."""
    entity: Int32Array
    """Position in `entities`."""
    timestamp: Int64Array
    """Milliseconds since the epoch."""
    severity: UInt8Array
    weight: Float64Array
    offset: Int64Array
    """`[line + 1]` where each begins in `data`."""
    data: bytes
    """All bodies, one after the other."""

    def __post_init__(self) -> None:
        sizes = {len(self.entity), len(self.timestamp), len(self.severity), len(self.weight)}
        if sizes != {len(self.offset) - 1}:
            msg = "columns must have equal length, and offset one more"
            raise ValueError(msg)

    def __len__(self) -> int:
        return len(self.entity)

    @staticmethod
    def of(lines: Iterable[LogLine]) -> LogBatch:
        """`lines` in columns."""
        table: dict[EntityId, int] = {}
        rows = [(table.setdefault(one.entity, len(table)), one) for one in lines]
        return LogBatch.of_columns(
            tuple(table),
            [row for row, _ in rows],
            [one.timestamp for _, one in rows],
            [one.body for _, one in rows],
            severity=[one.severity for _, one in rows],
            weight=[one.weight for _, one in rows],
        )

    @staticmethod
    def of_columns(
        entities: tuple[EntityId, ...],
        entity: Sequence[int],
        timestamp: Sequence[int],
        bodies: Sequence[bytes],
        *,
        severity: Sequence[int] | None = None,
        weight: Sequence[float] | None = None,
    ) -> LogBatch:
        """The same from lists, which costs less; all as long as `bodies`."""
        count = len(bodies)
        offset = np.zeros(count + 1, np.int64)
        np.cumsum(np.fromiter(map(len, bodies), np.int64, count), out=offset[1:])
        return LogBatch(
            entities=entities,
            entity=np.asarray(entity, np.int32),
            timestamp=np.asarray(timestamp, np.int64),
            severity=np.zeros(count, np.uint8)
            if severity is None
            else np.asarray(severity, np.uint8),
            weight=np.ones(count) if weight is None else np.asarray(weight, np.float64),
            offset=offset,
            data=b"".join(bodies),
        )

    @staticmethod
    def empty() -> LogBatch:
        """No lines."""
        return LogBatch.of(())


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFinding:
    """The lines of an entity became unusual in one way, clearly more so, or usual again."""

    entity: EntityId
    signal: LogSignal
    timestamp: Millis
    started: bool
    onset: Millis
    """When the unusual lines began."""
    score: float
    """Anomaly score, 0 to 1."""
    rarity: float
    """Estimated share of healthy stretches of time in which lines are as unusual, 0 to 1."""
    deviation: float
    """The same as the distance in sigmas at which a normal distribution leaves so much beyond."""
    detail: str = ""
    """What was seen, in words; empty when it is over."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LogScores:
    """Scores of all entities for one stretch of time."""

    at: Millis
    """Its end."""
    entities: tuple[EntityId, ...]
    score: Float64Array
    """`[entity, signal]`, 0 to 1, in the order of `LogSignal`."""
