"""The whole of DOS on a real Prometheus: from a fault in a service to the resolved alert.

A real Prometheus scrapes a real node_exporter and the simulator as an exporter, one target per
service. `dos serve` knows only the Prometheus. The simulator is told to break one service; DOS
must open an incident within a minute, name that service first, tell a webhook, and say so when
it is over.
"""

from __future__ import annotations

import contextlib
import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server, answers, running, unused_port
from tests.receiver import Received, webhook_receiver

SCRAPE = 5
BROKEN = "payment-service"
BASELINE_SECONDS = 110
"""What Prometheus holds when DOS starts: the baseline that is back-filled."""
OPENED_WITHIN = 60.0
RESOLVED_WITHIN = 120.0

PROMETHEUS = """
global: {{scrape_interval: {scrape}s, scrape_timeout: 4s}}
scrape_configs:
  - job_name: services
    http_sd_configs: [{{url: "{simulator}/targets", refresh_interval: 5s}}]
  - job_name: node
    static_configs: [{{targets: ["{node}"]}}]
"""

DOS = """
data_dir: {data}
server: {{port: {port}}}
log: {{format: json}}
history: {{resolution: {scrape}s}}
sources:
  - type: prometheus
    url: {prometheus}
    step: {scrape}s
alerting:
  receivers:
    - type: webhook
      url: {webhook}
      allow_hosts: ["127.0.0.1"]
"""


def get(url: str) -> Any:
    """The JSON at `url`."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def send(url: str, method: str, body: object | None = None) -> None:
    """Send JSON; the answer must be a success."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    urllib.request.urlopen(request, timeout=10).close()


def wait_for(what: str, found: Callable[[], Any], seconds: float) -> Any:
    """Poll until `found()` is true; returns it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := found():
            return result
        time.sleep(0.5)
    pytest.fail(f"{what}: not within {seconds:g} s")


@contextlib.contextmanager
def dos_runs(
    command: list[str], home: Path, prometheus: str, webhook: str, log: Path
) -> Iterator[str]:
    """`dos serve` on a free port; yields its URL, and shows its log when the test fails."""
    port = unused_port()
    home.mkdir(exist_ok=True)
    config = home / "config.yaml"
    config.write_text(
        DOS.format(
            data=home / "data",
            port=port,
            scrape=SCRAPE,
            prometheus=prometheus,
            webhook=webhook,
        )
    )
    url = f"http://127.0.0.1:{port}"
    serve = [*command, "serve", "--config", str(config)]
    try:
        with running(serve, log, partial(answers, f"{url}/healthz")):
            yield url
    except BaseException:
        print(log.read_text()[-6000:])
        raise


@pytest.mark.slow(seconds=240)
@pytest.mark.timeout(600)
def test_from_a_fault_to_the_resolved_alert(
    tmp_path: Path,
    dos_command: list[str],
    prometheus_server: Callable[..., Server],
    node_exporter: Server,
) -> None:
    """Fault injected, incident opened, root named, webhook told, resolved."""
    simulator = f"http://127.0.0.1:{unused_port()}"
    export = [*dos_command, "simulate", "--export", f":{simulator.rpartition(':')[2]}"]
    ready = partial(answers, f"{simulator}/metrics")
    with contextlib.ExitStack() as stack:
        stack.enter_context(running(export, tmp_path / "simulator.log", ready))
        received: Received = stack.enter_context(webhook_receiver())
        prometheus = prometheus_server(
            PROMETHEUS.format(
                scrape=SCRAPE, simulator=simulator, node=node_exporter.url.removeprefix("http://")
            )
        )
        time.sleep(BASELINE_SECONDS)
        log = tmp_path / "dos.log"
        dos = stack.enter_context(
            dos_runs(dos_command, tmp_path / "dos", prometheus.url, received.url, log)
        )
        sees_everything(dos)
        assert get(f"{dos}/api/v1/incidents")["items"] == []

        fault = {"type": "network_latency", "service": BROKEN, "severity": 0.9, "duration": 90}
        injected = time.monotonic()
        send(f"{simulator}/faults", "POST", fault)
        opened = wait_for(
            "the incident", lambda: get(f"{dos}/api/v1/incidents")["items"], OPENED_WITHIN
        )
        delay = time.monotonic() - injected
        [incident] = opened
        ranked = wait_for("the cause", lambda: top_cause(dos, incident["id"]) == BROKEN, 60)
        assert ranked
        wait_for("the firing alert", lambda: received.with_status("firing"), 30)

        send(f"{simulator}/faults", "DELETE")
        wait_for("the resolved alert", lambda: received.with_status("resolved"), RESOLVED_WITHIN)
        resolved = get(f"{dos}/api/v1/incidents/{incident['id']}")
        assert resolved["state"] == "resolved"
        assert len(get(f"{dos}/api/v1/incidents")["items"]) == 1, "one fault, one incident"
        firing = received.with_status("firing")[-1]
        assert firing["alerts"][0]["labels"]["service"] == BROKEN
        print(f"opened {delay:.0f} s after the fault")


def sees_everything(dos: str) -> None:
    """The source works, and services, their dependencies and the node are known."""
    wait_for("the source", lambda: get(f"{dos}/readyz")["sources"][0]["health"] == "ok", 60)
    wait_for("the services", lambda: {BROKEN, "api-gateway"} <= known_services(dos), 30)
    wait_for("the dependency", lambda: ("checkout-service", BROKEN) in known_edges(dos), 30)


def known_services(dos: str) -> set[str]:
    """Ids of the entities DOS knows."""
    return {one["id"] for one in get(f"{dos}/api/v1/services")["items"]}


def known_edges(dos: str) -> set[tuple[str, str]]:
    """Who calls whom, as far as DOS knows."""
    return {(edge["caller"], edge["callee"]) for edge in get(f"{dos}/api/v1/graph")["edges"]}


def top_cause(dos: str, incident: str) -> str | None:
    """The entity ranked first for an incident, if one is."""
    cause = get(f"{dos}/api/v1/incidents/{incident}").get("root_cause")
    return cause["ranked"][0]["entity"] if cause and cause["ranked"] else None
