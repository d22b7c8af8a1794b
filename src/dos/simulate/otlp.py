"""Spans, log lines and measurements as OTLP messages (OpenTelemetry protocol 1.x, protobuf).

Needs the extra `otlp`. What is only known because it is simulated, such as the template of a line,
is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1 import logs_pb2 as logs
from opentelemetry.proto.metrics.v1 import metrics_pb2 as metrics
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2 as trace

from dos.kit.clock import Millis
from dos.simulate.fleet import Fleet
from dos.simulate.instruments import BOUNDS, Gauge, Histogram, Measurement, machine_of
from dos.simulate.log_templates import Severity
from dos.simulate.logs import Record
from dos.simulate.semantics import Attribute, Attributes, SpanKind, resource_of
from dos.simulate.traces import Span

SCOPE = "dos.simulate"
_NANOS_PER_MICRO, _NANOS_PER_MILLI = 1_000, 1_000_000
_KINDS = {
    SpanKind.INTERNAL: trace.Span.SPAN_KIND_INTERNAL,
    SpanKind.SERVER: trace.Span.SPAN_KIND_SERVER,
    SpanKind.CLIENT: trace.Span.SPAN_KIND_CLIENT,
    SpanKind.PRODUCER: trace.Span.SPAN_KIND_PRODUCER,
    SpanKind.CONSUMER: trace.Span.SPAN_KIND_CONSUMER,
}
_SEVERITIES = {
    Severity.INFO: logs.SEVERITY_NUMBER_INFO,
    Severity.WARN: logs.SEVERITY_NUMBER_WARN,
    Severity.ERROR: logs.SEVERITY_NUMBER_ERROR,
    Severity.FATAL: logs.SEVERITY_NUMBER_FATAL,
}
Message = ExportTraceServiceRequest | ExportLogsServiceRequest | ExportMetricsServiceRequest


def encode_spans(fleet: Fleet, spans: Iterable[Span]) -> ExportTraceServiceRequest:
    """Spans, by the pod that reports them."""
    by_pod: dict[str, list[Span]] = {}
    for span in spans:
        by_pod.setdefault(span.pod.uid, []).append(span)
    return ExportTraceServiceRequest(
        resource_spans=[
            trace.ResourceSpans(
                resource=_resource(resource_of(fleet, some[0].pod)),
                scope_spans=[trace.ScopeSpans(scope=_scope(), spans=[_span(one) for one in some])],
            )
            for some in by_pod.values()
        ]
    )


def encode_logs(fleet: Fleet, records: Iterable[Record], at: Millis) -> ExportLogsServiceRequest:
    """Log lines, by the pod or the machine that wrote them, observed at `at`."""
    by_writer: dict[str, tuple[Attributes, list[Record]]] = {}
    for record in records:
        node = fleet.physics.nodes[record.node]
        if record.pod is None:
            key, resource = node.name, machine_of(node.name, node.zone)
        else:
            key, resource = record.pod.uid, resource_of(fleet, record.pod)
        by_writer.setdefault(key, (resource, []))[1].append(record)
    return ExportLogsServiceRequest(
        resource_logs=[
            logs.ResourceLogs(
                resource=_resource(resource),
                scope_logs=[
                    logs.ScopeLogs(scope=_scope(), log_records=[_record(one, at) for one in some])
                ],
            )
            for resource, some in by_writer.values()
        ]
    )


def encode_metrics(
    measured: Iterable[tuple[Attributes, Sequence[Measurement]]], at: Millis
) -> ExportMetricsServiceRequest:
    """Measurements of resources as of `at`."""
    return ExportMetricsServiceRequest(
        resource_metrics=[
            metrics.ResourceMetrics(
                resource=_resource(resource),
                scope_metrics=[metrics.ScopeMetrics(scope=_scope(), metrics=_metrics(some, at))],
            )
            for resource, some in measured
        ]
    )


def _span(span: Span) -> trace.Span:
    status = trace.Status()
    if span.error:
        status = trace.Status(code=trace.Status.STATUS_CODE_ERROR, message=span.error)
    return trace.Span(
        trace_id=span.trace.to_bytes(16, "big"),
        span_id=span.span.to_bytes(8, "big"),
        parent_span_id=b"" if span.parent is None else span.parent.to_bytes(8, "big"),
        name=span.name,
        kind=_KINDS[span.kind],
        start_time_unix_nano=span.start * _NANOS_PER_MICRO,
        end_time_unix_nano=span.end * _NANOS_PER_MICRO,
        attributes=_attributes(span.attributes),
        status=status,
    )


def _record(record: Record, at: Millis) -> logs.LogRecord:
    return logs.LogRecord(
        time_unix_nano=record.time * _NANOS_PER_MICRO,
        observed_time_unix_nano=at * _NANOS_PER_MILLI,
        severity_number=_SEVERITIES[record.severity],
        severity_text=record.severity.name,
        body=AnyValue(string_value=record.body),
        attributes=_attributes(record.attributes),
        trace_id=b"" if record.trace is None else record.trace.to_bytes(16, "big"),
        span_id=b"" if record.span is None else record.span.to_bytes(8, "big"),
    )


def _metrics(measured: Sequence[Measurement], at: Millis) -> list[metrics.Metric]:
    """Measurements of one name are points of one metric."""
    found: dict[str, metrics.Metric] = {}
    for one in measured:
        if one.name not in found:
            found[one.name] = metrics.Metric(
                name=one.name, unit="s" if isinstance(one, Histogram) else one.unit
            )
        if isinstance(one, Gauge):
            found[one.name].gauge.data_points.append(_number(one, at))
        else:
            histogram = found[one.name].histogram
            histogram.aggregation_temporality = metrics.AGGREGATION_TEMPORALITY_CUMULATIVE
            histogram.data_points.append(_histogram(one, at))
    return list(found.values())


def _number(gauge: Gauge, at: Millis) -> metrics.NumberDataPoint:
    return metrics.NumberDataPoint(
        time_unix_nano=at * _NANOS_PER_MILLI,
        as_double=gauge.value,
        attributes=_attributes(gauge.attributes),
    )


def _histogram(one: Histogram, at: Millis) -> metrics.HistogramDataPoint:
    return metrics.HistogramDataPoint(
        start_time_unix_nano=one.since * _NANOS_PER_MILLI,
        time_unix_nano=at * _NANOS_PER_MILLI,
        count=int(one.counts.sum()),
        sum=one.total,
        bucket_counts=one.counts.tolist(),
        explicit_bounds=BOUNDS,
        attributes=_attributes(one.attributes),
    )


def _scope() -> InstrumentationScope:
    return InstrumentationScope(name=SCOPE)


def _resource(attributes: Attributes) -> Resource:
    return Resource(attributes=_attributes(attributes))


def _attributes(attributes: Attributes) -> list[KeyValue]:
    return [KeyValue(key=name, value=_value(value)) for name, value in attributes]


def _value(value: Attribute) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    return AnyValue(string_value=value)
