"""Bad input to a running DOS: each kind gets a clear message, loses nothing and stops nothing."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from rich.console import Console

from dos.app.demo_types import ViewState
from dos.app.http import address_of, listen, server_for
from dos.app.sentinel import Sentinel
from dos.app.settings import Settings
from dos.cli.view import LineView
from dos.kit.clock import SystemClock
from dos.model.ids import EntityId
from dos.model.telemetry import SeriesSpec
from tests.conftest import unused_port

WITHIN = 30.0
HOUR_AGO = 3_600_000


class App:
    """A running DOS and a client of its API, in this process."""

    def __init__(self, sentinel: Sentinel, client: httpx2.AsyncClient) -> None:
        self.sentinel = sentinel
        self.client = client

    async def get(self, path: str) -> Any:
        """JSON of a path."""
        return (await self.client.get(path)).json()

    async def push(self, samples: list[dict[str, Any]]) -> Any:
        """Answer to `POST /collect-metrics`, after the pipeline took it."""
        before = self.sentinel.runner.progress.intakes
        body = json.dumps(samples)  # writes NaN and Infinity as Python does
        answer = await self.client.post(
            "/collect-metrics", content=body, headers={"Content-Type": "application/json"}
        )
        if answer.json().get("accepted"):
            await self.until(lambda: self.sentinel.runner.progress.intakes > before)
        return answer.json()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until `holds()`."""
        clock = SystemClock()
        deadline = clock.monotonic() + WITHIN
        while not holds():
            assert clock.monotonic() < deadline, "waited in vain"
            await clock.sleep(0.02)


async def run_app(settings: dict[str, Any], story: Callable[[App], Any]) -> None:
    """Run `story` against DOS with these settings."""
    chosen = Settings.model_validate({"alerting": {"receivers": []}, **settings})
    async with Sentinel(chosen, SystemClock()) as sentinel:
        listening = listen("127.0.0.1", 0)
        server = server_for(sentinel, log_level="warning", takes_signals=False)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            async with httpx2.AsyncClient(base_url=address_of(listening)) as client:
                app = App(sentinel, client)
                await app.until(lambda: server.started)
                await story(app)
        finally:
            server.should_exit = True
            await serving


def refused(metrics: str, reason: str) -> int:
    """The count in `dos_samples_refused_total` of the pushed samples."""
    found = re.search(
        rf'dos_samples_refused_total{{reason="{reason}",source="push"}} (\S+)', metrics
    )
    return int(float(found[1])) if found else 0


async def test_an_unreachable_prometheus_is_said_and_the_rest_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status in /readyz and in the view, retries, an open circuit; the simulator is still read."""
    port = unused_port()

    async def story(app: App) -> None:
        def prometheus() -> Any:
            return app.sentinel.source_statuses()[0]

        await app.until(lambda: prometheus().circuit == "open")
        answer = await app.client.get("/readyz")
        assert answer.status_code == 200
        status, simulator = answer.json()["sources"]
        assert status["health"] == "retrying"
        assert status["error"].startswith(f"Cannot reach Prometheus at http://127.0.0.1:{port}: ")
        assert status["error"].endswith(". Check the url, and that the server runs.")
        assert status["retry_at"] is not None
        assert status["failures"] >= 5
        assert simulator["health"] == "ok"
        taken = app.sentinel.runner.progress.samples
        await app.until(lambda: app.sentinel.runner.progress.samples > taken)
        view = LineView(Console(soft_wrap=True))
        now = app.sentinel.clock.now()
        view.update(
            ViewState(now=now, services=(), incidents=(), sources=app.sentinel.source_statuses())
        )

    await run_app(
        {
            "data_dir": tmp_path / "data",
            "sources": [
                {"type": "prometheus", "url": f"http://127.0.0.1:{port}", "step": "1s"},
                {"type": "simulator", "step": 0.2},
            ],
        },
        story,
    )
    shown = capsys.readouterr().out
    assert "SOURCE prometheus retrying: " in shown
    assert f"127.0.0.1:{port}" in shown


async def test_strange_samples_are_refused_and_counted() -> None:
    """NaN, Inf, duplicates, late and future samples, and what is no sample at all."""

    async def story(app: App) -> None:
        now = app.sentinel.clock.now()

        def sample(at: int, value: float) -> dict[str, Any]:
            return {"service": "cart", "metric": "latency_p95", "value": value, "timestamp": at}

        answer = await app.push(
            [
                sample(now, 0.2),
                sample(now, float("nan")),
                sample(now, float("inf")),
                {"service": "cart", "metric": "latency_p95"},
                {"metric": "latency_p95", "value": 1},
            ]
        )
        assert answer["accepted"] == 1
        assert [(one["index"], one["reason"]) for one in answer["refusals"]] == [
            (1, "value: Input should be a finite number"),
            (2, "value: Input should be a finite number"),
            (3, "value: Field required"),
            (4, "name what was measured in `entity` (or `service`), once"),
        ]
        await app.push([sample(now, 0.3)])
        await app.push([sample(now - 10_000, 0.3)])
        await app.push([sample(now + HOUR_AGO, 0.3)])
        await app.push([sample(now + 1_000, 0.4)])
        metrics = (await app.client.get("/metrics")).text
        assert refused(metrics, "duplicate") == 1
        assert refused(metrics, "out_of_order") == 1
        assert refused(metrics, "future") == 1
        service = await app.get("/api/v1/services/cart")
        assert service["readings"][0]["value"] == 0.4

    await run_app({"storage": {"url": "memory://"}}, story)


async def test_a_counter_that_restarts_is_no_incident() -> None:
    """A reset gives the rate since the restart: never a negative one, never a jump."""

    async def story(app: App) -> None:
        start = app.sentinel.clock.now() - HOUR_AGO
        totals = [10.0 * step for step in range(40)] + [10.0 * step for step in range(1, 40)]
        for step, total in enumerate(totals):
            at = start + 15_000 * step
            key = {"service": "cart", "metric": "requests_total", "kind": "counter"}
            await app.push([{**key, "value": total, "timestamp": at}])
        spec = SeriesSpec(entity=EntityId("cart"), metric="requests_total")
        series = app.sentinel.runner.pipeline.parts.registry.find(spec)
        assert series is not None
        window = app.sentinel.history.window([series], start, start + HOUR_AGO)
        rates = window.values[~(window.values != window.values)]
        assert len(rates) == len(totals) - 1
        assert rates.min() > 0
        assert rates.max() <= 10 / 15 + 1e-6
        assert not app.sentinel.runner.pipeline.parts.correlator.active

    await run_app({"storage": {"url": "memory://"}}, story)


def dos(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    command = [sys.executable, "-m", "dos", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("command", [["check-config"], ["serve", "--config"]])
def test_a_wrong_configuration_names_file_line_and_remedy(
    tmp_path: Path, command: list[str]
) -> None:
    """Both commands refuse it with every mistake, its place, and what to write instead."""
    config = tmp_path / "config.yaml"
    config.write_text(
        "sources:\n  - type: prometheus\n    url: http://127.0.0.1:9090\n    setp: 15s\n"
        "server:\n  port: eighty\nhistory:\n  retention: 2 hours\n"
    )
    answer = dos(*command, str(config))
    assert answer.returncode == 1
    said = (answer.stdout + answer.stderr).replace("\n", " ")
    assert re.search(
        r"config\.yaml:4:5: sources\[0\]\.setp: unknown key; did you mean 'step'", said
    )
    assert re.search(r"config\.yaml:6:9: server\.port: .eighty. is not a whole number", said)
    assert re.search(r"config\.yaml:8:14: history\.retention: .*15s, 5m or 1h30m", said)
    assert "Traceback" not in said


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short recording."""
    home = tmp_path_factory.mktemp("recorded")
    run = ["demo", "--duration", "60s", "--speed", "0", "--no-api", "--report", "json"]
    answer = dos(*run, "--data-dir", str(home / "data"), "--record", str(home / "recording"))
    assert answer.returncode == 0, answer.stderr
    return home / "recording"


@pytest.fixture
def recording(recorded: Path, tmp_path: Path) -> Path:
    """A copy of it to damage."""
    return Path(shutil.copytree(recorded, tmp_path / "recording"))


def test_a_corrupted_recording_names_file_and_position(recording: Path) -> None:
    """A flipped byte, a cut-off file, a missing part: what, where, and what to do."""
    assert dos("replay", str(recording)).returncode == 0
    [log] = (recording / "intake").glob("*.log")
    intact = log.read_bytes()
    log.write_bytes(intact[:5000] + bytes([intact[5000] ^ 1]) + intact[5001:])
    answer = dos("replay", str(recording))
    assert answer.returncode == 1
    said = answer.stderr.replace("\n", " ")
    assert log.name in said
    assert re.search(r"byte \d+", said)
    assert "Fetch an undamaged copy of the recording, or record anew." in said
    log.write_bytes(intact)
    (recording / "decisions.jsonl").unlink()
    answer = dos("replay", str(recording))
    assert answer.returncode == 1
    assert "decisions.jsonl is missing from the recording." in answer.stderr.replace("\n", " ")
    assert "Traceback" not in answer.stderr


def test_a_changed_decision_is_a_difference(recording: Path) -> None:
    """Replay compares: a decision that was tampered with is shown, and the exit code is 1."""
    decisions = recording / "decisions.jsonl"
    text = decisions.read_text()
    decisions.write_text(text.replace('"firing"', '"resolved"', 1))
    answer = dos("replay", str(recording))
    assert answer.returncode == 1
    assert "Decision" in answer.stdout
