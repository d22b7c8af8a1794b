"""Where spans go: to a collector that is named, else into files that stay small."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider

from dos.simulate.testbed import tracing


@contextmanager
def collector() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """An OTLP receiver: its URL, and path and body of what it got."""
    got: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep the test's output readable."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    thread.join()
    server.server_close()


def make_span(provider: TracerProvider) -> None:
    with tracing.tracer_of(provider).start_as_current_span("GET /browse"):
        assert tracing.passed_on().keys() == {"traceparent"}
    provider.shutdown()


def test_a_named_collector_gets_the_spans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with collector() as (url, got):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        make_span(tracing.start("payment", tmp_path, 1.0))
    ((path, body),) = got
    assert path == "/v1/traces"
    (spans,) = ExportTraceServiceRequest.FromString(body).resource_spans
    attributes = {one.key: one.value.string_value for one in spans.resource.attributes}
    assert attributes["service.name"] == "payment"
    assert spans.scope_spans[0].spans[0].name == "GET /browse"
    assert list(tmp_path.iterdir()) == []


def test_without_one_they_are_lines_of_json(tmp_path: Path) -> None:
    make_span(tracing.start("payment", tmp_path, 1.0))
    (line,) = (tmp_path / "payment.jsonl").read_text().splitlines()
    assert json.loads(line)["name"] == "GET /browse"


def test_requests_that_are_not_sampled_leave_nothing(tmp_path: Path) -> None:
    make_span(tracing.start("payment", tmp_path, 0.0))
    assert not (tmp_path / "payment.jsonl").exists()


def test_the_files_take_turns(tmp_path: Path) -> None:
    provider = tracing.start("payment", tmp_path, 1.0)
    span = tracing.tracer_of(provider).start_span("x")
    span.end()
    exporter = tracing.JsonLines(tmp_path / "spans.jsonl", most_bytes=3000)
    for _ in range(50):
        exporter.export([span])  # type: ignore[list-item]
    provider.shutdown()
    sizes = {path.name: path.stat().st_size for path in tmp_path.glob("spans.*")}
    assert set(sizes) == {"spans.jsonl", "spans.jsonl.1"}
    assert max(sizes.values()) <= 3000


def test_a_disk_that_refuses_does_not_raise(tmp_path: Path) -> None:
    provider = tracing.start("payment", tmp_path, 1.0)
    span = tracing.tracer_of(provider).start_span("x")
    span.end()
    gone = tracing.JsonLines(tmp_path / "missing" / "spans.jsonl")
    assert gone.export([span]).name == "FAILURE"  # type: ignore[list-item]
    provider.shutdown()


def test_what_names_a_collector() -> None:
    assert tracing.to_collector({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"})
    assert not tracing.to_collector({"OTEL_EXPORTER_OTLP_ENDPOINT": ""})
