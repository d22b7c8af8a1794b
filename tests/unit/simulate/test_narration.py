"""The lines of the original sketch, told of the real simulation."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from dos.cli.simulate import app
from dos.kit.clock import ManualClock
from dos.model.ids import EntityId
from dos.simulate.engine import Simulation
from dos.simulate.faults import Fault, FaultType
from dos.simulate.narration import Narrator, tell
from dos.simulate.worlds import shop
from tests.unit.simulate.runs import MONDAY_NOON

CALM = re.compile(r"\[\d\d:\d\d:\d\d\] All services operating normally")
METRICS = re.compile(
    r"\[\d\d:\d\d:\d\d\] 🔄 [\w-]+ metrics: CPU=\d+% \| Memory=\d+% \| Latency=\d+ms \| Errors=\d+%"
)


def test_an_incident_is_told_from_start_to_end() -> None:
    simulation = Simulation(shop(), step_seconds=1.0, start=MONDAY_NOON)
    narrator = Narrator(simulation)
    assert narrator.lines(simulation.tick()) == ["[12:00:01] All services operating normally"]
    target = EntityId("payment-service")
    simulation.inject(Fault(type=FaultType.CPU_SPIKE, target=target, duration=30.0))
    told = [line for _ in range(60) for line in narrator.lines(simulation.tick())]
    assert told[0] == (
        "[12:00:02] 🚨 INCIDENT: CPU spike detected in payment-service (Duration: 30s)"
    )
    assert METRICS.fullmatch(told[1])
    assert any(line.startswith("[12:00:51] ✅ INCIDENT RESOLVED: payment-service") for line in told)
    assert any("checkout-service metrics" in line for line in told)
    assert told[-1] == "[12:01:01] All services operating normally"
    hottest = max(int(m[1]) for line in told if (m := re.search(r"payment.*CPU=(\d+)%", line)))
    assert hottest > 75


async def test_telling_keeps_pace_with_the_clock() -> None:
    clock = ManualClock(MONDAY_NOON)
    simulation = Simulation(shop(), step_seconds=1.0, start=MONDAY_NOON)
    told: list[str] = []
    telling = asyncio.create_task(tell(simulation, clock, told.append, duration=5))
    for _ in range(3):
        await asyncio.sleep(0)
    assert told == []
    for count in range(1, 6):
        clock.advance(1)
        for _ in range(3):
            await asyncio.sleep(0)
        assert len(told) == count
    await telling


def test_run_prints_lines() -> None:
    result = CliRunner().invoke(app, ["run", "--duration", "20s", "--speed", "0", "--seed", "1"])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) >= 20
    assert CALM.fullmatch(lines[0])


def test_run_plays_a_scenario(tmp_path: Path) -> None:
    story = tmp_path / "story.yaml"
    story.write_text("- {at: 5s, fault: error_rate, target: order-service, duration: 10s}\n")
    arguments = ["run", "--world", "sketch", "--duration", "20s", "--speed", "0"]
    result = CliRunner().invoke(app, [*arguments, "--scenario", str(story)])
    assert "🚨 INCIDENT: Error rate increase detected in order-service (Duration: 10s)" in (
        result.stdout
    )


def test_worlds_are_listed() -> None:
    result = CliRunner().invoke(app, ["worlds"])
    assert result.exit_code == 0
    for name in ("shop", "sketch", "generated"):
        assert name in result.stdout


def test_export_wants_a_port() -> None:
    result = CliRunner().invoke(app, ["--export", "here"])
    assert result.exit_code == 2
    assert ":9100" in result.output


def test_the_demo_script_runs_from_a_clone(root: Path) -> None:
    script = root / "simulations" / "demo_simulation.py"
    arguments = ["--speed", "0", "--duration", "30s", "--seed", "2", "--world", "sketch"]
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        capture_output=True,
        check=True,
        encoding="utf-8",
        timeout=60,
    )
    lines = done.stdout.splitlines()
    assert CALM.fullmatch(lines[0])
    assert done.stderr == ""
    wrong = subprocess.run(
        [sys.executable, str(script), "--world", "moon"],
        capture_output=True,
        check=False,
        encoding="utf-8",
        timeout=60,
    )
    assert wrong.returncode == 2
    assert "There is no world 'moon'" in wrong.stderr
