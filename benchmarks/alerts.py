"""A storm of alerts: DOS beside the real Alertmanager, over API v2. Markdown.

    python benchmarks/alerts.py [--seconds 60] [--rate 10000] [--alerts 10000]

Both get the same configuration and the same alerts, one after the other, each as the only one that
runs: `--rate` alerts a second in requests of 500 as Prometheus sends them, of `--alerts` different
ones in 100 groups; one in a hundred is critical and goes to a receiver of its own. Told are how
fast they are taken (as fast as the client can send for the first five seconds), when the first page
came, how many notifications there were by receiver and group interval, whether every critical alert
was told, CPU time and memory. Everything is on loopback and ends by itself.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BATCH = 500
GROUPS = 100
CRITICAL = 100
"""One alert of so many is critical."""
INTERVAL = 10.0
ON_THE_WAY = 3.0
"""Seconds that a notification may wait for those before it."""
FLAT_OUT = 5.0
"""Seconds in which is sent as fast as it is taken."""
CONFIG = """
route:
  receiver: chat
  group_by: [alertname]
  group_wait: 2s
  group_interval: {interval:.0f}s
  repeat_interval: 1h
  routes:
    - matchers: [severity="critical"]
      receiver: pager
receivers:
  - name: chat
    webhook_configs: [{{url: "{hook}/chat"}}]
  - name: pager
    webhook_configs: [{{url: "{hook}/pager"}}]
"""
DOS = """
data_dir: {home}/data
server: {{port: {port}}}
log: {{level: error}}
sources: []
alerting:
  routes_file: {home}/routes.yml
  receivers:
    - {{type: webhook, name: chat, url: "{hook}/chat", allow_hosts: ["127.0.0.1"]}}
    - {{type: webhook, name: pager, url: "{hook}/pager", allow_hosts: ["127.0.0.1"]}}
"""


@dataclass
class Heard:
    """What receivers were told."""

    times: dict[str, list[float]] = field(default_factory=dict)
    """By receiver."""
    groups: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    """By receiver and group."""
    pages: set[str] = field(default_factory=set)
    """Critical alerts that somebody was told of."""


@dataclass(frozen=True)
class Outcome:
    """What one server did."""

    name: str
    taken: float
    """Alerts a second, flat out."""
    kept: float
    """Of the rate asked for, the share that was taken in time."""
    refused: int
    """Requests that were refused and sent again."""
    first: float
    """Seconds from the first critical alert to the first page."""
    most: float
    """Notifications of a group in a group interval, at most."""
    lost: int
    """Critical alerts that nobody was told of."""
    cpu: float
    memory: float
    """MB at the end."""


@contextmanager
def hooks() -> Iterator[tuple[str, Heard]]:
    """Receivers on loopback."""
    heard = Heard()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            now = time.monotonic()
            name = self.path.strip("/")
            heard.times.setdefault(name, []).append(now)
            heard.groups.setdefault((name, body["groupKey"]), []).append(now)
            if name == "pager":
                heard.pages |= {one["labels"]["instance"] for one in body["alerts"]}
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing: the output is a table."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", heard
    finally:
        server.shutdown()
        server.server_close()


def free_port() -> int:
    """One that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def alertmanager(home: Path, port: int, hook: str) -> list[str]:
    """The command that starts the real one."""
    (home / "routes.yml").write_text(CONFIG.format(interval=INTERVAL, hook=hook))
    binary = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if binary is None:
        sys.exit("Alertmanager is not installed.")
    return [
        binary,
        f"--config.file={home / 'routes.yml'}",
        f"--storage.path={home / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        "--log.level=error",
    ]


def dos(home: Path, port: int, hook: str) -> list[str]:
    """The command that starts DOS."""
    (home / "routes.yml").write_text(CONFIG.format(interval=INTERVAL, hook=hook))
    (home / "config.yaml").write_text(DOS.format(home=home, port=port, hook=hook))
    return [sys.executable, "-m", "dos", "serve", "--config", str(home / "config.yaml")]


def posted(first: int, count: int, alerts: int) -> bytes:
    """A request's body: alerts from number `first` on."""
    ends = (datetime.now(UTC) + timedelta(minutes=4)).isoformat()
    rows = []
    for number in range(first, first + count):
        one = number % alerts
        severity = "critical" if one % CRITICAL == 0 else "warning"
        labels = {"alertname": f"A{one % GROUPS}", "instance": f"i{one}", "severity": severity}
        labels |= {"job": "node", "cluster": "eu-1"}
        rows.append({"labels": labels, "annotations": {"summary": f"{one}"}, "endsAt": ends})
    return json.dumps(rows).encode()


def post(url: str, body: bytes) -> bool:
    """Whether it was taken."""
    request = urllib.request.Request(  # noqa: S310  loopback
        f"{url}/api/v2/alerts", body, {"Content-Type": "application/json"}
    )
    try:
        urllib.request.urlopen(request, timeout=30).close()  # noqa: S310  loopback
    except urllib.error.HTTPError as error:
        if error.code == 503:
            return False
        raise
    return True


def storm(url: str, options: argparse.Namespace) -> tuple[float, float, int]:
    """Send; returns alerts a second flat out, share of the rate that was kept, refusals."""
    number = refused = 0

    def send() -> None:
        nonlocal number, refused
        body = posted(number, BATCH, options.alerts)
        while not post(url, body):
            refused += 1
            time.sleep(0.05)
        number += BATCH

    began = time.monotonic()
    while time.monotonic() - began < FLAT_OUT:
        send()
    flat_out = number / (time.monotonic() - began)
    began, before = time.monotonic(), number
    wanted = options.rate * options.seconds
    while number - before < wanted and time.monotonic() - began < options.seconds:
        ahead = (number - before) / options.rate - (time.monotonic() - began)
        if ahead > 0:
            time.sleep(ahead)
        send()
    return flat_out, min(1.0, (number - before) / wanted), refused


def measure(name: str, options: argparse.Namespace) -> Outcome:
    """One server, from its start to its end."""
    with tempfile.TemporaryDirectory() as folder, hooks() as (hook, heard):
        home, port = Path(folder), free_port()
        command = (dos if name == "DOS" else alertmanager)(home, port, hook)
        url = f"http://127.0.0.1:{port}"
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        try:
            wait_for(url)
            began = time.monotonic()
            flat_out, kept, refused = storm(url, options)
            time.sleep(INTERVAL + 5)
            cpu, memory = used(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
        critical = {f"i{one}" for one in range(0, options.alerts, CRITICAL)}
        return Outcome(
            name=name,
            taken=flat_out,
            kept=kept,
            refused=refused,
            first=min(heard.times.get("pager", [float("inf")])) - began,
            most=max((densest(times) for times in heard.groups.values()), default=0),
            lost=len(critical - heard.pages),
            cpu=cpu,
            memory=memory,
        )


def densest(times: list[float]) -> int:
    """Most within one group interval, less what the way to the receiver may differ by."""
    return max(sum(one <= other < one + INTERVAL - ON_THE_WAY for other in times) for one in times)


def wait_for(url: str) -> None:
    """Until it answers."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{url}/api/v2/status", timeout=2).close()  # noqa: S310  loopback
        except OSError:
            time.sleep(0.2)
        else:
            return
    sys.exit("It does not answer.")


def used(pid: int) -> tuple[float, float]:
    """CPU seconds and resident MB of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    status = Path(f"/proc/{pid}/status").read_text()
    kilobytes = int(status.partition("VmRSS:")[2].split()[0])
    return (int(fields[11]) + int(fields[12])) / ticks, kilobytes / 1024


def main() -> None:
    """Measure both, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=10_000.0)
    parser.add_argument("--alerts", type=int, default=10_000)
    options = parser.parse_args()
    head = (
        "server",
        "alerts/s, flat out",
        "share of the rate kept",
        "refused",
        "first page, s",
        "most of a group an interval",
        "critical lost",
        "CPU s",
        "MB",
    )
    print("| " + " | ".join(head) + " |")
    print("| --- |" + " --: |" * (len(head) - 1))
    for name in ("DOS", "Alertmanager"):
        one = measure(name, options)
        print(
            f"| {one.name} | {one.taken:,.0f} | {one.kept:.2f} | {one.refused} | {one.first:.1f} |"
            f" {one.most} | {one.lost} | {one.cpu:.1f} | {one.memory:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
