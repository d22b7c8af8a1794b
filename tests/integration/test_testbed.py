"""The testbed of real processes: how it lives and ends, and DOS watching it through Prometheus.

In the long test a real Prometheus scrapes the testbed each second, and `dos serve` knows only
that Prometheus. Five services are broken one after the other, each in another way and for real;
DOS has to open an incident and rank that service first within 90 s, and to see that it is over.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dos.simulate.testbed.scrape import configuration
from dos.simulate.testbed.spec import SHOP, edges
from tests.conftest import Server, answers, require_binary, running, unused_port
from tests.integration.test_full_run import get, known_edges, known_services, send, wait_for

FAULTS = (
    ("kill", "checkout"),
    ("errors", "catalog"),
    ("cpu_burn", "payment"),
    ("disk_full", "inventory"),
    ("memory_growth", "cart"),
)
SETTLED = 20.0
"""Seconds after the start in which first connections are made: not a time to learn from."""
BASELINE = 60.0
"""Seconds of healthy life that DOS learns from."""
FOUND_WITHIN = 90.0
OVER_WITHIN = 90.0

DOS = """
data_dir: {data}
server: {{port: {port}}}
log: {{format: json}}
history: {{resolution: 2s}}
sources:
  - type: prometheus
    url: {prometheus}
    step: 2s
    query_offset: 300ms
    lookback: {lookback:g}s
incidents: {{resolve_after: 5s}}
rca: {{reassess_every: 5s}}
"""


@contextlib.contextmanager
def lives(command: list[str], folder: Path, *options: str) -> Iterator[tuple[str, int]]:
    """A testbed that is ready: URL of its door, and process id."""
    port = unused_port()
    door = f"http://127.0.0.1:{port}"
    folder.mkdir(exist_ok=True)
    start = [*command, "simulate", "testbed", "--port", str(port)]
    start += ["--data-dir", str(folder / "data"), *options]
    log = folder / "testbed.log"
    try:
        with running(start, log, partial(answers, f"{door}/healthz")) as pid:
            yield door, pid
    except BaseException:
        print(log.read_text()[-3000:])
        raise


def processes(door: str) -> dict[str, dict[str, Any]]:
    """What the testbed says about its processes, by name."""
    return {one["name"]: one for one in get(f"{door}/status")["processes"]}


def alive(pid: int) -> bool:
    """Whether `pid` runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.slow
@pytest.mark.serial
def test_the_testbed_lives_heals_and_ends(tmp_path: Path, dos_command: list[str]) -> None:
    """All processes answer, one that is killed comes back, and none is left at the end."""
    require_binary("prometheus")
    require_binary("redis-server")
    with lives(dos_command, tmp_path, "--prometheus", "--scrape-interval", "1s") as (door, _):
        before = processes(door)
        assert set(before) == {one.name for one in SHOP} | {"redis", "prometheus"}
        prometheus = f"http://127.0.0.1:{before['prometheus']['port']}/api/v1/query?query="

        def scraped(promql: str) -> dict[str, float]:
            result = get(prometheus + promql)["data"]["result"]
            return {one["metric"].get("job", ""): float(one["value"][1]) for one in result}

        expected = {one.name for one in SHOP} | {"redis", "testbed"}
        wait_for("all targets", lambda: scraped("up==1").keys() == expected, 30)

        send(f"{door}/faults", "POST", {"type": "kill", "service": "payment", "duration": 3})
        wait_for("payment is down", lambda: scraped("up==0").keys() == {"payment"}, 15)
        wait_for("payment is up again", lambda: scraped("up==1").keys() == expected, 15)
        after = processes(door)["payment"]
        assert after["restarts"] == 1
        assert after["pid"] != before["payment"]["pid"]
        assert get(f"{door}/status")["requests_total"] > 0
        (fault,) = get(f"{door}/faults")["faults"]
        assert fault["end"] is not None

        pids = [one["pid"] for one in processes(door).values()]
        assert all(alive(one) for one in pids)
    assert not [one for one in pids if alive(one)]
    said = (tmp_path / "testbed.log").read_text()
    assert "restarts: payment 1" in said
    assert list((tmp_path / "data" / "traces").glob("*.jsonl"))


@pytest.mark.slow
@pytest.mark.serial
def test_a_testbed_that_is_killed_leaves_nobody_behind(
    tmp_path: Path, dos_command: list[str]
) -> None:
    door = f"http://127.0.0.1:{unused_port()}"
    command = [*dos_command, "simulate", "testbed", "--port", door.rpartition(":")[2]]
    process = subprocess.Popen([*command, "--data-dir", str(tmp_path)], stdout=subprocess.DEVNULL)
    try:
        wait_for("the testbed", lambda: answers(f"{door}/healthz"), 90)
        pids = [one["pid"] for one in processes(door).values()]
        assert len(pids) >= len(SHOP)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    wait_for("their end", lambda: not [one for one in pids if alive(one)], 10)


def test_a_testbed_of_one_moment_says_what_happened(tmp_path: Path, dos_command: list[str]) -> None:
    command = [*dos_command, "simulate", "testbed", "--port", "0", "--no-redis"]
    command += ["--data-dir", str(tmp_path / "data"), "--duration", "3s"]
    command += ["--fault", "slow_dependency:payment@1s/1s*0.1"]
    command += ["--write-prometheus", str(tmp_path / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "no Redis: carts are kept in the process" in done.stdout
    assert "slow_dependency payment (severity 0.1)" in done.stdout
    assert " requests, 0 failed (0.0%)" in done.stdout
    assert "http_sd_configs" in (tmp_path / "prometheus.yml").read_text()


@contextlib.contextmanager
def watched(command: list[str], home: Path, prometheus: str, lookback: float) -> Iterator[str]:
    """`dos serve` on that Prometheus; yields its URL, and shows its log when the test fails."""
    port = unused_port()
    home.mkdir()
    config, log = home / "config.yaml", home / "dos.log"
    config.write_text(
        DOS.format(data=home / "data", port=port, prometheus=prometheus, lookback=lookback)
    )
    url = f"http://127.0.0.1:{port}"
    try:
        serve = [*command, "serve", "--config", str(config)]
        with running(serve, log, partial(answers, f"{url}/healthz")):
            yield url
    except BaseException:
        print(log.read_text()[-6000:])
        raise


def incidents(dos: str) -> list[dict[str, Any]]:
    """All of them, with their causes."""
    listed = get(f"{dos}/api/v1/incidents")["items"]
    return [get(f"{dos}/api/v1/incidents/{one['id']}") for one in listed]


def all_resolved(dos: str) -> bool:
    """Whether nothing is open."""
    return all(one["state"] == "resolved" for one in get(f"{dos}/api/v1/incidents")["items"])


def first_of(incident: dict[str, Any]) -> str | None:
    """The entity ranked first, if one is."""
    cause = incident.get("root_cause")
    return cause["ranked"][0]["entity"] if cause and cause["ranked"] else None


def found(dos: str, service: str, known: set[str]) -> dict[str, Any] | None:
    """A new incident in which `service` is ranked first."""
    new = [one for one in incidents(dos) if one["id"] not in known]
    return next((one for one in new if first_of(one) == service), None)


@pytest.mark.slow
@pytest.mark.serial
@pytest.mark.timeout(900)
def test_five_real_faults_are_found_and_ranked_first(
    tmp_path: Path, dos_command: list[str], prometheus_server: Callable[..., Server]
) -> None:
    require_binary("redis-server")
    with contextlib.ExitStack() as stack:
        door, _ = stack.enter_context(lives(dos_command, tmp_path / "testbed"))
        prometheus = prometheus_server(configuration(door, scrape_interval=1.0))
        time.sleep(SETTLED + BASELINE)
        dos = stack.enter_context(
            watched(dos_command, tmp_path / "dos", prometheus.url, lookback=BASELINE)
        )
        wait_for("the source", lambda: get(f"{dos}/readyz")["sources"][0]["health"] == "ok", 60)
        names = {one.name for one in SHOP}
        wait_for("all services", lambda: names <= known_services(dos), 30)
        wait_for("all edges", lambda: edges() <= known_edges(dos), 30)

        for kind, service in FAULTS:
            wait_for("nothing is open", lambda: all_resolved(dos), OVER_WITHIN)
            known = {one["id"] for one in incidents(dos)}
            injected = time.monotonic()
            send(f"{door}/faults", "POST", {"type": kind, "service": service, "duration": 120})
            wait_for(
                f"{kind} of {service}, ranked first",
                partial(found, dos, service, known),
                FOUND_WITHIN,
            )
            print(f"{kind} of {service}: ranked first after {time.monotonic() - injected:.1f} s")
            send(f"{door}/faults", "DELETE")
            wait_for(f"the end of {kind} of {service}", lambda: all_resolved(dos), OVER_WITHIN)
            extra = len(incidents(dos)) - len(known) - 1
            if extra:
                print(f"  and {extra} further incidents")
