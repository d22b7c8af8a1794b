from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from dos.ingest.roles import meaning_of
from dos.model.telemetry import MetricKind, Role

T, E, L = Role.TRAFFIC, Role.ERRORS, Role.LATENCY
S, A, O = Role.SATURATION, Role.AVAILABILITY, Role.OTHER  # noqa: E741

NAMES = [
    # OpenTelemetry semantic conventions, as names and as Prometheus writes them
    ("http.server.request.duration", L, ""),
    ("http_server_request_duration_seconds", L, "seconds"),
    ("http_server_request_duration_seconds_count", T, "seconds"),
    ("http.server.active_requests", S, ""),
    ("db.client.operation.duration", L, ""),
    ("rpc.server.duration", L, ""),
    ("messaging.client.consumed.messages", T, ""),
    ("jvm.memory.used", S, ""),
    ("system.cpu.utilization", S, ""),
    ("process_cpu_seconds_total", S, "seconds"),
    # what presets call theirs
    ("request_rate", T, "1/s"),
    ("error_ratio", E, "ratio"),
    ("latency_p95", L, ""),
    ("cpu_usage", S, ""),
    ("replicas_ready_ratio", A, "ratio"),
    # exporters
    ("http_requests_total", T, ""),
    ("http_request_errors_total", E, ""),
    ("http_5xx_rate", E, ""),
    ("grpc_server_handled_total", O, ""),
    ("nginx_http_requests_total", T, ""),
    ("go_gc_duration_seconds", S, "seconds"),
    ("go_goroutines", S, ""),
    ("kafka_consumergroup_lag", S, ""),
    ("rabbitmq_queue_messages_ready", S, ""),
    ("redis_connected_clients", O, ""),
    ("pg_stat_activity_count", O, ""),
    ("mysql_global_status_threads_running", S, ""),
    ("node_load1", S, ""),
    ("node_memory_MemAvailable_bytes", S, "bytes"),
    ("node_network_receive_errs_total", E, ""),
    ("node_network_receive_bytes_total", T, "bytes"),
    ("node_filesystem_avail_bytes", S, "bytes"),
    ("container_memory_failures_total", S, ""),
    ("container_cpu_cfs_throttled_periods_total", S, ""),
    ("kube_pod_container_status_restarts_total", O, ""),
    ("up", A, ""),
    ("probe_success", A, ""),
    ("probe_duration_seconds", L, "seconds"),
    # CloudWatch and colleagues
    ("TargetResponseTime", L, ""),
    ("HTTPCode_Target_5XX_Count", E, ""),
    ("UnHealthyHostCount", E, ""),
    ("CPUUtilization", S, ""),
    ("ApproximateNumberOfMessagesVisible", T, ""),
    ("Throttles", O, ""),
    # as people name them
    ("orders_per_minute", T, ""),
    ("rps", T, "1/s"),
    ("qps", T, "1/s"),
    ("response_time_ms", L, "seconds"),
    ("queue_depth", S, ""),
    ("availability_Average", A, ""),
    ("PodSuccessRate(%)", A, "ratio"),
    ("PodServerLatencyP95(s)", L, "seconds"),
    ("PodWorkload(Ops)", T, "1/s"),
    ("CpuUsage(m)", S, "cores"),
    ("MemoryUsage(Mi)", S, "bytes"),
    ("lat_99", L, ""),
    ("lod", T, ""),
    ("page_fault", S, ""),
    ("disk_read_latency", S, ""),
    ("temperature", O, ""),
    ("build_info", O, ""),
]


@pytest.mark.parametrize(("name", "role", "unit"), NAMES, ids=[name for name, _, _ in NAMES])
def test_role_and_base_unit_from_the_name(name: str, role: Role, unit: str) -> None:
    meaning = meaning_of(name)
    assert (meaning.role, meaning.unit) == (role, unit)


@pytest.mark.parametrize(
    ("name", "unit", "base", "scale"),
    [
        ("latency", "ms", "seconds", 1e-3),
        ("latency", "µs", "seconds", 1e-6),
        ("latency", "s", "seconds", 1.0),
        ("memory", "MiBy", "bytes", 2.0**20),
        ("memory", "By", "bytes", 1.0),
        ("disk_usage", "%", "ratio", 0.01),
        ("response_time_ms", "", "seconds", 1e-3),
        ("CpuUsage(m)", "", "cores", 1e-3),
        ("MemoryUsageRate(%)", "", "ratio", 0.01),
        ("orders", "{order}", "{order}", 1.0),
        ("latency", "parsecs", "parsecs", 1.0),
    ],
)
def test_values_are_scaled_to_the_base_unit(name: str, unit: str, base: str, scale: float) -> None:
    meaning = meaning_of(name, unit)
    assert (meaning.unit, meaning.scale) == (base, pytest.approx(scale))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("http_requests_total", MetricKind.COUNTER),
        ("http_request_duration_seconds_count", MetricKind.COUNTER),
        ("http_request_duration_seconds_bucket", MetricKind.COUNTER),
        ("requests_Sum", MetricKind.GAUGE),
        ("total_memory", MetricKind.GAUGE),
        ("pg_stat_activity_count", MetricKind.GAUGE),
    ],
)
def test_counters_are_known_by_prometheus_naming(name: str, kind: MetricKind) -> None:
    assert meaning_of(name).kind is kind


def test_hardly_a_metric_of_the_public_data_sets_is_left_without_a_role(shared_data: Path) -> None:
    files = sorted((shared_data / "rca").glob("*/case-001/metrics.csv.gz"))
    assert files
    unknown = set()
    for path in files:
        with gzip.open(path, "rt") as lines:
            columns = next(lines).strip().split(",")[1:]
        unknown |= {c.partition("|")[2] for c in columns if _role(c) is Role.OTHER}
    assert unknown <= {"container_last_seen"}


def _role(column: str) -> Role:
    return meaning_of(column.partition("|")[2]).role
