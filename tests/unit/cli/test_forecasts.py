"""`dos forecasts` against a real server."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from typer.testing import CliRunner

from dos.cli.main import app
from tests.api.fake import CART, DB
from tests.api.served import make_app

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A running DOS with two forecasts, one of them an alarm."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(make_app(), log_level="error", lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20.0)
        listener.close()
    assert not thread.is_alive()


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]) -> None:
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
