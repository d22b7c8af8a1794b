"""The exporter over real HTTP, read as Prometheus reads it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from dos.kit.clock import ManualClock
from dos.kit.errors import PermanentError
from dos.kit.secret import Secret
from dos.model.ids import EntityId
from dos.simulate.engine import Simulation
from dos.simulate.exporter import Exporter, is_loopback, listen, serve
from dos.simulate.faults import Fault, FaultType
from dos.simulate.pods import pods_of
from dos.simulate.worlds import generate, shop
from tests.unit.simulate.runs import MONDAY_NOON


def exporter(control: str | Secret = "anybody", step: float = 1.0) -> Exporter:
    simulation = Simulation(shop(), seed=2, step_seconds=step, start=MONDAY_NOON)
    assert isinstance(control, Secret) or control in {"anybody", "nobody"}
    return Exporter(simulation, ManualClock(MONDAY_NOON), control=control)  # type: ignore[arg-type]


@asynccontextmanager
async def served(one: Exporter) -> AsyncIterator[httpx2.AsyncClient]:
    with listen("127.0.0.1", 0) as listener:
        task = asyncio.create_task(serve(one, listener))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with httpx2.AsyncClient(base_url=url) as client:
            yield client
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def samples(text: str) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def total(found: list[Sample], name: str, **labels: str) -> float:
    return sum(
        sample.value
        for sample in found
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def memory_of(found: list[Sample], container: str) -> list[float]:
    name = "container_memory_working_set_bytes"
    return [s.value for s in found if s.name == name and s.labels["container"] == container]


def play(one: Exporter, seconds: int) -> list[Sample]:
    for _ in range(seconds):
        one.tick()
    return samples(one.text().decode())


async def test_targets_are_scraped_over_http() -> None:
    async with served(exporter()) as client:
        targets = (await client.get("/targets")).json()
        assert len(targets) == 12 + 3 + 1, "services, machines and the cluster"
        assert {t["targets"][0] for t in targets} == {client.base_url.netloc.decode()}
        assert len({t["labels"]["instance"] for t in targets}) == len(targets)
        for target in targets:
            answer = await client.get(target["labels"]["__metrics_path__"])
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/plain; version=")
            assert samples(answer.text)
        assert (await client.get("/healthz")).text == "ok\n"
        for path in ("/services/nobody/metrics", "/nodes/nobody/metrics"):
            missing = await client.get(path)
            assert missing.status_code == 404
            assert missing.headers["content-type"] == "application/problem+json"


def test_counters_grow_at_the_rate_of_the_traffic() -> None:
    one = exporter()
    before, after = play(one, 60), play(one, 60)
    calls = "traces_span_metrics_calls_total"
    for service in ("api-gateway", "frontend", "payment-service"):
        grown = total(after, calls, service_name=service) - total(
            before, calls, service_name=service
        )
        at_noon = 0.8 * one.simulation.world.demand()[EntityId(service)]
        assert grown / 60 == pytest.approx(at_noon, rel=0.3)
    values = {(s.name, tuple(sorted(s.labels.items()))): s.value for s in before}
    for sample in after:
        if sample.name.endswith(("_total", "_bucket", "_count", "_sum")):
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert sample.value >= values.get(key, 0.0), key


def test_faster_time_does_not_inflate_the_rates() -> None:
    name = "traces_span_metrics_calls_total"
    plain = total(play(exporter(), 100), name, service_name="frontend")
    fast = total(play(exporter(step=10.0), 100), name, service_name="frontend")
    assert fast == pytest.approx(plain, rel=0.1)


def test_histograms_are_cumulative_and_agree_with_the_calls() -> None:
    found = play(exporter(), 30)
    name = "traces_span_metrics_duration_milliseconds"
    for service in ("frontend", "payment-service", "notification-service"):
        buckets = [
            s.value
            for s in found
            if s.name == f"{name}_bucket" and s.labels["service_name"] == service
        ]
        count = total(found, f"{name}_count", service_name=service)
        assert buckets == sorted(buckets)
        assert buckets[-1] == count
        calls = total(found, "traces_span_metrics_calls_total", service_name=service)
        assert calls == count > 0
    mean = total(found, f"{name}_sum", service_name="payment-service") / total(
        found, f"{name}_count", service_name="payment-service"
    )
    assert 50 < mean < 90


def test_only_what_has_spans_has_span_metrics() -> None:
    found = play(exporter(), 5)
    traced = {s.labels["service_name"] for s in found if s.name.startswith("traces_span_metrics")}
    assert traced == {s.name for s in shop().services if s.kind.value in {"service", "gateway"}}
    edges = {
        (s.labels["client"], s.labels["server"], s.labels["connection_type"])
        for s in found
        if s.name == "traces_service_graph_request_total"
    }
    assert ("payment-service", "shop-db", "database") in edges
    assert ("checkout-service", "order-queue", "messaging_system") in edges
    assert ("order-queue", "notification-service", "messaging_system") in edges
    assert ("user", "api-gateway", "virtual_node") in edges
    assert len(edges) == len(shop().calls) + 1


def test_pods_are_named_as_kubernetes_names_them() -> None:
    world = shop()
    pods = pods_of(world.service(EntityId("payment-service")))
    assert len(set(pods)) == 2
    prefix, template, suffix = pods[0].rsplit("-", 2)
    assert (prefix, len(template), len(suffix)) == ("payment-service", 10, 5)
    assert pods_of(world.service(EntityId("shop-db"))) == ["shop-db-0", "shop-db-1"]
    found = play(exporter(), 3)
    cpu = [s.labels for s in found if s.name == "container_cpu_usage_seconds_total"]
    assert len(cpu) == sum(service.replicas for service in world.services)
    assert {labels["namespace"] for labels in cpu} == {"shop"}


async def test_a_fault_is_injected_seen_and_cleared() -> None:
    one = exporter()
    play(one, 30)
    async with served(one) as client:
        wanted = {"type": "memory_leak", "service": "frontend", "severity": 1, "duration": "60s"}
        made = await client.post("/faults", json=wanted)
        assert made.status_code == 201
        assert made.json()["service"] == "frontend"
        calm = memory_of(play(one, 1), "frontend")
        leaking = memory_of(play(one, 14), "frontend")
        assert max(leaking) > 1.3 * max(calm), "the replica that leaks first"
        assert min(leaking) < 1.2 * max(calm)
        found = play(one, 15)
        restarts = "kube_pod_container_status_restarts_total"
        assert total(found, restarts, container="frontend") == 1
        available = "kube_deployment_status_replicas_available"
        assert total(found, available, deployment="frontend") == 3
        assert (await client.delete("/faults")).status_code == 200
        play(one, 25)
        (fault,) = (await client.get("/faults")).json()["faults"]
        assert fault["end"] is not None
        assert "frontend" in fault["affected"]


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"type": "cpu_spike", "service": "nobody"}, 422, "World 'shop' has no 'nobody'"),
        ({"type": "flood", "service": "frontend"}, 422, "type: Input should be 'cpu_spike'"),
        ({"type": "cpu_spike", "service": "frontend", "severity": 2}, 422, "severity: "),
        ({"type": "cpu_spike", "service": "frontend", "x": 1}, 422, "x: Extra inputs"),
        ({"type": "x" * 70_000, "service": "a"}, 413, "at most 65536 bytes"),
    ],
)
async def test_wrong_faults_are_refused(body: dict[str, object], status: int, detail: str) -> None:
    async with served(exporter()) as client:
        answer = await client.post("/faults", json=body)
        assert answer.status_code == status
        assert detail in answer.json()["detail"]
        assert answer.json()["title"]


async def test_forms_of_web_pages_cannot_break_things() -> None:
    async with served(exporter()) as client:
        answer = await client.post("/faults", content=b'{"type":"cpu_spike","service":"frontend"}')
        assert answer.status_code == 415


async def test_control_is_for_bearers_of_the_token() -> None:
    body = {"type": "cpu_spike", "service": "frontend"}
    async with served(exporter(Secret("sesame"))) as client:
        assert (await client.post("/faults", json=body)).status_code == 401
        wrong = {"Authorization": "Bearer guess"}
        assert (await client.post("/faults", json=body, headers=wrong)).status_code == 401
        right = {"Authorization": "Bearer sesame"}
        assert (await client.post("/faults", json=body, headers=right)).status_code == 201
        assert (await client.get("/metrics")).status_code == 200
    async with served(exporter("nobody")) as client:
        assert (await client.post("/faults", json=body)).status_code == 403


async def test_play_ticks_once_a_second_of_its_clock() -> None:
    clock = ManualClock(MONDAY_NOON)
    simulation = Simulation(shop(), step_seconds=1.0, start=MONDAY_NOON)
    task = asyncio.create_task(Exporter(simulation, clock).play())
    for _ in range(100):
        await asyncio.sleep(0)
        clock.advance(0.5)
    await asyncio.sleep(0)
    task.cancel()
    assert simulation.now == MONDAY_NOON + 51_000  # one at once, then one a second


def test_a_taken_port_is_named() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PermanentError, match=rf"127\.0\.0\.1:{port}: Address already in use"):
            listen("127.0.0.1", port)


def test_third_parties_have_no_metrics_of_their_own() -> None:
    world = generate(60, seed=2)
    external = {s.name for s in world.services if s.kind.value == "external"}
    assert external
    found = play(Exporter(Simulation(world, step_seconds=1.0), ManualClock()), 3)
    assert not external & {s.labels.get("container") for s in found}
    assert external <= {s.labels.get("server") for s in found}


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("x", False)],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def nodes_of(found: list[Sample], name: str) -> dict[str, float]:
    return {s.labels["instance"]: s.value for s in found if s.name == name}


def test_replicas_are_told_apart() -> None:
    one = exporter()
    before, after = play(one, 30), play(one, 60)
    name = "container_cpu_usage_seconds_total"
    grown = {
        s.labels["pod"]: s.value - total(before, name, pod=s.labels["pod"])
        for s in after
        if s.name == name and s.labels["container"] == "frontend"
    }
    assert len(grown) == 4
    assert len(set(grown.values())) == 4
    last = one.simulation.last
    assert last is not None
    place = one.simulation.physics.index[EntityId("frontend")]
    quota = total(after, "container_spec_cpu_quota", container="frontend") / 100_000
    assert sum(grown.values()) / 60 / quota == pytest.approx(last.flow.cpu[place], rel=0.1)
    periods = total(after, "container_cpu_cfs_periods_total", container="frontend")
    assert periods == pytest.approx(4 * 900, abs=4)
    info = [s.labels for s in after if s.name == "kube_pod_info"]
    homes = one.simulation.world.placement()
    assert {(labels["pod"], labels["node"]) for labels in info} == {
        (pod, node)
        for service in shop().services
        for pod, node in zip(pods_of(service), homes[service.id], strict=True)
    }


def test_a_busy_service_is_throttled() -> None:
    one = exporter()
    play(one, 30)
    one.simulation.inject(
        Fault(type=FaultType.CPU_SPIKE, target=EntityId("payment-service"), severity=1.0, ramp=0.0)
    )
    before, after = play(one, 5), play(one, 20)

    def ratio(service: str) -> float:
        names = "container_cpu_cfs_throttled_periods_total", "container_cpu_cfs_periods_total"
        ups = [
            total(after, n, container=service) - total(before, n, container=service) for n in names
        ]
        return ups[0] / ups[1]

    assert ratio("payment-service") > 0.3
    assert ratio("catalog-service") < 0.15


def test_volumes_fill_and_packets_are_lost() -> None:
    one = exporter()
    calm = play(one, 30)
    for fault, target in ((FaultType.DISK_FULL, "shop-db"), (FaultType.PACKET_LOSS, "frontend")):
        one.simulation.inject(
            Fault(type=fault, target=EntityId(target), severity=1.0, duration=60.0, ramp=0.0)
        )
    found = play(one, 40)
    used, size = "kubelet_volume_stats_used_bytes", "kubelet_volume_stats_capacity_bytes"
    claim = {"persistentvolumeclaim": "data-shop-db-0"}
    assert total(calm, used, **claim) < 0.7 * total(calm, size, **claim)
    assert total(found, used, **claim) > 0.95 * total(found, size, **claim)
    whose = "kube_pod_spec_volumes_persistentvolumeclaims_info"
    assert total(found, whose, pod="shop-db-0", **claim) == 1
    dropped = "container_network_receive_packets_dropped_total"
    assert total(calm, dropped) == 0
    assert {
        s.labels["pod"].startswith("frontend-") for s in found if s.name == dropped and s.value
    } == {True}
    resent, sent = "node_netstat_Tcp_RetransSegs", "node_netstat_Tcp_OutSegs"
    before = total(calm, resent) / total(calm, sent)
    after = (total(found, resent) - total(calm, resent)) / (total(found, sent) - total(calm, sent))
    assert after > 3 * before


def test_machines_look_like_node_exporter() -> None:
    one = exporter()
    before, after = play(one, 30), play(one, 60)
    physics, last = one.simulation.physics, one.simulation.last
    assert last is not None
    for place, node in enumerate(physics.nodes):
        instance = f"{node.name}:9100"
        idle, cores = (
            total(found, "node_cpu_seconds_total", instance=instance, mode="idle")
            for found in (before, after)
        )
        count = len(
            {
                s.labels["cpu"]
                for s in after
                if s.labels.get("instance") == instance and "cpu" in s.labels
            }
        )
        busy = 1.0 - (cores - idle) / 60 / count
        assert busy == pytest.approx(last.flow.node_cpu[place], abs=0.05)
        free = nodes_of(after, "node_memory_MemAvailable_bytes")[instance]
        whole = nodes_of(after, "node_memory_MemTotal_bytes")[instance]
        assert 1.0 - free / whole == pytest.approx(last.flow.node_memory[place], abs=0.02)
        assert abs(nodes_of(after, "node_timex_offset_seconds")[instance]) < 0.05
    names = {s.labels["nodename"] for s in after if s.name == "node_uname_info"}
    assert names == {node.name for node in physics.nodes}


async def test_a_lost_machine_does_not_answer() -> None:
    one = exporter()
    play(one, 5)
    async with served(one) as client:
        path = "/nodes/shop-node-a1/metrics"
        text = (await client.get(path)).text
        assert "instance" not in text, "the target says which machine it is"
        one.simulation.inject(
            Fault(type=FaultType.ZONE_OUTAGE, target=EntityId("zone-a"), severity=1.0, ramp=0.0)
        )
        play(one, 3)
        assert (await client.get(path)).status_code == 503
        known = samples((await client.get("/cluster/metrics")).text)
        ready = {"condition": "Ready", "status": "unknown"}
        condition = "kube_node_status_condition"
        assert total(known, condition, node="shop-node-a1", **ready) == 1
        assert total(known, condition, node="shop-node-b1", **ready) == 0
        found = samples((await client.get("/services/catalog-db/metrics")).text)
        cpu = [s for s in found if s.name == "container_cpu_usage_seconds_total"]
        assert not cpu, "its kubelet is gone with it"
        assert total(found, "kube_statefulset_status_replicas_ready") == 0


def test_a_new_version_is_new_pods() -> None:
    one = exporter()
    old = {s.labels["pod"] for s in play(one, 5) if s.name == "kube_pod_info"}
    one.simulation.inject(
        Fault(type=FaultType.HARMLESS_DEPLOY, target=EntityId("frontend"), duration=100.0)
    )
    found = play(one, 70)
    new = {s.labels["pod"] for s in found if s.name == "kube_pod_info"} - old
    assert len(new) == 4
    versions = {
        s.labels["label_app_kubernetes_io_version"]
        for s in found
        if s.name == "kube_pod_labels" and s.labels["pod"] in new
    }
    assert versions == {"1.0.1"}
    cpu = [s for s in found if s.name == "container_cpu_usage_seconds_total"]
    assert max(s.value for s in cpu if s.labels["pod"] in new) < 60, "counted from its start"


async def test_the_cluster_is_listed_as_its_api_server_would() -> None:
    one = exporter()
    play(one, 3)
    async with served(one) as client:
        pods = (await client.get("/api/v1/pods")).json()
        assert pods["kind"] == "PodList"
        assert len(pods["items"]) == sum(service.replicas for service in shop().services)
        for path, kind in (
            ("/api/v1/nodes", "NodeList"),
            ("/api/v1/events", "EventList"),
            ("/api/v1/namespaces/shop/pods", "PodList"),
            ("/apis/apps/v1/deployments", "DeploymentList"),
            ("/apis/apps/v1/namespaces/shop/statefulsets", "StatefulSetList"),
        ):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["kind"]) == (200, kind)
        nobody = (await client.get("/api/v1/namespaces/other/pods")).json()
        assert nobody["items"] == []
        watched = await client.get("/api/v1/pods?watch=true")
        assert (watched.status_code, watched.json()["kind"]) == (405, "Status")
        assert (await client.post("/api/v1/pods", json={})).status_code == 405
