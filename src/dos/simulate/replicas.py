"""What each replica of a service uses: the service's use, shared out unevenly.

Load balancers do not share evenly, heaps are not collected in step, a busy machine slows the
replicas on it, and one replica is ahead in leaking: the memory of a service is that of its fullest
replica, which is killed first. On average over its replicas a service uses what the physics says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dos.model.entity import EntityKind
from dos.model.telemetry import BoolArray, Float64Array, Int64Array, MetricKind, Role, SeriesSpec
from dos.simulate.flow import Flow, State
from dos.simulate.noise import Noise
from dos.simulate.propagation import IDLE_CPU, Physics
from dos.simulate.queueing import normal_cdf

UNEVEN = 0.06
"""Standard deviation of what a replica gets of the load, relative to an equal share."""
WOBBLE = 0.03
"""The same, of what changes from tick to tick."""
CFS_PERIOD = 0.1
"""Seconds of the kernel's CPU accounting period."""
LABEL = "k8s.replica"
"""Label of a series of one replica: which one."""
OF_REPLICAS: tuple[tuple[str, Role, str], ...] = (
    ("container_cpu_usage", Role.SATURATION, "ratio"),
    ("container_memory_usage", Role.SATURATION, "ratio"),
    ("container_request_rate", Role.TRAFFIC, "1/s"),
    ("container_ready", Role.AVAILABILITY, ""),
)
"""Metric, role and unit of what is measured of each replica."""


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """Replicas, as arrays `[replica]`."""

    service: Int64Array
    """Place of the service."""
    slot: Int64Array
    """Which of the service's replicas."""
    node: Int64Array
    """Place of the node."""
    uneven: Float64Array
    """Standard normal: whether it always gets a bit more of the load, or less."""

    @staticmethod
    def of(physics: Physics, replicas: Sequence[tuple[int, int, int]]) -> Placed:
        """Replicas given as service, slot and node."""
        columns = np.array(replicas, np.int64).reshape(len(replicas), 3)
        luck = [_luck(physics.services[service].id, slot) for service, slot, _ in replicas]
        return Placed(columns[:, 0], columns[:, 1], columns[:, 2], np.array(luck, np.float64))


@dataclass(frozen=True, slots=True, eq=False)
class Use:
    """What replicas use in a tick. Arrays `[replica]`."""

    load: Float64Array
    """Share of the service's requests."""
    cpu: Float64Array
    """Ratio of the limit."""
    memory: Float64Array
    """Ratio of the limit."""
    throttled: Float64Array
    """Ratio of the accounting periods in which the limit was reached."""


def use_of(
    physics: Physics,
    flow: Flow,
    state: State,
    placed: Placed,
    ready: BoolArray,
    wobble: Float64Array,
) -> Use:
    """Share the use of services out over their replicas.

    Args:
        physics: The world.
        flow: What went on in the tick.
        state: What it left behind.
        placed: The replicas.
        ready: `[replica]` whether it takes requests.
        wobble: `[replica]` standard normal draws.
    """
    service, count = placed.service, len(physics.services)
    weight = np.exp(UNEVEN * placed.uneven + WOBBLE * wobble) * ready
    load = weight / np.maximum(np.bincount(service, weight, count), 1e-9)[service]
    taking = np.bincount(service, ready, count)[service]
    burnt = np.where(state.drained, 0.0, flow.effects.node_burn)[placed.node]
    left = (1.0 - burnt) * ready
    mean = np.bincount(service, left, count)[service] / np.maximum(taking, 1.0)
    # A slow machine gives less CPU to the same requests.
    busy = flow.cpu[service] * load * taking * np.where(ready, left / np.maximum(mean, 1e-9), 0.0)
    cpu = np.clip(np.where(ready, busy, 0.5 * IDLE_CPU), 0.0, 1.0)
    return Use(
        load, cpu, _memory(physics, flow, state, placed, ready), _throttled(physics, service, cpu)
    )


def _memory(
    physics: Physics, flow: Flow, state: State, placed: Placed, ready: BoolArray
) -> Float64Array:
    service, slot = placed.service, placed.slot
    span = physics.garbage_span[service]
    # Collections out of step: the first replica is the one that the physics follows.
    filled = np.modf(state.garbage[service] / span + 0.381966 * slot)[0]
    crowd = 0.1 * np.minimum(1.0, flow.in_flight / physics.pool)[service]
    usual = physics.base_memory[service] + span * filled + crowd
    replicas = np.maximum(1, np.rint(state.replicas[service])).astype(np.int64)
    leaking = state.leaked[service] > 0.01
    fullest = slot == flow.restarts[service].astype(np.int64) % replicas
    memory = np.where(leaking & fullest, flow.memory[service], usual)
    # A process that has just started has loaded its code and little more.
    memory = np.where(ready, memory, 0.6 * physics.base_memory[service])
    return np.clip(memory, 0.0, 1.0)


def _throttled(physics: Physics, service: Int64Array, cpu: Float64Array) -> Float64Array:
    """Ratio of periods in which a replica wants more CPU than its quota.

    The work that arrives in a period is a Poisson number of requests with the mean and variance of
    the service time; its normal approximation gives the chance that it exceeds the quota.
    """
    cores = (physics.servers / physics.replicas)[service]
    second = physics.service_time * (1.0 + np.square(physics.dispersion))
    spread = np.sqrt(cpu * second[service] / (cores * CFS_PERIOD))
    return 1.0 - normal_cdf((1.0 - cpu) / np.maximum(spread, 1e-6))


class ReplicaMeter:
    """Measures the replicas of a world as series of their services, told apart by a label.

    There is a series for each replica that the world has or that its autoscaler may start; a
    replica that is not there has no value.

    Args:
        physics: The world.
        seed: Of the noise, which is the replicas' own.
    """

    def __init__(self, physics: Physics, seed: int) -> None:
        self._physics = physics
        world = physics.world.placement()
        slots: list[tuple[int, int, int]] = []
        for place, service in enumerate(physics.services):
            if service.kind is EntityKind.EXTERNAL:
                continue
            homes = [physics.node_index[node] for node in world[service.id]]
            most = service.autoscale.at_most if service.autoscale else 0
            slots += [
                (place, slot, homes[slot % len(homes)])
                for slot in range(max(service.replicas, most))
            ]
        self._placed = Placed.of(physics, slots)
        names = [f"{physics.services[place].id}/{slot}" for place, slot, _ in slots]
        self._noise = Noise(names, seed)
        self._normals: Float64Array = np.zeros((1, len(slots)))
        self.series = tuple(
            SeriesSpec(
                entity=physics.services[place].id,
                metric=metric,
                labels=((LABEL, str(slot)),),
                role=role,
                unit=unit,
                kind=MetricKind.GAUGE,
            )
            for metric, role, unit in OF_REPLICAS
            for place, slot, _ in slots
        )

    def draw(self) -> None:
        """Take the noise of a tick, whether or not it is measured."""
        self._normals = self._noise.tick()[0]

    def values(self, flow: Flow, state: State) -> Float64Array:
        """`[series]` what the metrics show for one tick; NaN for who is not there."""
        placed = self._placed
        there = placed.slot < np.rint(state.replicas)[placed.service]
        ready = there & self._ready(flow, state)
        use = use_of(self._physics, flow, state, placed, ready, self._normals[0])
        jitter = 1.0 + 0.02 * self._normals[1]
        shown = (
            np.clip(use.cpu * jitter, 0.0, 1.0),
            np.clip(use.memory + 1e-4 * self._normals[2], 0.0, 1.0),
            use.load * flow.arrivals[placed.service],
            ready.astype(np.float64),
        )
        return np.concatenate([np.where(there, one, np.nan) for one in shown])

    def _ready(self, flow: Flow, state: State) -> BoolArray:
        """`[replica]` whether it takes requests: not who is killed, starting, or on a lost node."""
        placed, service = self._placed, self._placed.service
        replicas = np.maximum(1, np.rint(state.replicas[service])).astype(np.int64)
        killed = (state.down[service] > 0) & (
            placed.slot == (flow.restarts[service].astype(np.int64) - 1) % replicas
        )
        starting = placed.slot >= replicas - np.rint(state.coming[service])
        lost = (flow.node_up[placed.node] <= 0) & (state.lost[service] > 0)
        ready: BoolArray = ~(killed | starting | lost)
        return ready


def _luck(service: str, slot: int) -> float:
    """A standard normal draw that belongs to this replica: Box and Muller's of two hashes."""
    digest = hashlib.blake2b(f"{service}/{slot}".encode(), digest_size=8).digest()
    first, second = int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:], "big")
    radius = np.sqrt(-2.0 * np.log((first + 1) / 2**32))
    return float(radius * np.cos(2.0 * np.pi * second / 2**32))
