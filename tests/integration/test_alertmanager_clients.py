"""Clients of Alertmanager work with DOS as it is: a real Prometheus, and the real amtool."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server, answers, require_binary, running, unused_port
from tests.integration.test_full_run import get, send, wait_for
from tests.receiver import Received, webhook_receiver

ROUTES = """
global: {resolve_timeout: 3m}
route:
  receiver: team
  group_by: [alertname]
  group_wait: 1s
  group_interval: 2s
  repeat_interval: 1h
  routes:
    - matchers: [severity="info"]
      receiver: nobody
    - matchers: [service="web"]
      receiver: web
inhibit_rules:
  - source_matchers: [alertname="DatacenterDown"]
    target_matchers: [alertname!="DatacenterDown"]
    equal: [dc]
time_intervals:
  - name: off
    time_intervals: [{weekdays: [saturday, sunday], times: [{start_time: 09:00, end_time: 17:00}]}]
receivers:
  - name: team
    webhook_configs: [{url: "http://secret.example/hook"}]
  - name: web
  - name: nobody
"""
CONFIG = """
data_dir: {home}/data
server: {{port: {port}}}
log: {{format: json}}
alerting:
  routes_file: {home}/routes.yml
  receivers:
    - {{type: webhook, name: team, url: "{hook}", allow_hosts: ["127.0.0.1"]}}
    - {{type: console, name: web}}
sources: []
"""
RULES = """
groups:
  - name: always
    interval: 1s
    rules:
      - alert: TargetDown
        expr: up == 0
        labels: {severity: critical}
        annotations: {summary: "{{ $labels.job }} is down"}
"""
PROMETHEUS = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}"]
alerting:
  alertmanagers:
    - api_version: v2
      static_configs: [{{targets: ["{dos}"]}}]
scrape_configs:
  - job_name: gone
    static_configs: [{{targets: ["{target}"]}}]
"""


@dataclass(frozen=True)
class Running:
    """DOS, and the webhook of its receiver `team`."""

    url: str
    received: Received
    dos: list[str]
    """How to start it."""

    def amtool(self, *words: str) -> str:
        """What amtool says; it has to succeed."""
        command = [require_binary("amtool"), f"--alertmanager.url={self.url}", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def command(self, *words: str) -> str:
        """What a command of DOS says of it; it has to succeed."""
        command = [*self.dos, *words, "--url", self.url]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=True
        ).stdout

    def status_of(self, name: str) -> str:
        """Where an alert that fires stands, as the list has it."""
        lines = self.command("alerts", "list").splitlines()
        (line,) = [one for one in lines if name in one]
        return line.split()[2]

    def names(self, *words: str) -> set[str]:
        """Names of the alerts that amtool finds."""
        found = json.loads(self.amtool("alert", "query", "-o", "json", *words))
        return {one["labels"]["alertname"] for one in found}

    def told(self, name: str, state: str) -> list[dict[str, Any]]:
        """Payloads of which an alert with that name and state is part."""
        return [
            body
            for _, body in list(self.received.requests)
            for one in body["alerts"]
            if one["labels"]["alertname"] == name and one["status"] == state
        ]


@pytest.fixture
def dos(tmp_path: Path, dos_command: list[str]) -> Iterator[Running]:
    port = unused_port()
    url, log = f"http://127.0.0.1:{port}", tmp_path / "dos.log"
    (tmp_path / "routes.yml").write_text(ROUTES)
    with contextlib.ExitStack() as stack:
        received = stack.enter_context(webhook_receiver())
        config = tmp_path / "config.yaml"
        config.write_text(CONFIG.format(home=tmp_path, port=port, hook=received.url))
        serve = [*dos_command, "serve", "--config", str(config)]
        stack.enter_context(running(serve, log, partial(answers, f"{url}/healthz")))
        try:
            yield Running(url, received, dos_command)
        except BaseException:
            print(log.read_text()[-4000:])
            raise


@contextlib.contextmanager
def metrics_at(port: int) -> Iterator[None]:
    """Something that can be scraped."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"x 1\n")

        def log_message(self, *_: object) -> None:
            """Keep the test's output readable."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.timeout(120)
def test_a_real_prometheus_sends_its_alerts(
    dos: Running, tmp_path: Path, prometheus_server: Callable[..., Server]
) -> None:
    target = f"127.0.0.1:{unused_port()}"
    (tmp_path / "rules.yml").write_text(RULES)
    prometheus_server(
        PROMETHEUS.format(
            rules=tmp_path / "rules.yml", dos=dos.url.removeprefix("http://"), target=target
        )
    )
    (first, *_) = wait_for("the page", lambda: dos.told("TargetDown", "firing"), 40)
    (alert,) = first["alerts"]
    assert first["version"] == "4"
    assert first["groupLabels"] == {"alertname": "TargetDown"}
    assert alert["labels"]["instance"] == target
    assert alert["annotations"] == {"summary": "gone is down"}
    assert "/graph?" in alert["generatorURL"]
    (shown,) = [
        one
        for one in get(f"{dos.url}/api/v1/alerts")["items"]
        if one["labels"]["alertname"] == "TargetDown"
    ]
    assert shown["severity"] == "sev1"
    with metrics_at(int(target.rpartition(":")[2])):  # the target comes up
        wait_for("the resolve", lambda: dos.told("TargetDown", "resolved"), 40)
    assert len(dos.told("TargetDown", "firing")) == 1


@pytest.mark.timeout(120)
def test_amtool_adds_queries_and_silences(dos: Running) -> None:
    dos.amtool("alert", "add", "DiskFull", "service=db", "--annotation=summary=94 % used")
    dos.amtool("alert", "add", "Slow", "service=web")
    dos.amtool("alert", "add", "Chatter", "severity=info")
    wait_for("the alerts", lambda: dos.names() >= {"DiskFull", "Slow", "Chatter"}, 10)
    assert dos.names("service=~d.") == {"DiskFull"}
    assert dos.names("--receiver=web") == {"Slow"}
    (page,) = wait_for("the page", lambda: dos.told("DiskFull", "firing"), 10)
    assert page["status"] == "firing"
    assert not dos.told("Slow", "firing")
    assert not dos.told("Chatter", "firing")

    silence = dos.amtool(
        "silence", "add", "--author=ann", "--comment=new disks", "-d", "1h", "alertname=Hushed"
    ).strip()
    wait_for("the silence", lambda: silence in dos.amtool("silence", "query", "-q"), 10)
    dos.amtool("alert", "add", "Hushed", "service=db")
    wait_for("it is silenced", lambda: dos.names("--silenced") == {"Hushed"}, 10)
    assert "Hushed" not in dos.names("--active")
    assert dos.status_of("Hushed") == "suppressed"
    assert dos.status_of("used") == "firing"
    time.sleep(4)
    assert not dos.told("Hushed", "firing")
    dos.amtool("silence", "expire", silence)
    wait_for("it is told after all", lambda: dos.told("Hushed", "firing"), 15)
    listed = dos.command("alerts", "list")
    (hushed,) = [line.split()[0] for line in listed.splitlines() if "Hushed" in line]
    why = dos.command("alerts", "explain", hushed)
    assert "team: not told: silenced" in why
    assert "team: told that it began" in why
    assert "ann" in dos.command("alerts", "ack", hushed, "--author", "ann")
    wait_for("it is acknowledged", lambda: "ann is on it" in dos.command("alerts", "list"), 10)
    assert dos.status_of("Hushed") == "acknowledged"
    said = dos.command("alerts", "ack", hushed, "--author", "ann", "--phase", "mitigating")
    assert said == f"{hushed}: mitigating, by ann\n"
    wait_for("it is mitigated", lambda: dos.status_of("Hushed") == "mitigating", 10)
    assert "somebody is on it" in dos.command("alerts", "explain", hushed)
    assert silence not in dos.amtool("silence", "query", "-q")
    (ended,) = json.loads(dos.amtool("silence", "query", "-o", "json", "--expired"))
    assert (ended["id"], ended["status"]["state"]) == (silence, "expired")

    dos.amtool("alert", "add", "DatacenterDown", "dc=eu")
    dos.amtool("alert", "add", "Unreachable", "dc=eu")
    wait_for("it is inhibited", lambda: dos.names("--inhibited") == {"Unreachable"}, 10)
    wait_for("the root is told", lambda: dos.told("DatacenterDown", "firing"), 10)
    assert not dos.told("Unreachable", "firing")


@pytest.mark.timeout(120)
def test_amtool_reads_the_routes(dos: Running, tmp_path: Path) -> None:
    assert "secret.example" not in dos.amtool("config", "show")
    assert "resolve_timeout: 3m" in dos.amtool("config", "show")
    shown = tmp_path / "shown.yml"
    shown.write_text(get(f"{dos.url}/api/v2/status")["config"]["original"])
    dos.amtool("check-config", str(shown))
    assert "service" in dos.amtool("config", "routes", "show")
    assert dos.amtool("config", "routes", "test", "service=web").strip() == "web"
    assert dos.amtool("config", "routes", "test", "severity=info").strip() == "nobody"
    assert {one["name"] for one in get(f"{dos.url}/api/v2/receivers")} == {"team", "web", "nobody"}


@pytest.mark.timeout(120)
def test_groups_are_as_they_are_told(dos: Running) -> None:
    assert get(f"{dos.url}/api/v2/alerts/groups") == []
    send(f"{dos.url}/api/v2/alerts", "POST", [{"labels": {"alertname": "A", "x": ""}}])
    (group,) = wait_for("the group", lambda: get(f"{dos.url}/api/v2/alerts/groups"), 10)
    assert group["receiver"] == {"name": "team"}
    assert group["labels"] == {"alertname": "A"}
    assert group["alerts"][0]["labels"] == {"alertname": "A"}


@pytest.mark.timeout(120)
def test_a_real_alertmanager_tells_by_its_webhook(dos: Running, tmp_path: Path) -> None:
    binary, port = require_binary("prometheus-alertmanager"), unused_port()
    theirs = f"http://127.0.0.1:{port}"
    config = {
        "route": {"receiver": "dos", "group_wait": "0s", "group_interval": "1s"},
        "receivers": [
            {
                "name": "dos",
                "webhook_configs": [{"url": f"{dos.url}/api/v1/webhooks/alertmanager"}],
            }
        ],
    }
    (tmp_path / "theirs.yml").write_text(json.dumps(config))
    command = [
        binary,
        f"--config.file={tmp_path / 'theirs.yml'}",
        f"--storage.path={tmp_path / 'theirs'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    amtool = [require_binary("amtool"), f"--alertmanager.url={theirs}", "alert", "add"]
    alert = ["alertname=DiskFull", "service=db", "severity=critical"]
    with running(command, tmp_path / "theirs.log", lambda: answers(f"{theirs}/-/ready")):
        subprocess.run([*amtool, *alert], check=True, timeout=30)
        wait_for("the page", lambda: dos.told("DiskFull", "firing"), 30)
        ended = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        subprocess.run([*amtool, *alert, f"--end={ended}"], check=True, timeout=30)
        wait_for("its end", lambda: dos.told("DiskFull", "resolved"), 30)
