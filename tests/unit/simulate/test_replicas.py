"""What single replicas use adds up to what their services use."""

from __future__ import annotations

import numpy as np
import pytest

from dos.kit.clock import Millis
from dos.model.entity import EntityKind
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array
from dos.simulate.actions import Action, ActionKind
from dos.simulate.engine import Simulation
from dos.simulate.faults import Fault, FaultType
from dos.simulate.replicas import LABEL
from dos.simulate.world import Autoscaler, SimulatedService, World
from dos.simulate.worlds import shop
from tests.unit.simulate.runs import MONDAY_NOON


class Shared:
    """A simulation that measures its replicas."""

    def __init__(self, world: World | None = None, *, replicas: bool = True) -> None:
        self.simulation = Simulation(world or shop(), seed=3, step_seconds=5.0, start=MONDAY_NOON)
        if replicas:
            self.simulation.measure_replicas()
        self.values: Float64Array = np.empty((0, len(self.simulation.series)))

    def play(self, ticks: int) -> Shared:
        frame = self.simulation.ticks(ticks)
        self.values = frame.value.reshape(ticks, -1)
        return self

    def breaks(self, fault: FaultType, target: str, seconds: float = 600.0) -> Shared:
        wanted = Fault(type=fault, target=EntityId(target), severity=1.0, duration=seconds)
        self.simulation.inject(wanted)
        return self

    def series(self, service: str, metric: str) -> Float64Array:
        """`[tick, replica]`."""
        places = [
            place
            for place, spec in enumerate(self.simulation.series)
            if (spec.entity, spec.metric) == (service, metric)
        ]
        labels = [dict(self.simulation.series[place].labels)[LABEL] for place in places]
        assert labels == [str(number) for number in range(len(places))]
        found: Float64Array = self.values[:, places]
        return found

    def service(self, service: str, metric: str) -> Float64Array:
        """`[tick]`."""
        place = next(
            place
            for place, spec in enumerate(self.simulation.series)
            if (spec.entity, spec.metric, spec.labels) == (service, metric, ())
        )
        found: Float64Array = self.values[:, place]
        return found


def test_replicas_share_the_load_of_their_service_unevenly() -> None:
    there = Shared().play(100)
    for service in ("api-gateway", "frontend", "shop-db"):
        cpu = there.series(service, "container_cpu_usage")
        assert cpu.mean() == pytest.approx(there.service(service, "cpu_usage").mean(), rel=0.03)
        rate = there.series(service, "container_request_rate").sum(axis=1)
        assert rate.mean() == pytest.approx(there.service(service, "request_rate").mean(), rel=0.03)
        means = cpu.mean(axis=0)
        assert 0.005 < np.std(means) / means.mean() < 0.25, "some get more, always"
    physics = there.simulation.physics
    saw = physics.services[int(physics.garbage_span.argmax())]
    memory = there.series(saw.id, "container_memory_usage")
    assert np.ptp(memory, axis=1).mean() > 0.01, "heaps are not in step"


def test_measuring_replicas_leaves_all_else_as_it_was() -> None:
    with_them, without = Shared().play(20), Shared(replicas=False).play(20)
    width = without.values.shape[1]
    assert with_them.values[:, :width].tobytes() == without.values.tobytes()
    assert with_them.values.shape[1] > width
    again = Shared()
    again.simulation.fast_forward(Millis(MONDAY_NOON + 50_000))
    assert again.play(10).values.tobytes() == with_them.values[10:].tobytes()


def test_one_replica_leaks_first() -> None:
    there = Shared().breaks(FaultType.MEMORY_LEAK, "frontend", 200).play(30)
    memory = there.series("frontend", "container_memory_usage")
    whole = there.service("frontend", "memory_usage")
    # In the tick of a kill the service shows what was before, its replicas what is after.
    calm = np.diff(there.service("frontend", "restarts"), prepend=0.0) == 0
    assert memory.max(axis=1)[calm] == pytest.approx(whole[calm], abs=0.1)
    rest = np.sort(memory, axis=1)[:, :-1][whole > 0.85]
    assert len(rest)
    assert rest.max() < 0.75, "the others are as always"
    ready = there.series("frontend", "container_ready")
    assert ready.min(axis=1).min() == 0
    assert ready.sum(axis=1).min() == 3, "one is killed at a time"


def test_a_busy_machine_slows_its_own_replicas_only() -> None:
    there = Shared().breaks(FaultType.NOISY_NEIGHBOUR, "shop-node-a1").play(12)
    nodes = there.simulation.world.placement()[EntityId("frontend")]
    cpu = there.series("frontend", "container_cpu_usage")[6:].mean(axis=0)
    hit = np.array([node == "shop-node-a1" for node in nodes])
    assert hit.any()
    assert cpu[hit].max() < 0.6 * cpu[~hit].min(), "they get less of the machine"


def test_replicas_that_are_not_there_have_no_values() -> None:
    service = SimulatedService(
        name="api",
        kind=EntityKind.GATEWAY,
        cpu=0.5,
        autoscale=Autoscaler(at_least=2, at_most=5, target=0.4),
    )
    world = World(name="one", services=(service,), calls=(), entries={EntityId("api"): 100.0})
    there = Shared(world).play(60)
    cpu = there.series("api", "container_cpu_usage")
    assert cpu.shape[1] == 5
    there_now = np.isfinite(cpu).sum(axis=1)
    assert 2 <= there_now[0] <= there_now[-1] < 5
    last = there.simulation.last
    assert last is not None
    assert there_now[-1] == last.flow.replicas[0]


def test_started_replicas_are_not_ready_at_once() -> None:
    there = Shared().play(3)
    there.simulation.act(
        Action(kind=ActionKind.SCALE, target=EntityId("payment-service"), replicas=1)
    )
    assert np.isfinite(there.play(2).series("payment-service", "container_ready")).sum() == 2
    there.simulation.act(
        Action(kind=ActionKind.SCALE, target=EntityId("payment-service"), replicas=2)
    )
    ready = there.play(8).series("payment-service", "container_ready")
    assert ready[0].tolist() == [1, 0]
    assert ready[-1].tolist() == [1, 1]


@pytest.mark.parametrize("fault", [FaultType.ZONE_OUTAGE, FaultType.CPU_SPIKE])
def test_ratios_are_ratios(fault: FaultType) -> None:
    target = "zone-a" if fault is FaultType.ZONE_OUTAGE else "frontend"
    there = Shared().breaks(fault, target).play(40)
    for metric in ("container_cpu_usage", "container_memory_usage", "container_ready"):
        for service in shop().services:
            values = there.series(service.id, metric)
            assert ((values >= 0) & (values <= 1)).all(), (service.id, metric)
