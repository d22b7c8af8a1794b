"""What SDK client metrics, processes and volumes say, as Kubernetes and plain hosts label them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dos.kit.clock import SECOND, ManualClock, Millis
from dos.model.entity import EntityKind
from dos.model.telemetry import Role
from dos.testing.sinks import RecordingSink
from tests.conftest import require_binary
from tests.integration.test_prometheus_source import NOW, T0, Recorded, live, running_source, within

MINUTES = 40
GONE_AFTER = 29 * 60
"""Seconds into the recording: the process of `worker` ends a minute before now."""


def latency(name: str, labels: str, rate: float) -> dict[str, Callable[[int], float]]:
    """A histogram of `rate` observations a second: 90 % below 100 ms, all below 200 ms."""
    shares = (("0.1", 0.9), ("0.2", 1.0), ("+Inf", 1.0))
    series = {
        f'{name}_bucket{{{labels},le="{limit}"}}': lambda s, r=rate * share: r * s
        for limit, share in shares
    }
    return {**series, f"{name}_count{{{labels}}}": lambda s: rate * s}


def recorded_series() -> dict[str, Callable[[int], float]]:
    """Series and their values `second` seconds after the start."""
    client, store = "http_client_request_duration_seconds", "db_client_operation_duration_seconds"
    pod = 'namespace="shop",pod="checkout-7d9f8b6c5d-x2x4z"'
    inside = f'{pod},server_address="payment.shop.svc.cluster.local"'
    outside = f'{pod},server_address="api.bank.example"'
    redis = 'server_address="redis.shop.svc"'
    series = {
        **latency(client, f'{inside},http_response_status_code="200",error_type=""', 1.5),
        **latency(client, f'{inside},http_response_status_code="503",error_type="503"', 0.3),
        **latency(client, f'{inside},http_response_status_code="",error_type="timeout"', 0.2),
        **latency(client, f'{outside},http_response_status_code="404",error_type="404"', 1.0),
        **latency(store, f'{pod},{redis},error_type=""', 3.0),
        **latency(store, f'job="worker",instance="a:1",{redis},error_type="TimeoutError"', 1.0),
        **latency(store, f'{pod},db_system_name="sqlite",error_type=""', 9.0),
    }
    volume = 'persistentvolumeclaim="data-mysql-0"'
    claims = "kube_pod_spec_volumes_persistentvolumeclaims_info"
    series[
        f'{claims}{{namespace="kube",exported_namespace="shop",pod="ksm",exported_pod="mysql-0",{volume}}}'
    ] = lambda _: 1.0
    series[f'kubelet_volume_stats_used_bytes{{namespace="shop",{volume}}}'] = lambda _: 30.0
    series[f'kubelet_volume_stats_capacity_bytes{{namespace="shop",{volume}}}'] = lambda _: 40.0
    return series


def process_lines() -> Iterator[str]:
    """Two processes of `worker`, one of which ends; and a target that never was a process."""
    for second in range(0, MINUTES * 60 + 1, 15):
        at = T0 + second
        for instance in ("a:1", "b:1"):
            where = f'{{job="worker",instance="{instance}"}}'
            down = instance == "b:1" and second > GONE_AFTER
            yield f"up{where} {int(not down)} {at}\n"
            if not down:
                yield f"process_start_time_seconds{where} {T0} {at}\n"
                yield f"process_cpu_seconds_total{where} {0.25 * second} {at}\n"
                yield f"process_resident_memory_bytes{where} 1000000 {at}\n"
                yield f"process_open_fds{where} 10 {at}\n"
                yield f"process_max_fds{where} 100 {at}\n"
        yield f'up{{job="blackbox",instance="c:1"}} 0 {at}\n'


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Recorded]:
    lines = [
        f"{name} {value(second)} {T0 + second}\n"
        for name, value in recorded_series().items()
        for second in range(0, MINUTES * 60 + 1, 15)
    ]
    text = tmp_path / "recording.om"
    text.write_text("".join([*lines, *process_lines()]) + "# EOF\n")
    command = [require_binary("promtool"), "tsdb", "create-blocks-from", "openmetrics"]
    subprocess.run([*command, str(text), str(tmp_path / "data")], check=True, capture_output=True)
    (tmp_path / "prometheus.yml").write_text("")
    server = Recorded(tmp_path)
    server.start()
    yield server
    server.stop()


async def test_clients_processes_and_volumes(server: Recorded) -> None:
    clock, sink = ManualClock(Millis(NOW + SECOND)), RecordingSink()
    async with running_source(clock, sink, url=server.url, lookback="5m") as source:
        await within(30, sink, live(1))
    assert source.status.problems == ()
    assert {name: one.kind for name, one in sink.entities.items()} == {
        "checkout": EntityKind.SERVICE,
        "payment": EntityKind.UNKNOWN,
        "api.bank.example": EntityKind.UNKNOWN,
        "redis": EntityKind.DATABASE,
        "worker": EntityKind.SERVICE,
        "mysql": EntityKind.UNKNOWN,
    }
    assert {(one.caller, one.callee) for one in sink.edges} == {
        ("checkout", "payment"),
        ("checkout", "api.bank.example"),
        ("checkout", "redis"),
        ("worker", "redis"),
    }
    (frame,) = [one.frame for one in sink.deliveries if not one.history]
    assert frame is not None
    assert set(frame.timestamp.tolist()) == {NOW}
    found = {}
    for row, value in zip(frame.index.tolist(), frame.value.tolist(), strict=True):
        spec = frame.series[row]
        callee = dict(spec.labels).get("server_address", "")
        found[str(spec.entity), spec.metric, callee] = (spec.role, value)
    expected = {
        ("checkout", "call_rate", "payment"): (Role.TRAFFIC, 2.0),
        ("checkout", "call_error_ratio", "payment"): (Role.ERRORS, 0.25),
        ("checkout", "call_latency_p95", "payment"): (Role.LATENCY, 0.15),
        ("checkout", "call_error_ratio", "api.bank.example"): (Role.ERRORS, 0.0),
        ("redis", "operation_rate", ""): (Role.TRAFFIC, 4.0),
        ("redis", "operation_error_ratio", ""): (Role.ERRORS, 0.25),
        ("redis", "operation_latency_p95", ""): (Role.LATENCY, 0.15),
        ("worker", "process_up", ""): (Role.AVAILABILITY, 0.5),
        ("worker", "process_cpu", ""): (Role.SATURATION, 0.25),
        ("worker", "process_memory", ""): (Role.SATURATION, 1e6),
        ("worker", "process_fds_ratio", ""): (Role.SATURATION, 0.1),
        ("mysql", "volume_utilisation", ""): (Role.SATURATION, 0.75),
    }
    for key, (role, value) in expected.items():
        assert found[key] == (role, pytest.approx(value, rel=1e-3)), key
    assert {entity for entity, _, _ in found} == {"checkout", "redis", "worker", "mysql"}
