from __future__ import annotations

import pytest
from pydantic import ValidationError

from dos.detect.forecast.base import ForecastConfig, Horizon, LimitRule
from dos.detect.forecast.subjects import Mode, key_of, subject_of
from dos.ingest.roles import meaning_of
from dos.model.forecast import ForecastKind
from dos.model.ids import EntityId
from dos.model.telemetry import MetricKind, SeriesSpec

DISK, MEMORY, CERTIFICATE, QUOTA = (
    ForecastKind.DISK,
    ForecastKind.MEMORY,
    ForecastKind.CERTIFICATE,
    ForecastKind.QUOTA,
)


def spec(metric: str, unit: str = "", **labels: str) -> SeriesSpec:
    """A series of one entity as ingest would describe it."""
    meaning = meaning_of(metric, unit)
    return SeriesSpec(
        entity=EntityId("shop/cart"),
        metric=metric,
        labels=tuple(sorted(labels.items())),
        role=meaning.role,
        unit=meaning.unit,
        kind=meaning.kind,
    )


@pytest.mark.parametrize(
    ("metric", "unit", "kind", "mode"),
    [
        ("memory_usage", "ratio", MEMORY, Mode.USED),
        ("memory_limit_ratio", "", MEMORY, Mode.USED),
        ("disk_usage", "ratio", DISK, Mode.USED),
        ("filesystem_utilisation", "ratio", DISK, Mode.USED),
        ("volume_utilisation", "ratio", DISK, Mode.USED),
        ("disk_free_percent", "", DISK, Mode.FREE),
        ("inodes_free", "ratio", DISK, Mode.FREE),
        ("process_fds_ratio", "", QUOTA, Mode.USED),
        ("node_filesystem_avail_bytes", "", DISK, Mode.FREE),
        ("kubelet_volume_stats_used_bytes", "", DISK, Mode.USED),
        ("node_memory_MemAvailable_bytes", "", MEMORY, Mode.FREE),
        ("probe_ssl_earliest_cert_expiry", "", CERTIFICATE, Mode.DEADLINE),
        ("x509_cert_not_after", "", CERTIFICATE, Mode.DEADLINE),
        ("certmanager_certificate_expiration_timestamp_seconds", "", CERTIFICATE, Mode.DEADLINE),
        ("kubelet_certificate_manager_client_ttl_seconds", "", CERTIFICATE, Mode.COUNTDOWN),
    ],
)
def test_what_runs_out_is_recognised(
    metric: str, unit: str, kind: ForecastKind, mode: Mode
) -> None:
    subject = subject_of(spec(metric, unit))
    assert subject is not None
    assert (subject.kind, subject.mode) == (kind, mode)


@pytest.mark.parametrize(
    "metric",
    [
        "cpu_usage",
        "cpu_limit_ratio",
        "disk_utilisation",
        "disk_read",
        "request_rate",
        "latency_p95",
        "memory_failures_total",
        "container_memory_cache",
        "node_filesystem_size_bytes",
        "node_memory_MemTotal_bytes",
        "container_spec_memory_limit_bytes",
        "process_max_fds",
        "node_nf_conntrack_entries_limit",
        "kubelet_certificate_manager_client_expiration_renew_errors",
        "tls_handshake_duration_seconds",
        "up",
        "",
    ],
)
def test_what_only_follows_the_traffic_or_is_a_limit_is_not_forecast(metric: str) -> None:
    assert subject_of(spec(metric)) is None


def test_a_counter_is_not_forecast() -> None:
    grows = SeriesSpec(
        entity=EntityId("a"), metric="disk_usage", unit="ratio", kind=MetricKind.COUNTER
    )
    assert subject_of(grows) is None


@pytest.mark.parametrize(
    ("metric", "limit"),
    [
        ("process_open_fds", "process_max_fds"),
        ("node_filesystem_avail_bytes", "node_filesystem_size_bytes"),
        ("kubelet_volume_stats_used_bytes", "kubelet_volume_stats_capacity_bytes"),
        ("node_memory_MemAvailable_bytes", "node_memory_MemTotal_bytes"),
        ("container_memory_working_set_bytes", "container_spec_memory_limit_bytes"),
        ("jvm_memory_used_bytes", "jvm_memory_max_bytes"),
        ("node_nf_conntrack_entries", "node_nf_conntrack_entries_limit"),
        ("memory_usage", "memory_limit"),
    ],
)
def test_the_series_that_holds_the_limit_is_found(metric: str, limit: str) -> None:
    subject = subject_of(spec(metric))
    assert subject is not None
    assert key_of(limit) in [key for key, _ in subject.partners]


def test_a_kubernetes_quota_finds_its_hard_limit_by_label() -> None:
    used = subject_of(spec("kube_resourcequota", resource="pods", type="used"))
    assert used is not None
    assert used.partners == (("kube_resourcequota", (("resource", "pods"), ("type", "hard"))),)
    assert subject_of(spec("kube_resourcequota", resource="pods", type="hard")) is None


def test_days_are_counted_as_days() -> None:
    subject = subject_of(spec("certificate_expiry_days"))
    assert subject is not None
    assert (subject.mode, subject.scale) == (Mode.COUNTDOWN, 86_400.0)


def test_a_rule_of_the_user_comes_first() -> None:
    rule = LimitRule(metric="queue_messages", limit=5_000.0)
    subject = subject_of(spec("queue_messages"), (rule,))
    assert subject is not None
    assert (subject.kind, subject.mode, subject.limit) == (QUOTA, Mode.USED, 5_000.0)


def test_horizons_and_rules_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValidationError, match="critical must not be longer"):
        Horizon(warning=60.0, critical=120.0)
    with pytest.raises(ValidationError, match="has no limit"):
        LimitRule(metric="x", limit=1.0, kind=CERTIFICATE)
    config = ForecastConfig()
    for kind in ForecastKind:
        horizon = config.horizon(kind)
        assert 0 < horizon.critical < horizon.warning
