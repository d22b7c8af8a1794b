"""The cluster in the shapes of the Kubernetes API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dos.model.entity import EntityKind
from dos.model.ids import EntityId
from dos.simulate.actions import Action, ActionKind
from dos.simulate.cluster import Cluster
from dos.simulate.engine import Simulation
from dos.simulate.faults import Fault, FaultType
from dos.simulate.fleet import Fleet
from dos.simulate.worlds import shop
from tests.unit.simulate.runs import MONDAY_NOON


class Listed:
    """A cluster that is looked at as a client of the API server sees it."""

    def __init__(self, step: float = 1.0) -> None:
        self.simulation = Simulation(shop(), seed=1, step_seconds=step, start=MONDAY_NOON)
        self.fleet = Fleet(self.simulation)
        self.cluster = Cluster(self.fleet)
        self.play(2)

    def play(self, ticks: int) -> Listed:
        for _ in range(ticks):
            self.simulation.tick()
            self.fleet.follow()
        return self

    def breaks(self, fault: FaultType, target: str, seconds: float = 120.0) -> Listed:
        self.simulation.inject(
            Fault(type=fault, target=EntityId(target), severity=1.0, duration=seconds)
        )
        return self

    def acts(self, kind: ActionKind, target: str) -> Listed:
        self.simulation.act(Action(kind=kind, target=EntityId(target)))
        return self

    def list(self, path: str, namespace: str | None = None) -> list[Any]:
        """Items after a round trip through JSON."""
        whole = json.loads(json.dumps(self.cluster.listing(path, namespace)))
        assert whole["kind"].endswith("List")
        assert whole["metadata"]["resourceVersion"].isdecimal()
        items: list[Any] = whole["items"]
        return items

    def pods(self, service: str = "") -> list[Any]:
        return [
            pod
            for pod in self.list("/api/v1/pods")
            if service in ("", pod["metadata"]["labels"]["app.kubernetes.io/name"])
        ]


def condition(item: Any, kind: str) -> Any:
    return next(one for one in item["status"]["conditions"] if one["type"] == kind)


def status(item: Any, kind: str) -> str:
    found: str = condition(item, kind)["status"]
    return found


def test_on_a_calm_day_all_is_ready() -> None:
    there = Listed().play(30)
    pods = there.pods()
    own = [one for one in shop().services if one.kind is not EntityKind.EXTERNAL]
    assert len(pods) == sum(one.replicas for one in own)
    assert {status(pod, "Ready") for pod in pods} == {"True"}
    assert {pod["status"]["phase"] for pod in pods} == {"Running"}
    assert {pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods} == {0}
    nodes = there.list("/api/v1/nodes")
    assert {status(node, "Ready") for node in nodes} == {"True"}
    names = {node["metadata"]["name"]: node for node in nodes}
    assert {pod["spec"]["nodeName"] for pod in pods} <= names.keys()
    zones = {node["metadata"]["labels"]["topology.kubernetes.io/zone"] for node in nodes}
    assert zones == set(shop().zones)
    assert there.list("/api/v1/events") == []


def test_owners_lead_from_pods_to_their_controllers() -> None:
    there = Listed()
    uids = {
        item["metadata"]["uid"]: item for path in there.cluster.paths for item in there.list(path)
    }
    for pod in there.pods():
        (owner,) = pod["metadata"]["ownerReferences"]
        found = uids[owner["uid"]]
        assert found["metadata"]["name"] == owner["name"]
        labels = found["spec"]["selector"]["matchLabels"]
        assert labels.items() <= pod["metadata"]["labels"].items()
        if owner["kind"] == "ReplicaSet":
            (above,) = found["metadata"]["ownerReferences"]
            assert uids[above["uid"]]["spec"]["replicas"] >= 2
        else:
            assert owner["kind"] == "StatefulSet"
    assert len(uids) == sum(len(there.list(path)) for path in there.cluster.paths)


def test_a_leak_shows_as_oom_kills_and_back_off() -> None:
    there = Listed().breaks(FaultType.MEMORY_LEAK, "notification-service", 400)
    seen_waiting, unready = set(), 0
    for _ in range(500):
        for pod in there.play(1).pods("notification-service"):
            container = pod["status"]["containerStatuses"][0]
            unready += not container["ready"]
            if "waiting" in container["state"]:
                seen_waiting.add(container["state"]["waiting"]["reason"])
                assert status(pod, "Ready") == status(pod, "ContainersReady") == "False"
    killed = [pod["status"]["containerStatuses"][0] for pod in there.pods("notification-service")]
    assert all(one["restartCount"] >= 1 for one in killed)
    assert {one["lastState"]["terminated"]["reason"] for one in killed} == {"OOMKilled"}
    assert {one["lastState"]["terminated"]["exitCode"] for one in killed} == {137}
    assert all(one["ready"] and "running" in one["state"] for one in killed), "and it is over"
    assert unready >= 40
    reasons = {event["reason"] for event in there.list("/api/v1/events")}
    assert {"OOMKilling", "Pulled", "Created", "Started"} <= reasons
    assert ("CrashLoopBackOff" in seen_waiting) == ("BackOff" in reasons)
    assert "CrashLoopBackOff" in seen_waiting, "who is killed twice has to wait"


def test_a_lost_zone_is_unknown_and_its_pods_are_not_ready() -> None:
    there = Listed(step=5.0).breaks(FaultType.ZONE_OUTAGE, "zone-a", 300).play(4)
    lost = {
        node["metadata"]["name"]: node
        for node in there.list("/api/v1/nodes")
        if status(node, "Ready") != "True"
    }
    assert lost.keys() == {"shop-node-a1"}
    (node,) = lost.values()
    ready = condition(node, "Ready")
    assert (ready["status"], ready["reason"]) == ("Unknown", "NodeStatusUnknown")
    assert ready["lastHeartbeatTime"] == ready["lastTransitionTime"]
    assert {taint["key"] for taint in node["spec"]["taints"]} == {"node.kubernetes.io/unreachable"}
    for pod in there.pods():
        away = pod["spec"]["nodeName"] in lost
        assert status(pod, "Ready") == ("False" if away else "True")
    catalog = next(
        one
        for one in there.list("/apis/apps/v1/statefulsets")
        if one["metadata"]["name"] == "catalog-db"
    )
    assert (catalog["spec"]["replicas"], catalog["status"]["readyReplicas"]) == (1, 0)


def test_a_rollout_shows_old_and_new_replica_sets() -> None:
    there = Listed().breaks(FaultType.HARMLESS_DEPLOY, "frontend").play(20)

    def deployment() -> Any:
        return next(
            one
            for one in there.list("/apis/apps/v1/deployments")
            if one["metadata"]["name"] == "frontend"
        )

    def sets() -> dict[str, int]:
        return {
            one["metadata"]["labels"]["app.kubernetes.io/version"]: one["status"]["replicas"]
            for one in there.list("/apis/apps/v1/replicasets")
            if one["metadata"]["name"].startswith("frontend-")
        }

    rolling = deployment()
    assert rolling["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
    assert condition(rolling, "Progressing")["reason"] == "ReplicaSetUpdated"
    assert 0 < rolling["status"]["updatedReplicas"] < 4
    assert rolling["status"]["readyReplicas"] >= 4
    assert sets().keys() == {"1.0.0", "1.0.1"}
    there.play(50)
    assert condition(deployment(), "Progressing")["reason"] == "NewReplicaSetAvailable"
    assert sets() == {"1.0.1": 4}
    images = {pod["spec"]["containers"][0]["image"] for pod in there.pods("frontend")}
    assert {image.rpartition(":")[2] for image in images} == {"1.0.1"}


def test_a_drained_node_takes_no_pods() -> None:
    there = Listed().acts(ActionKind.DRAIN, "shop-node-b1").play(3)
    node = next(
        one for one in there.list("/api/v1/nodes") if one["metadata"]["name"] == "shop-node-b1"
    )
    assert node["spec"]["unschedulable"] is True
    assert status(node, "Ready") == "True"
    assert not [pod for pod in there.pods() if pod["spec"]["nodeName"] == "shop-node-b1"]
    assert "NodeNotSchedulable" in {one["reason"] for one in there.list("/api/v1/events")}


def test_events_are_about_objects_that_are_there() -> None:
    there = Listed(step=5.0).breaks(FaultType.CPU_SPIKE, "payment-service").play(20)
    pods = {pod["metadata"]["uid"]: pod for pod in there.pods()}
    events = there.list("/api/v1/events")
    unhealthy = [one for one in events if one["reason"] == "Unhealthy"]
    assert unhealthy
    for event in unhealthy:
        about = event["involvedObject"]
        assert pods[about["uid"]]["metadata"]["name"] == about["name"]
        assert event["type"] == "Warning"
        assert event["count"] >= 1
        assert event["firstTimestamp"] <= event["lastTimestamp"]
        assert event["message"].startswith("Readiness probe failed")
    names = [event["metadata"]["name"] for event in events]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("namespace", "count"), [("shop", 25), ("default", 0), ("other", 0)])
def test_a_namespace_can_be_asked_for(namespace: str, count: int) -> None:
    assert len(Listed().list("/api/v1/pods", namespace)) == count


def test_limits_are_what_the_world_is_sized_for() -> None:
    there = Listed()
    (gateway, *_) = there.pods("api-gateway")
    (database,) = there.pods("catalog-db")
    # 240 requests/s of 3 ms at 30 % of three replicas.
    assert gateway["spec"]["containers"][0]["resources"]["limits"] == {
        "cpu": "800m",
        "memory": "512Mi",
    }
    assert database["spec"]["containers"][0]["resources"]["limits"]["memory"] == "2048Mi"
