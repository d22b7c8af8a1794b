"""What leads out of the testbed: targets, node metrics, the HTTP door, the command line."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
import yaml
from typer.testing import CliRunner

from dos.cli.main import app
from dos.kit.clock import ManualClock, Millis, SystemClock
from dos.kit.errors import PermanentError
from dos.simulate.testbed import scrape
from dos.simulate.testbed.children import Launch
from dos.simulate.testbed.control import Control
from dos.simulate.testbed.faults import FaultKind, InjectedFault
from dos.simulate.testbed.nodeagent import process_text, used_bytes
from dos.simulate.testbed.options import Options
from dos.simulate.testbed.spec import MEBIBYTE, SHOP
from dos.simulate.testbed.status import status_of, summary
from dos.simulate.testbed.supervisor import Testbed

NOON = Millis(1_760_000_400_000)
DOOR = "http://127.0.0.1:9400"


@asynccontextmanager
async def idle(folder: Path) -> AsyncIterator[tuple[Testbed, ManualClock, httpx2.AsyncClient]]:
    """A testbed that was not started, and a client of its door."""
    clock = ManualClock(NOON)
    testbed = Testbed(Options(folder=folder, redis=False), clock)
    transport = httpx2.ASGITransport(Control(testbed, DOOR, clock).app)
    async with httpx2.AsyncClient(transport=transport, base_url=DOOR) as client:
        yield testbed, clock, client


async def test_every_service_and_the_door_are_targets(tmp_path: Path) -> None:
    async with idle(tmp_path) as (testbed, _, client):
        targets = (await client.get("/targets")).json()
        jobs = {one["labels"]["job"]: one["targets"] for one in targets}
        assert set(jobs) == {one.name for one in SHOP} | {"testbed"}
        assert jobs["testbed"] == ["127.0.0.1:9400"]
        assert jobs["payment"] == [f"127.0.0.1:{testbed.children['payment'].port}"]
        assert (await client.get("/healthz")).status_code == 503
        assert (await client.get("/redis/metrics")).status_code == 503


async def test_faults_are_injected_listed_and_cleared(tmp_path: Path) -> None:
    async with idle(tmp_path) as (testbed, clock, client):
        fault = {"type": "slow_dependency", "service": "payment", "severity": 0.4, "duration": "9s"}
        answer = await client.post("/faults", json=fault)
        assert answer.status_code == 201
        assert answer.json()["start"] == "2025-10-09T09:00:00.000Z"
        assert testbed.records.slowness("payment") == 0.4
        clock.advance(3)
        assert status_of(testbed, clock).faults == (("slow_dependency", "payment", 6.0),)
        (listed,) = (await client.delete("/faults")).json()["faults"]
        assert listed["end"] == "2025-10-09T09:00:03.000Z"
        assert (await client.get("/faults")).json()["faults"] == [listed]
        assert "09:00:00 to 09:00:03: slow_dependency payment (severity 0.4)" in summary(testbed)


@pytest.mark.parametrize(
    ("body", "kind", "status", "reason"),
    [
        (b'{"type": "kill", "service": "cart"}', "text/plain", 415, "application/json"),
        (b"{}", "application/json", 422, "type: Field required."),
        (b'{"type": "kill", "service": "x"}', "application/json", 422, "no service 'x'"),
        (b'{"type": "kill", "service": "redis"}', "application/json", 422, "without a Redis"),
        (b" " * 70_000, "application/json", 413, "at most 65536 bytes"),
    ],
)
async def test_what_cannot_be_broken_is_refused(
    tmp_path: Path, body: bytes, kind: str, status: int, reason: str
) -> None:
    async with idle(tmp_path) as (testbed, _, client):
        answer = await client.post("/faults", content=body, headers={"Content-Type": kind})
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert reason in answer.json()["detail"]
        assert testbed.records.all == ()


async def test_the_agent_says_what_a_kubelet_would(tmp_path: Path) -> None:
    volume = tmp_path / "volumes" / "inventory"
    volume.mkdir(parents=True)
    (volume / "stock.db").write_bytes(b"x" * 1000)
    async with idle(tmp_path) as (_, _, client):
        text = (await client.get("/metrics")).text
    claim = 'namespace="testbed",persistentvolumeclaim="data-inventory"'
    assert f"kubelet_volume_stats_used_bytes{{{claim}}} 1000.0" in text
    assert f"kubelet_volume_stats_capacity_bytes{{{claim}}} {16.0 * MEBIBYTE:g}" in text.replace(
        "1.6777216e+07", f"{16.0 * MEBIBYTE:g}"
    )
    assert (
        'kube_pod_spec_volumes_persistentvolumeclaims_info{namespace="testbed",'
        'persistentvolumeclaim="data-inventory",pod="inventory"} 1.0'
    ) in text
    restarts = 'restarts_total{container="cart",namespace="testbed",pod="cart"} 0.0'
    assert restarts in text
    assert used_bytes(tmp_path / "nothing") == 0


def test_a_foreign_process_is_measured() -> None:
    lines = process_text(os.getpid()).decode().splitlines()
    (memory,) = [one for one in lines if one.startswith("process_resident_memory_bytes ")]
    assert float(memory.split()[1]) > 1e7


def test_the_configuration_finds_the_door() -> None:
    content = yaml.safe_load(scrape.configuration(DOOR, 1.0))
    assert content["global"] == {"scrape_interval": "1s", "scrape_timeout": "900ms"}
    (job,) = content["scrape_configs"]
    assert job["http_sd_configs"][0]["url"] == f"{DOOR}/targets"


def test_the_targets_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "targets.json"
    for port in (1, 2):
        scrape.write_targets(path, [scrape.target("cart", f"127.0.0.1:{port}", "/x")])
    labels = {"job": "cart", "instance": "cart", "__metrics_path__": "/x"}
    assert json.loads(path.read_text()) == [{"targets": ["127.0.0.1:2"], "labels": labels}]
    assert list(tmp_path.iterdir()) == [path]


async def test_the_status_line_names_what_is_down_and_broken(tmp_path: Path) -> None:
    async with idle(tmp_path) as (testbed, clock, client):
        testbed.records.add(InjectedFault(type=FaultKind.KILL, service="cart", duration=30))
        await asyncio.sleep(0)
        line = status_of(testbed, clock).line()
        assert line.startswith("0.0 req/s, 0.0% failed, p95 0 ms; 0/8 up; down: gateway (starting)")
        assert line.endswith("; broken: kill cart (30 s left)")
        shown = (await client.get("/status")).json()
        assert shown["processes"][0]["name"] == "gateway"
        assert shown["faults"] == [{"type": "kill", "service": "cart", "seconds_left": 30.0}]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--fault", "kill"], "is not KIND:SERVICE@START/DURATION"),
        (["--scenario", "none.yaml"], "none.yaml cannot be read"),
    ],
)
def test_the_command_refuses_before_it_starts_anything(options: list[str], reason: str) -> None:
    answer = CliRunner().invoke(app, ["simulate", "testbed", "--port", "0", *options])
    assert answer.exit_code == 1
    assert reason in answer.output


async def test_a_testbed_that_cannot_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One service that dies at once: the others are ended, and its last words are shown."""
    testbed = Testbed(Options(folder=tmp_path, redis=False), SystemClock())
    broken = testbed.children["payment"]
    code = "import sys; print('no such library'); sys.exit(4)"
    command = Launch(command=[sys.executable, "-c", code])
    monkeypatch.setattr(broken, "_launch", lambda _: command)
    with pytest.raises(
        PermanentError, match=r"payment does not start \(exit code 4\).*\n.*no such"
    ):
        await testbed.run(DOOR)
    assert [child.pid for child in testbed.children.values()] == [None] * len(SHOP)


async def test_prometheus_has_to_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    testbed = Testbed(Options(folder=tmp_path, prometheus=True), SystemClock())
    assert not testbed.redis
    with pytest.raises(PermanentError, match="no program `prometheus`"):
        await testbed.run(DOOR)
