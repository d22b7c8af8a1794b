"""What can break, how badly, and when: faults as values, and the course of each.

Idle, triggered, active, recovering, over: the course is the same for every type. What a type
does to the world is in `dos.simulate.kinds`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dos.kit.clock import SECOND, Millis
from dos.kit.errors import ConfigError
from dos.model.ids import EntityId, derive_id


class FaultType(StrEnum):
    """The kinds of incident of the simulator; what each does is in `dos.simulate.kinds`."""

    CPU_SPIKE = "cpu_spike"
    MEMORY_LEAK = "memory_leak"
    NETWORK_LATENCY = "network_latency"
    PACKET_LOSS = "packet_loss"
    ERROR_RATE = "error_rate"
    CASCADING_FAILURE = "cascading_failure"
    DEPLOY_REGRESSION = "deploy_regression"
    CONFIG_CHANGE = "config_change"
    FEATURE_FLAG = "feature_flag"
    CERTIFICATE_EXPIRY = "certificate_expiry"
    DNS_FAILURE = "dns_failure"
    DISK_FULL = "disk_full"
    NOISY_NEIGHBOUR = "noisy_neighbour"
    LOCK_CONTENTION = "lock_contention"
    CACHE_STAMPEDE = "cache_stampede"
    RETRY_STORM = "retry_storm"
    DEPENDENCY_OUTAGE = "dependency_outage"
    ZONE_OUTAGE = "zone_outage"
    TRAFFIC_SURGE = "traffic_surge"
    CLOCK_SKEW = "clock_skew"
    METRIC_CORRUPTION = "metric_corruption"
    HARMLESS_DEPLOY = "harmless_deploy"
    PLANNED_SURGE = "planned_surge"
    BATCH_JOB = "batch_job"

    @property
    def label(self) -> str:
        """As people say it."""
        return _LABELS.get(self, self.value.replace("_", " ").capitalize())


_LABELS = {
    FaultType.CPU_SPIKE: "CPU spike",
    FaultType.ERROR_RATE: "Error rate increase",
    FaultType.DNS_FAILURE: "DNS failure",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault of one service, node or zone."""

    type: FaultType
    target: EntityId
    severity: float = 0.7
    """0 to 1: from hardly to be noticed to as bad as it gets."""
    duration: float = 180.0
    """Seconds from the trigger until the recovery begins."""
    ramp: float = 10.0
    """Seconds from the trigger to full strength."""
    recovery: float = 20.0
    """Seconds from the end of the duration until it has gone."""

    def __post_init__(self) -> None:
        if not 0 < self.severity <= 1:
            msg = f"Severity {self.severity} of {self.type} is out of range."
            raise ConfigError(msg, remedy="Write a number above 0 and up to 1.")
        if self.duration <= 0 or self.ramp < 0 or self.recovery < 0:
            times = f"{self.duration}, {self.ramp} or {self.recovery}"
            msg = f"Duration, ramp or recovery ({times} s) of {self.type} is out of range."
            raise ConfigError(msg, remedy="Write a duration above 0 and the others 0 or more.")


class FaultState(StrEnum):
    """The course of a fault."""

    IDLE = "idle"
    TRIGGERED = "triggered"
    """Growing to full strength."""
    ACTIVE = "active"
    RECOVERING = "recovering"
    OVER = "over"


class FaultRun:
    """A fault that was triggered, and how far it has come.

    Args:
        fault: What was triggered.
        triggered_at: When.
        number: Tells equal faults of the same moment apart.
    """

    def __init__(self, fault: Fault, triggered_at: Millis, number: int = 0) -> None:
        self.fault = fault
        self.triggered_at = triggered_at
        self.id = derive_id("fault", fault.type, fault.target, triggered_at, number)
        self._recovers_at = Millis(triggered_at + round(fault.duration * SECOND))

    @property
    def recovers_at(self) -> Millis:
        """When the recovery begins, as things stand."""
        return self._recovers_at

    @property
    def over_at(self) -> Millis:
        """When nothing of it is left, as things stand."""
        return Millis(self._recovers_at + round(self.fault.recovery * SECOND))

    def clear(self, now: Millis) -> None:
        """Begin the recovery now, if it has not begun."""
        self._recovers_at = Millis(min(self._recovers_at, max(now, self.triggered_at)))

    def state(self, now: Millis) -> FaultState:
        """Where it is in its course."""
        if now < self.triggered_at:
            return FaultState.IDLE
        if now >= self.over_at:
            return FaultState.OVER
        if now >= self._recovers_at:
            return FaultState.RECOVERING
        if now < self.triggered_at + self.fault.ramp * SECOND:
            return FaultState.TRIGGERED
        return FaultState.ACTIVE

    def intensity(self, now: Millis) -> float:
        """0 to 1: up along the ramp, level, and down along the recovery."""
        if now < self.triggered_at or now >= self.over_at:
            return 0.0
        grown = _share(min(now, self._recovers_at) - self.triggered_at, self.fault.ramp)
        if now < self._recovers_at:
            return grown
        return grown * (1.0 - _share(now - self._recovers_at, self.fault.recovery))


def _share(elapsed: float, seconds: float) -> float:
    return 1.0 if seconds == 0 else min(1.0, elapsed / (seconds * SECOND))
