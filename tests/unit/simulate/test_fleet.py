"""The pods that stand behind the numbers of the physics."""

from __future__ import annotations

import numpy as np
import pytest

from dos.model.entity import EntityKind
from dos.model.ids import EntityId
from dos.simulate.actions import Action, ActionKind
from dos.simulate.engine import Simulation
from dos.simulate.faults import Fault, FaultType
from dos.simulate.fleet import Fleet
from dos.simulate.platform_events import EventLog, Involved
from dos.simulate.pods import Pod, PodStatus, pods_of
from dos.simulate.world import Autoscaler, SimulatedService, World
from dos.simulate.worlds import generate, shop
from tests.unit.simulate.runs import MONDAY_NOON


class Watched:
    """A simulation with its fleet, and how far they were ever apart."""

    def __init__(self, world: World | None = None, step: float = 5.0) -> None:
        self.simulation = Simulation(world or shop(), seed=1, step_seconds=step, start=MONDAY_NOON)
        self.fleet = Fleet(self.simulation)
        self.apart = 0.0
        self.play(3)

    def play(self, ticks: int) -> Watched:
        own = [one.kind is not EntityKind.EXTERNAL for one in self.simulation.physics.services]
        for _ in range(ticks):
            self.simulation.tick()
            self.fleet.follow()
            assert self.simulation.last is not None
            ready = np.array([sum(map(self.fleet.ready, one.pods)) for one in self.fleet.workloads])
            off = np.abs(ready - self.simulation.last.flow.ready)[own]
            self.apart = max(self.apart, float(off.max()))
        return self

    def breaks(self, fault: FaultType, target: str, seconds: float = 120.0) -> Watched:
        wanted = Fault(type=fault, target=EntityId(target), severity=1.0, duration=seconds)
        self.simulation.inject(wanted)
        return self

    def acts(self, kind: ActionKind, target: str, replicas: int | None = None) -> Watched:
        self.simulation.act(Action(kind=kind, target=EntityId(target), replicas=replicas))
        return self

    def pods(self, service: str) -> list[Pod]:
        return self.fleet.of(self.simulation.physics.index[EntityId(service)])

    def reasons(self, kind: str) -> set[str]:
        return {event.reason for event in self.fleet.events if event.about.kind == kind}

    def node(self, pod: Pod) -> str:
        return self.simulation.physics.nodes[pod.node].name


def test_a_calm_day_has_the_pods_that_the_world_places_and_no_events() -> None:
    there = Watched().play(20)
    world = there.simulation.world
    for service in world.services:
        pods = there.pods(service.id)
        assert [pod.name for pod in pods] == pods_of(service)
        assert [there.node(pod) for pod in pods] == list(world.placement()[service.id])
        assert {pod.version for pod in pods} == {service.version}
    assert len({pod.uid for pod in there.fleet}) == len(list(there.fleet))
    assert not len(there.fleet.events)


@pytest.mark.parametrize(
    ("fault", "target"),
    [
        (FaultType.MEMORY_LEAK, "frontend"),
        (FaultType.ZONE_OUTAGE, "zone-a"),
        (FaultType.HARMLESS_DEPLOY, "catalog-service"),
        (FaultType.CASCADING_FAILURE, "catalog-db"),
    ],
)
@pytest.mark.parametrize("step", [1.0, 15.0])
def test_as_many_are_ready_as_the_physics_says(fault: FaultType, target: str, step: float) -> None:
    there = Watched(step=step).breaks(fault, target).play(round(300 / step))
    # A node is lost at once for its pods, and within seconds for those who call them.
    assert there.apart <= (2.0 if fault is FaultType.ZONE_OUTAGE else 1.01)
    assert all(there.fleet.ready(pod) for pod in there.fleet)


def test_who_runs_out_of_memory_is_killed_and_comes_back() -> None:
    there = Watched(step=1.0).breaks(FaultType.MEMORY_LEAK, "frontend", 150)
    killed = None
    for _ in range(120):
        there.play(1)
        killed = killed or next((p for p in there.pods("frontend") if p.restarts), None)
        if killed is not None:
            break
    assert killed is not None
    assert killed.status is PodStatus.KILLED
    assert not there.fleet.ready(killed)
    assert killed.ended is not None
    assert (killed.ended.reason, killed.ended.exit_code) == ("OOMKilled", 137)
    assert "OOMKilling" in there.reasons("Node")
    there.play(300)
    assert there.fleet.ready(killed)
    last = there.simulation.last
    assert last is not None
    place = there.simulation.physics.index[EntityId("frontend")]
    assert sum(pod.restarts for pod in there.pods("frontend")) == last.flow.restarts[place]
    assert len({pod.restarts for pod in there.pods("frontend")}) <= 2, "they are killed in turn"


def test_a_deployment_replaces_one_pod_after_the_other() -> None:
    there = Watched(step=1.0)
    before = {pod.name for pod in there.pods("frontend")}
    there.breaks(FaultType.HARMLESS_DEPLOY, "frontend")
    versions = []
    for _ in range(70):
        there.play(1)
        pods = there.pods("frontend")
        assert sum(map(there.fleet.ready, pods)) >= 4, "the successor comes first"
        assert len(pods) <= 5
        versions.append(tuple(sorted(pod.version for pod in pods)))
    assert {pod.version for pod in there.pods("frontend")} == {"1.0.1"}
    assert not before & {pod.name for pod in there.pods("frontend")}
    assert len({pod.template for pod in there.pods("frontend")}) == 1
    assert any(len(set(some)) == 2 for some in versions), "for a while both versions run"
    assert "ScalingReplicaSet" in there.reasons("Deployment")


def test_a_stateful_set_stops_a_pod_before_it_starts_the_next() -> None:
    there = Watched(step=1.0)
    before = there.pods("shop-db")[:]
    there.acts(ActionKind.RESTART, "shop-db")
    ready = []
    for _ in range(40):
        there.play(1)
        assert [pod.name for pod in there.pods("shop-db")] == ["shop-db-0", "shop-db-1"]
        ready.append(sum(map(there.fleet.ready, there.pods("shop-db"))))
    assert min(ready) == 1
    assert ready[-1] == 2
    assert not {pod.uid for pod in before} & {pod.uid for pod in there.pods("shop-db")}


def test_scaled_replicas_need_a_while() -> None:
    there = Watched().acts(ActionKind.SCALE, "frontend", 7).play(1)
    states = [pod.status for pod in there.pods("frontend")]
    assert states == [PodStatus.READY] * 4 + [PodStatus.STARTING] * 3
    there.play(6)
    assert all(map(there.fleet.ready, there.pods("frontend")))
    there.acts(ActionKind.SCALE, "frontend", 2).play(1)
    assert [pod.slot for pod in there.pods("frontend")] == [0, 1]
    assert there.apart == 0


def test_pods_leave_a_lost_zone_and_come_home() -> None:
    there = Watched().breaks(FaultType.ZONE_OUTAGE, "zone-a", 300)
    homes = {pod.name: there.node(pod) for pod in there.fleet}
    there.play(50)
    lost = {pod.name for pod in there.fleet if not there.fleet.node_up[pod.node]}
    stateful = {s.name for s in shop().services if s.kind.value in {"database", "cache", "queue"}}
    assert lost
    assert all(name.rpartition("-")[0] in stateful for name in lost), "volumes hold them"
    assert {event.reason for event in there.fleet.events} >= {"NodeNotReady", "Killing"}
    there.play(40)
    assert sorted(there.node(pod) for pod in there.fleet) == sorted(homes.values())
    assert "NodeReady" in there.reasons("Node")


def test_a_drained_node_is_left_for_good() -> None:
    there = Watched()
    node = there.node(next(iter(there.fleet)))
    count = len(list(there.fleet))
    there.acts(ActionKind.DRAIN, node).play(30)
    assert node not in {there.node(pod) for pod in there.fleet}
    assert len(list(there.fleet)) == count
    assert all(map(there.fleet.ready, there.fleet))


def test_probes_fail_where_requests_wait() -> None:
    there = Watched().breaks(FaultType.CPU_SPIKE, "payment-service").play(24)
    place = there.simulation.physics.index[EntityId("payment-service")]
    passed, failed = there.fleet.probes[place]
    assert passed + failed == 2 * 13, "two pods, a probe every 10 s for 135 s"
    unhealthy = [event for event in there.fleet.events if event.reason == "Unhealthy"]
    assert sum(event.count for event in unhealthy) == there.fleet.probes[:, 1].sum() > 0
    assert {event.about.name for event in unhealthy} <= {pod.name for pod in there.fleet}


def test_an_autoscaler_starts_pods() -> None:
    service = SimulatedService(
        name="api",
        kind=EntityKind.GATEWAY,
        cpu=0.5,
        autoscale=Autoscaler(at_least=2, at_most=6, target=0.4),
    )
    there = Watched(
        World(name="one", services=(service,), calls=(), entries={EntityId("api"): 100.0})
    ).play(30)
    last = there.simulation.last
    assert last is not None
    assert len(there.pods("api")) == last.flow.replicas[0] > 2
    assert there.apart <= 1, "who scales is a tick ahead"


def test_a_fleet_does_not_touch_the_simulation() -> None:
    alone = Simulation(shop(), seed=1, step_seconds=5.0, start=MONDAY_NOON)
    alone.ticks(3)
    alone.inject(Fault(type=FaultType.MEMORY_LEAK, target=EntityId("frontend"), severity=1.0))
    there = Watched().breaks(FaultType.MEMORY_LEAK, "frontend", 180)
    for _ in range(60):
        frame = there.simulation.tick()
        there.fleet.follow()
        assert frame.value.tobytes() == alone.tick().value.tobytes()


def test_third_parties_have_no_pods() -> None:
    world = generate(60, seed=2)
    there = Watched(world).play(5)
    external = [s.id for s in world.services if s.kind is EntityKind.EXTERNAL]
    assert external
    assert not any(there.pods(name) for name in external)


def test_equal_events_are_counted_and_old_ones_go() -> None:
    log = EventLog(kept=2)
    pods = [Involved("Pod", "shop", name, name) for name in "abc"]
    for at, pod in enumerate([pods[0], pods[1], pods[0], pods[2]]):
        log.note(MONDAY_NOON + at, pod, "Unhealthy", "late", component="kubelet")  # type: ignore[arg-type]
    assert [(event.about.name, event.count) for event in log] == [("a", 2), ("c", 1)]
    first = next(iter(log))
    assert (first.first, first.last) == (MONDAY_NOON, MONDAY_NOON + 2)
