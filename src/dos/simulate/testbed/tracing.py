"""Spans of a service: to an OpenTelemetry collector where one is named, else to a file.

With `OTEL_EXPORTER_OTLP_ENDPOINT` (or its `_TRACES_` form) set they are sent as OTLP over HTTP;
otherwise a sampled share is written as JSON lines, in two files that take turns so that they
stay small. The context travels in W3C `traceparent` headers. A thread of the SDK does the sending.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_MOST_BYTES = 8 << 20
"""Of each of the two files."""
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_propagator = TraceContextTextMapPropagator()


class JsonLines(SpanExporter):
    """Appends spans to `path`, one JSON object a line; the older half is in `path` + `.1`."""

    def __init__(self, path: Path, most_bytes: int = _MOST_BYTES) -> None:
        self._path = path
        self._most = most_bytes

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Append `spans`."""
        lines = "".join(f"{span.to_json(indent=None)}\n" for span in spans)
        try:
            if self._path.exists() and self._path.stat().st_size + len(lines) > self._most:
                self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            with self._path.open("a", encoding="utf-8") as file:
                file.write(lines)
        except OSError:
            return SpanExportResult.FAILURE  # the SDK counts it; a service outlives its traces
        return SpanExportResult.SUCCESS


def to_collector(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment names an OTLP endpoint."""
    return any(environment.get(name) for name in _ENDPOINTS)


def start(service: str, directory: Path, ratio: float) -> TracerProvider:
    """The provider of the process's spans; its owner shuts it down.

    Args:
        service: `service.name` of the spans.
        directory: Where the file goes if no collector is named.
        ratio: Share of traces that are kept, 0 to 1; the gateway decides for all.
    """
    exporter: SpanExporter
    if to_collector():
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter()
    else:
        directory.mkdir(parents=True, exist_ok=True)
        exporter = JsonLines(directory / f"{service}.jsonl")
    resource = Resource.create({"service.name": service, "service.namespace": "testbed"})
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(ratio)), resource=resource, shutdown_on_exit=False
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def tracer_of(provider: TracerProvider) -> Tracer:
    """The tracer that the testbed's services use."""
    return provider.get_tracer("dos.simulate.testbed")


def received(headers: Mapping[str, str]) -> Context:
    """The context that a request brought along."""
    return _propagator.extract(headers)


def passed_on() -> dict[str, str]:
    """Headers that carry the current context to a callee."""
    headers: dict[str, str] = {}
    _propagator.inject(headers)
    return headers
