"""Which faults were injected, which of them run now, and what that asks of whom."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dos.kit.clock import SECOND, Clock, Millis, to_rfc3339
from dos.model.ids import derive_id
from dos.simulate.testbed import spec
from dos.simulate.testbed.faults import FaultKind, InjectedFault

_KEPT = 1000
"""Faults that are remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One fault that was injected: the truth about the testbed."""

    id: str
    fault: InjectedFault
    start: Millis
    since: float
    """`start` on the monotonic clock, seconds."""
    end: Millis | None = None
    """When it was over; None while it runs."""

    def shown(self) -> dict[str, object]:
        """As JSON, in the form of the simulator's exporter."""
        return {
            "id": self.id,
            "type": self.fault.type.value,
            "service": self.fault.service,
            "severity": self.fault.severity,
            "start": to_rfc3339(self.start),
            "end": None if self.end is None else to_rfc3339(self.end),
            "affected": [self.fault.service, *spec.dependents(self.fault.service)],
        }


class Records:
    """All faults of a run, oldest first; those running are asked about by kind and service."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._records: list[Record] = []
        self._count = 0

    def add(self, fault: InjectedFault) -> Record:
        """`fault` begins now."""
        self._count += 1
        now = self._clock.now()
        record = Record(
            id=derive_id("fault", fault.type, fault.service, now, self._count),
            fault=fault,
            start=now,
            since=self._clock.monotonic(),
        )
        self._records = [*self._records, record][-_KEPT:]
        return record

    def clear(self) -> None:
        """All that run end now."""
        now = self._clock.now()
        self._records = [replace(one, end=now) if one.end is None else one for one in self._records]

    def expire(self) -> None:
        """Those whose time is over have ended, when their time was over."""
        self._records = [self._expired(one) for one in self._records]

    @property
    def all(self) -> tuple[Record, ...]:
        """Every fault, oldest first."""
        return tuple(self._records)

    @property
    def running(self) -> tuple[Record, ...]:
        """Those that last."""
        return tuple(one for one in self._records if one.end is None)

    def killed(self, service: str) -> bool:
        """Whether `service` is to be down."""
        return self._strength(FaultKind.KILL, service) > 0

    def slowness(self, service: str) -> float:
        """How slow the way to `service` is, 0 to 1."""
        return self._strength(FaultKind.SLOW_DEPENDENCY, service)

    def left(self, record: Record) -> InjectedFault | None:
        """What is still to come of `record`, as a fault that begins now; None if nothing is."""
        elapsed = self._clock.monotonic() - record.since
        fault = record.fault
        if record.end is not None or elapsed >= fault.duration:
            return None
        return fault.model_copy(
            update={
                "duration": fault.duration - elapsed,
                "ramp": max(0.0, fault.ramp - elapsed),
            }
        )

    def _strength(self, kind: FaultKind, service: str) -> float:
        now = self._clock.monotonic()
        mine = [
            one.fault.strength(now - one.since)
            for one in self.running
            if one.fault.type is kind and one.fault.service == service
        ]
        return max(mine, default=0.0)

    def _expired(self, record: Record) -> Record:
        seconds = record.fault.ends_after
        if record.end is not None or self._clock.monotonic() - record.since < seconds:
            return record
        return replace(record, end=Millis(record.start + round(seconds * SECOND)))
