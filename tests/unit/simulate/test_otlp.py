"""OTLP over real HTTP, decoded as a collector decodes it."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any

import httpx2
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.metrics.v1 import metrics_pb2

from dos.kit.clock import ManualClock
from dos.model.ids import EntityId
from dos.simulate.engine import Simulation
from dos.simulate.faults import Fault, FaultType
from dos.simulate.instruments import BOUNDS
from dos.simulate.otlp import encode_logs, encode_metrics, encode_spans
from dos.simulate.otlp_sender import MOST_TRIES, OtlpExport, Outbox
from dos.simulate.signals import Amount, Signals
from dos.simulate.worlds import shop
from tests.unit.simulate.runs import MONDAY_NOON

KINDS: dict[str, Callable[[], Any]] = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
}
Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Received:
    """What a receiver was sent, and what it answers."""

    url: str = ""
    messages: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    headers: list[dict[str, str]] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    """To be given first; 200 after them."""
    requests: int = 0


@contextmanager
def receiver() -> Iterator[Received]:
    got = Received()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            got.requests += 1
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, headers, answer = got.answers.pop(0) if got.answers else (200, {}, b"")
            if status == 200:
                message = KINDS[self.path]()
                message.ParseFromString(gzip.decompress(body))
                got.messages[self.path].append(message)
                got.headers.append(dict(self.headers))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base's name
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    got.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def signals(**amount: int) -> Signals:
    simulation = Simulation(shop(), seed=1, step_seconds=1.0, start=MONDAY_NOON)
    return Signals(simulation, seed=1, amount=Amount(**amount))


async def sent_after(
    got: Received, ticks: int, *, answers: list[Answer] | None = None, **options: Any
) -> Outbox:
    """Play `ticks`, send everything, and return the outbox."""
    got.answers = list(answers or [])
    clock = ManualClock(MONDAY_NOON)
    async with httpx2.AsyncClient() as client:
        outbox = Outbox(got.url + "/", client, clock, Random(1), **options)
        export = OtlpExport(signals(traces=3, logs=30), outbox, every=5)
        for _ in range(ticks):
            export.tick()
        sending = asyncio.create_task(outbox.run())
        idle = asyncio.create_task(outbox.drained())
        while not idle.done():
            clock.advance(1.0)  # back-off passes in no time
            await asyncio.sleep(0.005)
        sending.cancel()
    return outbox


def attributes(some: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in some}


async def test_everything_arrives_as_a_collector_would_have_it() -> None:
    with receiver() as got:
        outbox = await sent_after(got, 12)
    spans = [
        (attributes(group.resource.attributes), span)
        for message in got.messages["/v1/traces"]
        for group in message.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]
    lines = [
        (attributes(group.resource.attributes), line)
        for message in got.messages["/v1/logs"]
        for group in message.resource_logs
        for scope in group.scope_logs
        for line in scope.log_records
    ]
    assert len(spans) == outbox.sent["traces"].delivered > 100
    assert len(lines) == outbox.sent["logs"].delivered > 100
    for resource, span in spans:
        assert {"service.name", "service.version", "k8s.pod.name", "k8s.node.name"} <= set(resource)
        assert (len(span.trace_id), len(span.span_id)) == (16, 8)
        assert len(span.parent_span_id) in (0, 8)
        assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= (MONDAY_NOON + 12_000) * 1_000_000
    ids = {span.span_id for _, span in spans}
    assert {span.parent_span_id for _, span in spans if span.parent_span_id} & ids
    traces = {span.trace_id for _, span in spans}
    assert {line.trace_id for _, line in lines if line.trace_id} <= traces
    assert {line.severity_text for _, line in lines} >= {"INFO"}
    assert all(line.body.string_value for _, line in lines)
    assert not any("template" in attributes(line.attributes) for _, line in lines), "the truth"
    assert {one["Content-Encoding"] for one in got.headers} == {"gzip"}
    assert {one["Content-Type"] for one in got.headers} == {"application/x-protobuf"}


def points(message: Any, name: str) -> list[tuple[dict[str, Any], Any]]:
    found = []
    for group in message.resource_metrics:
        for scope in group.scope_metrics:
            for metric in scope.metrics:
                if metric.name == name:
                    data = getattr(metric, metric.WhichOneof("data"))
                    found += [(attributes(group.resource.attributes), p) for p in data.data_points]
    return found


async def test_durations_are_cumulative_histograms_of_each_pod() -> None:
    with receiver() as got:
        await sent_after(got, 10)
    first, second = got.messages["/v1/metrics"]
    name = "http.server.request.duration"
    totals = [defaultdict(int), defaultdict(int)]
    for at, message in enumerate((first, second)):
        for resource, point in points(message, name):
            assert list(point.explicit_bounds) == list(BOUNDS)
            assert sum(point.bucket_counts) == point.count
            assert point.start_time_unix_nano == MONDAY_NOON * 1_000_000
            totals[at][resource["service.name"]] += point.count
    for metric in first.resource_metrics[0].scope_metrics[0].metrics:
        if metric.name == name:
            cumulative = metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE
            assert metric.histogram.aggregation_temporality == cumulative
            assert metric.unit == "s"
    for service in ("api-gateway", "frontend", "payment-service"):
        assert 0 < totals[0][service] < totals[1][service]
        at_noon = 0.8 * shop().demand()[EntityId(service)]
        assert totals[1][service] / 10 == pytest.approx(at_noon, rel=0.35)
    gateways = {r["k8s.pod.name"] for r, _ in points(first, name) if "gateway" in r["service.name"]}
    assert len(gateways) == 3
    database = points(second, "db.client.operation.duration")
    assert {attributes(point.attributes)["db.system.name"] for _, point in database} == {
        "postgresql",
        "redis",
    }
    cpu = points(second, "container.cpu.usage")
    limit = {r["k8s.pod.name"]: p.as_double for r, p in points(second, "k8s.container.cpu_limit")}
    assert len(cpu) == len(limit) == sum(service.replicas for service in shop().services)
    assert all(0 <= point.as_double <= limit[r["k8s.pod.name"]] for r, point in cpu)
    assert len(points(second, "k8s.node.condition_ready")) == len(shop().nodes)


def test_failures_are_told_apart() -> None:
    there = signals(traces=0, logs=0)
    there.simulation.inject(
        Fault(type=FaultType.ERROR_RATE, target=EntityId("payment-service"), severity=1.0, ramp=0.0)
    )
    for _ in range(20):
        there.tick()
        there.count()
    message = encode_metrics(there.instruments.measure(), there.simulation.now)
    failed, total = 0, 0
    for resource, point in points(message, "http.server.request.duration"):
        if resource["service.name"] == "payment-service":
            total += point.count
            labels = attributes(point.attributes)
            assert ("error.type" in labels) == (labels["http.response.status_code"] == 500)
            failed += point.count * ("error.type" in labels)
    last = there.simulation.last
    assert last is not None
    place = there.simulation.physics.index[EntityId("payment-service")]
    assert failed / total == pytest.approx(last.flow.answers.errors[place], rel=0.15)


def test_messages_are_whole_after_a_round_trip() -> None:
    there = signals(traces=5, logs=50)
    seen = there.tick()
    there.count()
    now = there.simulation.now
    for message in (
        encode_spans(there.fleet, seen.spans),
        encode_logs(there.fleet, seen.records, now),
        encode_metrics(there.instruments.measure(), now),
    ):
        again = type(message)()
        again.ParseFromString(message.SerializeToString())
        assert again == message


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_receiver_gets_the_same_batch_again(status: int) -> None:
    busy: Answer = (status, {"Retry-After": "7"}, b"")
    with receiver() as got:
        outbox = await sent_after(got, 3, answers=[busy, busy])
        assert got.requests == 2 + len(got.messages["/v1/traces"]) + len(got.messages["/v1/logs"])
    assert outbox.sent["traces"].dropped == outbox.sent["logs"].dropped == 0
    assert outbox.sent["traces"].delivered > 0


async def test_a_receiver_that_refuses_is_not_asked_twice() -> None:
    with receiver() as got:
        outbox = await sent_after(got, 1, answers=[(400, {}, b"")] * 2)
        assert got.requests == 2
    assert outbox.sent["traces"].rejected > 0
    assert outbox.sent["traces"].delivered == outbox.sent["logs"].delivered == 0


async def test_a_receiver_may_take_a_part() -> None:
    part = ExportTraceServiceResponse(
        partial_success=ExportTracePartialSuccess(rejected_spans=3)
    ).SerializeToString()
    with receiver() as got:
        outbox = await sent_after(got, 1, answers=[(200, {}, part), (200, {}, b"<html>")])
    assert outbox.sent["traces"].rejected == 3
    assert outbox.sent["logs"].rejected == 0


async def test_a_dead_receiver_costs_batches_and_nothing_else() -> None:
    with receiver() as got:
        url = got.url
    outbox = await sent_after(Received(url=url), 2)
    assert outbox.sent["traces"].dropped > 0
    assert outbox.sent["traces"].delivered == 0


async def test_who_is_too_slow_loses_the_oldest() -> None:
    with receiver() as got:
        outbox = await sent_after(got, 8, most=4)
        latest = max(
            span.end_time_unix_nano
            for message in got.messages["/v1/traces"]
            for group in message.resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        )
    assert sum(len(some) for some in got.messages.values()) == 4
    assert outbox.sent["traces"].dropped > 0
    assert latest > (MONDAY_NOON + 6_000) * 1_000_000, "the newest are kept"


async def test_credentials_are_sent_along() -> None:
    with receiver() as got:
        await sent_after(got, 1, headers={"Authorization": "Bearer sesame"})
    assert {one["Authorization"] for one in got.headers} == {"Bearer sesame"}


async def test_sending_goes_on_while_the_simulation_plays() -> None:
    clock = ManualClock(MONDAY_NOON)
    with receiver() as got:
        async with httpx2.AsyncClient() as client:
            outbox = Outbox(got.url, client, clock, Random(1))
            sending = asyncio.create_task(outbox.run())
            export = OtlpExport(signals(traces=2, logs=10), outbox)
            for _ in range(20):
                export.tick()
                await asyncio.wait_for(outbox.drained(), 30)
            sending.cancel()
    assert len(got.messages["/v1/metrics"]) == 2
    assert len(got.messages["/v1/traces"]) == 20
    assert MOST_TRIES > 1
