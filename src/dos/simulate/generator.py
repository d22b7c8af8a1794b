"""One service, and one incident at a time: the simulator for those who bring their own loop.

`ServiceGenerator` plays a world of one service. `IncidentSimulator` works on metrics wherever
they come from: it reads the load off them and answers with the same formulas as the physics.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from random import Random
from typing import TypedDict

import numpy as np

from dos.kit.clock import SECOND, Clock, Millis, SystemClock, to_datetime
from dos.kit.errors import ConfigError
from dos.model.ids import EntityId, derive_id
from dos.simulate.engine import Simulation
from dos.simulate.faults import FaultRun, FaultState, FaultType
from dos.simulate.kinds.network import MOST_DELAY
from dos.simulate.kinds.resources import MOST_ERRORS, burnt, capacity_left, fill_seconds
from dos.simulate.layout import PATIENCE
from dos.simulate.queueing import wait_for_server
from dos.simulate.scenario import SKETCH, draw
from dos.simulate.workload import Workload
from dos.simulate.world import SimulatedService, World

_FOLLOWS = 600 * SECOND
"""Gap between two calls up to which the service lives on; beyond it starts afresh."""
_STEP = 1.0


class ServiceGenerator:
    """Metrics of one service over time: traffic by hour and weekday, load, noise, collections.

    Args:
        name: Of the service.
        request_rate: Requests per second on a weekday's average.
        cpu_usage: Ratio of its capacity in use at that rate.
        latency: Mean seconds of a request without load.
        memory_usage: Ratio of the memory limit just after a garbage collection.
        error_rate: Ratio of requests that fail on a good day.
        workload: The pattern of traffic.
        seed: Of all randomness.
    """

    def __init__(
        self,
        name: str,
        *,
        request_rate: float = 100.0,
        cpu_usage: float = 0.35,
        latency: float = 0.05,
        memory_usage: float = 0.45,
        error_rate: float = 0.001,
        workload: Workload | None = None,
        seed: int = 0,
    ) -> None:
        service = SimulatedService(
            name=name,
            cpu=cpu_usage,
            service_time=latency,
            memory=memory_usage,
            error_rate=error_rate,
        )
        self.name = name
        self._world = World(
            name=name, services=(service,), calls=(), entries={service.id: request_rate}
        )
        self._workload = workload
        self._seed = seed
        self._simulation: Simulation | None = None
        self._latest: dict[str, float] = {}

    def generate_metrics(self, timestamp: datetime | float) -> dict[str, float]:
        """Metric name to value at `timestamp` (a `datetime`, UTC where naive, or Unix seconds).

        Calls in order of time continue one history. After a jump back, or ahead by more than ten
        minutes, the service starts afresh; the result then depends on seed and timestamp alone.
        """
        at = _millis(timestamp)
        simulation = self._simulation
        if simulation is None or not simulation.now <= at <= simulation.now + _FOLLOWS:
            # Another seed for each start, or every start would roll the same dice.
            self._simulation = simulation = Simulation(
                self._world,
                seed=self._seed * 1_000_003 + at,
                step_seconds=_STEP,
                start=Millis(at - round(_STEP * SECOND)),
                workload=self._workload,
            )
        names = [spec.metric for spec in simulation.series]
        while simulation.now + _STEP * SECOND <= at:
            values = simulation.tick().value
            self._latest = dict(zip(names, values.tolist(), strict=True))
        return dict(self._latest)


class Incident(TypedDict):
    """What `IncidentSimulator.trigger_incident` returns."""

    id: str
    description: str
    service: str
    type: str
    severity: float
    duration_seconds: float
    start_time: datetime
    end_time: datetime


class IncidentSimulator:
    """Makes one service's metrics look like an incident, from its trigger to its end.

    Args:
        probability: Chance of `should_trigger` per cycle while nothing is wrong.
        weights: Relative frequency of the types; those of the random mode by default.
        seed: Of all randomness.
        clock: Says when an incident starts and how far it has come.
    """

    def __init__(
        self,
        *,
        probability: float = 0.1,
        weights: Mapping[FaultType, float] | None = None,
        seed: int = 0,
        clock: Clock | None = None,
    ) -> None:
        self._probability = probability
        self._weights = dict(SKETCH) if weights is None else dict(weights)
        for kind in self._weights:
            if kind not in SKETCH:
                msg = f"A single service cannot have the fault {kind}: it needs a world."
                raise ConfigError(msg, remedy=f"Use one of: {', '.join(SKETCH)}.")
        self._rng = Random(f"incident/{seed}")  # noqa: S311  a simulation, not a secret
        self._clock = clock or SystemClock()
        self._run: FaultRun | None = None

    def should_trigger(self) -> bool:
        """Roll the dice of one cycle; never while an incident is on."""
        return not self.active and self._rng.random() < self._probability

    @property
    def active(self) -> bool:
        """Whether an incident is on, its recovery included."""
        return self._run is not None and self._run.state(self._clock.now()) is not FaultState.OVER

    def trigger_incident(
        self, services: Iterable[str | ServiceGenerator] | Mapping[str, object]
    ) -> Incident:
        """Break one of `services` (names, generators, or a mapping by name) and say how.

        Raises:
            ConfigError: There is no service to choose from.
        """
        names = [one.name if isinstance(one, ServiceGenerator) else one for one in services]
        if not names:
            msg = "An incident needs a service to hit, and there is none."
            raise ConfigError(msg, remedy="Pass at least one service to trigger_incident.")
        types, weights = zip(*self._weights.items(), strict=True)
        kind = self._rng.choices(types, weights)[0]
        fault = draw(self._rng, kind, EntityId(self._rng.choice(names)))
        now = self._clock.now()
        self._run = FaultRun(fault, now)
        return Incident(
            id=derive_id("incident", self._run.id),
            description=f"{kind.label} detected in {fault.target}",
            service=fault.target,
            type=kind.value,
            severity=fault.severity,
            duration_seconds=fault.duration,
            start_time=to_datetime(now),
            end_time=to_datetime(Millis(now + round(fault.duration * SECOND))),
        )

    def update_metrics(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """The target's `metrics` as the incident leaves them at this moment.

        Reads and changes `cpu_usage`, `memory_usage`, `error_rate` (ratios) and every metric
        that is or begins with `latency` (seconds); others pass unchanged.
        """
        changed = dict(metrics)
        if self._run is None:
            return changed
        now = self._clock.now()
        intensity = self._run.intensity(now)
        if intensity == 0.0:
            return changed
        fault, strength = self._run.fault, intensity * self._run.fault.severity
        match fault.type:
            case FaultType.CPU_SPIKE:
                _burn(changed, burnt(strength, min(1.0, changed.get("cpu_usage", 0.0))))
            case FaultType.MEMORY_LEAK:
                elapsed = (now - self._run.triggered_at) / SECOND
                _leak(changed, (elapsed / fill_seconds(fault)) % 1.0 * intensity)
            case FaultType.NETWORK_LATENCY:
                _slow(changed, 1.0, MOST_DELAY * strength)
            case FaultType.ERROR_RATE:
                _fail(changed, MOST_ERRORS * strength)
            case FaultType.CASCADING_FAILURE:
                lost = 1.0 - capacity_left(fault.severity, changed.get("cpu_usage", 0.0))
                _overload(changed, 1.0 - intensity * lost)
            case _:  # the constructor has refused every other type
                pass
        return changed


def _burn(metrics: dict[str, float], burn: float) -> None:
    """Something else takes `burn` of the CPU: work is slower by that, and waits."""
    cpu = min(1.0, metrics.get("cpu_usage", 0.0))
    left = max(0.02, 1.0 - burn)
    servers = _servers(metrics)
    before = 1.0 + _wait(1.0, servers, cpu)
    after = 1.0 / left + _wait(1.0 / left, servers, cpu / left)
    _slow(metrics, after / before, 0.0)
    if "cpu_usage" in metrics:
        metrics["cpu_usage"] = min(1.0, cpu + burn)


def _leak(metrics: dict[str, float], filled: float) -> None:
    """A leak has taken the share `filled` of the free memory; a full heap is collected often."""
    memory = metrics.get("memory_usage", 0.5)
    memory += (1.0 - memory) * filled
    pressure = max(0.0, (memory - 0.85) / 0.15)
    _slow(metrics, 1.0 + pressure * pressure, 0.0)
    if "memory_usage" in metrics:
        metrics["memory_usage"] = min(1.0, memory)


def _overload(metrics: dict[str, float], left: float) -> None:
    """Only the share `left` of the servers is left: beyond them requests wait and are refused."""
    load = metrics.get("cpu_usage", 0.0) / max(0.01, left)
    refused = max(0.0, 1.0 - 1.0 / load) if load > 0 else 0.0
    _slow(metrics, 1.0, PATIENCE * min(1.0, 4.0 * refused))
    _fail(metrics, refused)
    if "cpu_usage" in metrics:
        metrics["cpu_usage"] = min(1.0, load)


def _fail(metrics: dict[str, float], share: float) -> None:
    if "error_rate" in metrics:
        metrics["error_rate"] = 1.0 - (1.0 - metrics["error_rate"]) * (1.0 - share)


def _slow(metrics: dict[str, float], factor: float, delay: float) -> None:
    for name, value in metrics.items():
        if name.split("_")[0] == "latency":
            metrics[name] = value * factor + delay


def _servers(metrics: Mapping[str, float]) -> float:
    """How many requests can be worked on at once, by Little's law: rate x time / utilisation."""
    latency = metrics.get("latency", metrics.get("latency_p50", 0.0))
    return max(
        1.0, metrics.get("request_rate", 0.0) * latency / max(0.01, metrics.get("cpu_usage", 1.0))
    )


def _wait(service_time: float, servers: float, utilisation: float) -> float:
    one = (np.array([service_time]), np.array([servers]), np.array([utilisation]))
    return float(wait_for_server(*one)[0])


def _millis(timestamp: datetime | float) -> Millis:
    if isinstance(timestamp, datetime):
        aware = timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)
        return Millis(round(aware.timestamp() * SECOND))
    if not math.isfinite(timestamp):
        msg = f"{timestamp} is not a time in Unix seconds"
        raise ValueError(msg)
    return Millis(round(timestamp * SECOND))
