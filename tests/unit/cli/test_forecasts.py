"""`dos forecasts` against a real server."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dos.cli.main import app
from tests.api.fake import CART, DB

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def url(root: Path) -> Iterator[str]:
    """A running DOS with two forecasts, one of them an alarm."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-m", "uvicorn", "--factory", "tests.api.served:make_app"]
        number = listener.fileno()
        process = subprocess.Popen(
            [*command, "--fd", str(number), "--log-level", "error"],
            cwd=root,
            pass_fds=[number],
            env={**os.environ, "PYTHONPATH": "src"},
        )
        try:
            # It listens from the start: what is asked waits until it is there.
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            process.terminate()
            process.wait(20.0)


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where no configuration lies."""
    monkeypatch.chdir(tmp_path)


def test_everything_that_grows_is_shown_soonest_first(url: str) -> None:
    result = RUNNER.invoke(app, ["forecasts", "--url", url])
    assert result.exit_code == 0, result.output
    shown = [line for line in result.output.splitlines() if "disk full" in line]
    assert len(shown) == 2
    assert shown[0].startswith("critical")
    assert DB in shown[0]
    assert shown[1].startswith("watched")
    assert CART in shown[1]


def test_alarms_alone_are_a_problem_for_scripts(url: str) -> None:
    result = RUNNER.invoke(app, ["forecasts", "--alarms", "--json", "--url", url])
    assert result.exit_code == 1
    assert [one["id"] for one in json.loads(result.output)] == ["fct-0"]


def test_nothing_is_said_to_be_nothing(url: str) -> None:
    result = RUNNER.invoke(app, ["forecasts", "--entity", "nobody", "--url", url])
    assert (result.exit_code, result.output.strip()) == (0, "nothing runs out")


def test_a_dos_that_does_not_run_is_said_to_be_silent(free_port: int) -> None:
    result = RUNNER.invoke(app, ["forecasts", "--url", f"http://127.0.0.1:{free_port}"])
    assert result.exit_code == 1
    assert "does not answer" in result.output + result.stderr
