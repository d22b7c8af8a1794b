"""The Prometheus source against real servers: recorded blocks on virtual time, and live scrapes."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import pytest

from dos.ingest.base import SourceHealth
from dos.ingest.promql.api import PrometheusApi
from dos.ingest.promql.connection import Connection
from dos.ingest.promql.plan import variables_for
from dos.ingest.promql.presets import load_preset, preset_names
from dos.ingest.promql.queries import expand
from dos.ingest.supervise import SupervisedSource
from dos.kit.clock import SECOND, Clock, ManualClock, Millis, SystemClock
from dos.kit.errors import PermanentError
from dos.kit.plugins import load
from dos.model.entity import EntityKind
from dos.model.graph import EdgeKind
from dos.model.telemetry import Role
from dos.testing.sinks import RecordingSink
from tests.conftest import Server, answers, require_binary, running, unused_port

PLUGIN = load("dos.ingest.sources", "prometheus")
T0 = 1_760_000_400
"""A multiple of 15 s, seconds."""
MINUTES = 40
NOW = Millis((T0 + 30 * 60) * SECOND)
"""Half an hour into the recording: ten minutes are still to come."""
PODS = {
    "checkout-7d9f8b6c5d-x2x4z": 0.5,
    "checkout-7d9f8b6c5d-b5m2q": 0.25,
    "frontend-6c5b8f9d7-k8s4t": 0.1,
    "db-0": 0.2,
}
"""Cores each pod uses."""


def recorded_series() -> dict[str, Callable[[int], float]]:
    """Series and their values `second` seconds after the start: a shop seen by its exporters."""
    server = 'span_kind="SPAN_KIND_SERVER"'
    calls, bucket = "traces_span_metrics_calls_total", "traces_span_metrics_duration_milliseconds"
    ok, failed = 'status_code="STATUS_CODE_UNSET"', 'status_code="STATUS_CODE_ERROR"'
    series: dict[str, Callable[[int], float]] = {
        f'{calls}{{service_name="frontend",{server},{ok}}}': lambda s: 4.0 * s,
        f'{calls}{{service_name="checkout",{server},{ok}}}': lambda s: 1.8 * s,
        f'{calls}{{service_name="checkout",{server},{failed}}}': lambda s: 0.2 * s,
        f'{calls}{{service_name="idle",{server},{ok}}}': lambda _: 7.0,
        f'{calls}{{service_name="checkout",span_kind="SPAN_KIND_CLIENT",{ok}}}': lambda s: 99.0 * s,
    }
    for service, rate in (("frontend", 4.0), ("checkout", 2.0), ("idle", 0.0)):
        for limit, share in (("100", 0.9), ("200", 1.0), ("+Inf", 1.0)):
            labels = f'service_name="{service}",{server},le="{limit}"'
            series[f"{bucket}_bucket{{{labels}}}"] = lambda s, r=rate * share: r * s  # type: ignore[misc]
    graph = "traces_service_graph_request_total"
    series[f'{graph}{{client="frontend",server="checkout"}}'] = lambda s: 2.0 * s
    series[f'{graph}{{client="checkout",server="db",connection_type="database"}}'] = lambda s: s
    series[f'{graph}{{client="user",server="frontend"}}'] = lambda s: 4.0 * s
    for pod, cores in PODS.items():
        labels = f'namespace="shop",pod="{pod}",container="main"'
        series[f"container_cpu_usage_seconds_total{{{labels}}}"] = lambda s, c=cores: c * s  # type: ignore[misc]
        series[f"container_memory_working_set_bytes{{{labels}}}"] = lambda _, c=cores: c * 2**30  # type: ignore[misc]
        labels = f'namespace="shop",pod="{pod}"'
        series[f'kube_pod_info{{{labels},node="node-1"}}'] = lambda _: 1.0
        series[f"kube_pod_container_status_restarts_total{{{labels}}}"] = lambda s: s // 600
    series['kube_deployment_spec_replicas{namespace="shop",deployment="checkout"}'] = lambda _: 2.0
    series['kube_deployment_status_replicas_available{namespace="shop",deployment="checkout"}'] = (
        lambda _: 1.0
    )
    series['up{job="spans"}'] = lambda _: 1.0
    return series


@pytest.fixture(scope="session")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Prometheus data folder with the recording, made by promtool."""
    home = tmp_path_factory.mktemp("blocks")
    lines = [
        f"{name} {value(second)} {T0 + second}\n"
        for name, value in recorded_series().items()
        for second in range(0, MINUTES * 60 + 1, 15)
    ]
    text = home / "recording.om"
    text.write_text("".join(lines) + "# EOF\n")
    command = [require_binary("promtool"), "tsdb", "create-blocks-from", "openmetrics"]
    subprocess.run([*command, str(text), str(home / "data")], check=True, capture_output=True)
    return home / "data"


class Recorded:
    """A Prometheus over the recording that can be stopped and started again."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._port = unused_port()
        self._running: AbstractContextManager[int] | None = None
        self.url = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        command = [
            require_binary("prometheus"),
            f"--config.file={self._home / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._home / 'data'}",
            "--storage.tsdb.retention.time=100y",
            f"--web.listen-address=127.0.0.1:{self._port}",
        ]
        ready = partial(answers, f"{self.url}/-/ready")
        self._running = running(command, self._home / "log", ready)
        self._running.__enter__()

    def stop(self) -> None:
        if self._running is not None:
            self._running.__exit__(None, None, None)
            self._running = None


@pytest.fixture
def recorded(blocks: Path, tmp_path: Path) -> Iterator[Recorded]:
    shutil.copytree(blocks, tmp_path / "data")
    (tmp_path / "prometheus.yml").write_text("")
    server = Recorded(tmp_path)
    server.start()
    yield server
    server.stop()


@asynccontextmanager
async def running_source(
    clock: Clock, sink: RecordingSink, **keys: object
) -> AsyncIterator[SupervisedSource]:
    """The source under supervision, as DOS runs it."""
    config = PLUGIN.config.model_validate(keys)
    source = PLUGIN.build(config, name="prom", clock=clock, rng=Random(1))
    supervised = SupervisedSource("prom", "prometheus", source, sink, clock=clock, rng=Random(1))
    task = asyncio.create_task(supervised.run())
    try:
        yield supervised
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def within(seconds: float, sink: RecordingSink, met: Callable[[RecordingSink], bool]) -> None:
    await asyncio.wait_for(sink.until(met), seconds)


def live(count: int) -> Callable[[RecordingSink], bool]:
    """Whether so many live deliveries came."""
    return lambda sink: sum(not one.history for one in sink.deliveries) >= count


async def eventually(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  what it waits for tells nobody
            await asyncio.sleep(0.02)


async def test_a_shop_seen_through_its_exporters(recorded: Recorded) -> None:
    clock, sink = ManualClock(Millis(NOW + SECOND)), RecordingSink()
    async with running_source(clock, sink, url=recorded.url, lookback="20m") as source:
        await within(30, sink, live(1))
        clock.advance(15)
        await within(30, sink, live(2))
    assert source.status.health is SourceHealth.OK
    assert source.status.problems == ()

    # One entity per service, joined across span metrics, pods and the call graph.
    assert {name: one.kind for name, one in sink.entities.items()} == {
        "frontend": EntityKind.SERVICE,
        "checkout": EntityKind.SERVICE,
        "idle": EntityKind.SERVICE,
        "db": EntityKind.DATABASE,
        "node-1": EntityKind.NODE,
    }
    assert sink.entities["checkout"].namespace == "shop"  # type: ignore[index]
    assert {(one.caller, one.callee, one.kind) for one in sink.edges} == {
        ("frontend", "checkout", EdgeKind.CALL),
        ("checkout", "db", EdgeKind.CALL),
        ("checkout", "node-1", EdgeKind.HOST),
        ("frontend", "node-1", EdgeKind.HOST),
        ("db", "node-1", EdgeKind.HOST),
    }

    expected = {
        ("checkout", "request_rate"): (Role.TRAFFIC, 2.0),
        ("checkout", "error_ratio"): (Role.ERRORS, 0.1),
        ("checkout", "latency_p50"): (Role.LATENCY, 0.0556),
        ("checkout", "latency_p95"): (Role.LATENCY, 0.15),
        ("checkout", "cpu_usage"): (Role.SATURATION, 0.75),
        ("checkout", "memory_usage"): (Role.SATURATION, 0.5 * 2**30),
        ("checkout", "replicas_ready_ratio"): (Role.AVAILABILITY, 0.5),
        ("frontend", "request_rate"): (Role.TRAFFIC, 4.0),
        ("frontend", "error_ratio"): (Role.ERRORS, 0.0),
        ("frontend", "call_rate"): (Role.TRAFFIC, 2.0),
        ("idle", "request_rate"): (Role.TRAFFIC, 0.0),
        ("db", "cpu_usage"): (Role.SATURATION, 0.2),
    }
    roles = {(one.entity, one.metric): one.role for one in sink.series}
    for (entity, metric), (role, value) in expected.items():
        times, values = sink.samples(entity, metric, history=False)
        assert times.tolist() == [NOW, NOW + 15 * SECOND], (entity, metric)
        assert values == pytest.approx([value, value], rel=1e-3), (entity, metric)
        assert roles[entity, metric] is role  # type: ignore[index]
    # 0/0 is no sample: nobody called it.
    assert len(sink.samples("idle", "error_ratio")[0]) == 0
    assert len(sink.samples("idle", "latency_p95")[0]) == 0


async def test_the_past_is_back_filled_without_a_hole(recorded: Recorded) -> None:
    clock, sink = ManualClock(Millis(NOW + SECOND)), RecordingSink()
    async with running_source(clock, sink, url=recorded.url, lookback="20m"):
        await within(30, sink, live(1))
    past, values = sink.samples("checkout", "request_rate", history=True)
    assert past.tolist() == list(range(NOW - 20 * 60_000, NOW, 15_000))
    assert values == pytest.approx(np.full(len(past), 2.0), rel=1e-3)
    windows = [one for one in sink.deliveries if one.history]
    assert len(windows) > 1
    assert not any(one.history for one in sink.deliveries[len(windows) :])
    tables = {id(one.frame.series) for one in sink.deliveries[1:] if one.frame is not None}
    assert len(tables) <= 2  # the intake interns them once


async def test_an_outage_is_survived_and_its_gap_filled(recorded: Recorded) -> None:
    clock, sink = ManualClock(Millis(NOW + SECOND)), RecordingSink()
    async with running_source(clock, sink, url=recorded.url, lookback="5m") as source:
        await within(30, sink, live(1))
        recorded.stop()
        clock.advance(15)
        await eventually(lambda: source.status.health is SourceHealth.RETRYING)
        error = source.status.error or ""
        assert error.startswith(f"Cannot reach Prometheus at {recorded.url}: ")
        assert error.endswith("Check the url, and that the server runs.")
        clock.advance(120)
        await eventually(lambda: source.status.failures >= 2)
        recorded.start()
        clock.advance(60)
        end = NOW + 195 * SECOND
        await within(30, sink, lambda s: end in s.samples("checkout", "request_rate")[0])
        await eventually(lambda: source.status.health is SourceHealth.OK)
        assert source.status.error is None
    times, _ = sink.samples("checkout", "request_rate", history=False)
    assert times.tolist() == list(range(NOW, end + 1, 15_000))


async def test_one_bad_query_shows_in_the_status_and_spares_the_others(
    recorded: Recorded,
) -> None:
    clock, sink = ManualClock(Millis(NOW + SECOND)), RecordingSink()
    queries = [
        {"metric": "broken", "promql": "sum(rate(up[$range])"},
        {"metric": "number", "promql": "1 + 1"},
        {"metric": "alive_ratio", "promql": "avg by (job) (up)", "entity": "job"},
    ]
    keys = {"queries": queries, "presets": ["istio"], "lookback": "0s"}
    async with running_source(clock, sink, url=recorded.url, **keys) as source:
        await within(30, sink, live(1))
        problems = source.status.problems
    assert sink.samples("spans", "alive_ratio")[1].tolist() == [1.0]
    where = f"Prometheus at {recorded.url}: query"
    assert problems[0].startswith("Preset istio: the server has no samples of istio_requests_total")
    assert problems[1].startswith(f"{where} broken of this source was answered 400 (")
    assert "unclosed left parenthesis" in problems[1]
    assert problems[2].startswith(f"{where} number of this source yields a scalar, not a vector.")
    assert len(problems) == 3


async def test_nothing_but_a_bad_query_is_a_permanent_failure(recorded: Recorded) -> None:
    keys = {"queries": [{"metric": "x", "promql": "sum("}], "presets": []}
    clock = ManualClock(NOW)
    async with running_source(clock, RecordingSink(), url=recorded.url, **keys) as source:
        await eventually(lambda: source.status.health is SourceHealth.FAILED)
    assert "query x of this source was answered 400" in (source.status.error or "")


async def test_a_server_without_known_metrics_says_what_to_do(
    prometheus_server: Callable[..., Server],
) -> None:
    server = prometheus_server("")
    clock = ManualClock(NOW)
    async with running_source(clock, RecordingSink(), url=server.url) as source:
        await eventually(lambda: source.status.health is SourceHealth.OK)
    assert "Scrape one of them, or write `queries`." in source.status.problems[0]


async def test_every_preset_query_is_valid_promql(recorded: Recorded) -> None:
    """In every variant: a real server parses and evaluates it."""
    async with PrometheusApi(Connection(url=recorded.url)) as api:
        for name in preset_names():
            preset = load_preset(name)
            for variant in preset.variants:
                known = {**variables_for(15.0, 15.0), **variant.variables}
                for query in (*preset.queries, *preset.edges):
                    promql = expand(query.promql, known, name)
                    await api.query(f"{name}: {promql}", promql, NOW)


async def test_a_live_prometheus_with_a_real_node_exporter(
    prometheus_server: Callable[..., Server], node_exporter: Server
) -> None:
    target = node_exporter.url.removeprefix("http://")
    server = prometheus_server(
        "global: {scrape_interval: 1s}\n"
        "scrape_configs:\n"
        f"  - {{job_name: node, static_configs: [{{targets: ['{target}']}}]}}\n"
    )
    node = Path("/proc/sys/kernel/hostname").read_text().strip()
    own = {
        "metric": "scrape_duration_seconds",
        "promql": "max by (job) (scrape_duration_seconds)",
        "entity": "job",
    }
    scraped = f"{server.url}/api/v1/query?query=node_uname_info"
    await eventually(lambda: b"nodename" in urllib.request.urlopen(scraped).read())
    keys = {"queries": [own], "step": "1s", "lookback": "10s", "presets": ["node_exporter"]}
    sink = RecordingSink()
    async with running_source(SystemClock(), sink, url=server.url, **keys) as source:
        wanted = {"cpu_utilisation", "memory_utilisation", "load_per_cpu", "network_receive"}
        await within(
            60,
            sink,
            lambda s: wanted <= {one.metric for one in s.series if one.entity == node},
        )
        assert source.status.health is SourceHealth.OK
    assert sink.entities[node].kind is EntityKind.NODE  # type: ignore[index]
    _, used = sink.samples(node, "memory_utilisation")
    assert ((used > 0) & (used < 1)).all()
    assert {one.entity for one in sink.series} == {node, "node"}


async def test_a_url_with_the_wrong_path_is_permanent(recorded: Recorded) -> None:
    connection = Connection(url=f"{recorded.url}/prometheus")
    async with PrometheusApi(connection) as api:
        with pytest.raises(PermanentError, match=r"was answered 404.*Check the url: the API lies"):
            await api.query("query x", "up", NOW)
