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
from dos.simulate.families import pods_of
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


def play(one: Exporter, seconds: int) -> list[Sample]:
    for _ in range(seconds):
        one.tick()
    return samples(one.text().decode())


async def test_targets_are_scraped_over_http() -> None:
    async with served(exporter()) as client:
        targets = (await client.get("/targets")).json()
        assert len(targets) == 12
        assert {t["targets"][0] for t in targets} == {client.base_url.netloc.decode()}
        assert len({t["labels"]["instance"] for t in targets}) == 12
        for target in targets:
            answer = await client.get(target["labels"]["__metrics_path__"])
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/plain; version=")
            assert samples(answer.text)
        assert (await client.get("/healthz")).text == "ok\n"
        missing = await client.get("/services/nobody/metrics")
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
        calm = total(play(one, 1), "container_memory_working_set_bytes", container="frontend")
        found = play(one, 14)
        leaking = total(found, "container_memory_working_set_bytes", container="frontend")
        assert leaking > 1.3 * calm
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
