"""What can break, how badly, and when: faults as values, and the course of each.

A fault does one thing to one service (`Effects`); that callers suffer is the physics' doing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from dos.kit.clock import SECOND, Millis
from dos.kit.errors import ConfigError
from dos.model.ids import EntityId, derive_id
from dos.simulate.flow import Effects
from dos.simulate.propagation import Physics

MOST_DELAY = 0.5
"""Seconds that a network fault of full severity adds to each request."""
MOST_ERRORS = 0.5
"""Ratio of requests that an error fault of full severity makes fail."""


class FaultType(StrEnum):
    """The kinds of incident of the simulator."""

    CPU_SPIKE = "cpu_spike"
    MEMORY_LEAK = "memory_leak"
    NETWORK_LATENCY = "network_latency"
    ERROR_RATE = "error_rate"
    CASCADING_FAILURE = "cascading_failure"

    @property
    def label(self) -> str:
        """As people say it."""
        return {
            FaultType.CPU_SPIKE: "CPU spike",
            FaultType.MEMORY_LEAK: "Memory leak",
            FaultType.NETWORK_LATENCY: "Network latency",
            FaultType.ERROR_RATE: "Error rate increase",
            FaultType.CASCADING_FAILURE: "Cascading failure",
        }[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault of one service."""

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
        return grown * (1.0 - _share(max(0, now - self._recovers_at), self.fault.recovery))

    def apply(self, effects: Effects, physics: Physics, now: Millis) -> None:
        """Add what it does at `now` to `effects`."""
        fault, place = self.fault, physics.index[self.fault.target]
        intensity = self.intensity(now)
        if intensity == 0.0:
            return
        strength = intensity * fault.severity
        cpu = float(physics.cpu[place])
        match fault.type:
            case FaultType.CPU_SPIKE:
                left = (1.0 - effects.burn[place]) * (1.0 - burnt(strength, cpu))
                effects.burn[place] = 1.0 - left
            case FaultType.MEMORY_LEAK:
                if self.state(now) is not FaultState.RECOVERING:
                    free = 1.0 - float(physics.base_memory[place])
                    effects.leak[place] += intensity * free / fill_seconds(fault)
            case FaultType.NETWORK_LATENCY:
                effects.delay[place] += MOST_DELAY * strength
            case FaultType.ERROR_RATE:
                fine = (1.0 - effects.errors[place]) * (1.0 - MOST_ERRORS * strength)
                effects.errors[place] = 1.0 - fine
            case FaultType.CASCADING_FAILURE:
                lost = 1.0 - capacity_left(fault.severity, cpu)
                effects.capacity[place] *= 1.0 - intensity * lost


def burnt(strength: float, cpu: float) -> float:
    """CPU ratio that a spike takes: at full strength all that is unused at utilisation `cpu`."""
    return strength * (1.0 - cpu)


def fill_seconds(fault: Fault) -> float:
    """Seconds in which a leak fills the memory: at full severity three times in its duration."""
    return fault.duration * (1.2 - 0.9 * fault.severity)


def capacity_left(severity: float, cpu: float) -> float:
    """Share of the capacity that a cascade leaves at its root, used to `cpu` on average.

    From a severity of 0.28 on it is less than the average demand.
    """
    return min(1.0, cpu * (1.25 - 0.9 * severity))


def effects_of(runs: Sequence[FaultRun], physics: Physics, now: Millis) -> Effects:
    """All that `runs` do at `now`, together."""
    effects = Effects.none(len(physics.services))
    for run in runs:
        run.apply(effects, physics, now)
    return effects


def _share(elapsed: float, seconds: float) -> float:
    return 1.0 if seconds == 0 else min(1.0, elapsed / (seconds * SECOND))
