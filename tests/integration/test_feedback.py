"""`dos feedback` against a running DOS: said, listed, undone, and still there after a restart."""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from dos.cli.main import app
from tests.conftest import answers, running, unused_port


@pytest.fixture
def config(tmp_path: Path) -> Path:
    keys = {
        "data_dir": str(tmp_path / "data"),
        "server": {"port": unused_port(), "token": "s3cret"},
        "storage": {"checkpoint_every": "1s"},
        "alerting": {"receivers": []},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(keys))
    return path


def serving(config: Path) -> AbstractContextManager[int]:
    port = yaml.safe_load(config.read_text())["server"]["port"]
    command = [sys.executable, "-m", "dos", "serve", "--config", str(config)]
    ready = partial(answers, f"http://127.0.0.1:{port}/readyz")
    return running(command, config.parent / "log", ready)


def feedback(config: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["feedback", *words, "--config", str(config)])


def listed(config: Path, *words: str) -> list[dict[str, object]]:
    shown = feedback(config, "list", "--json", *words)
    assert shown.exit_code == 0, shown.output
    found: list[dict[str, object]] = json.loads(shown.stdout)
    return found


def until_listed(config: Path, count: int, *words: str) -> list[dict[str, object]]:
    """What is listed once the pipeline has taken it in."""
    for _ in range(200):
        if len(found := listed(config, *words)) == count:
            return found
    pytest.fail(f"never {count} entries in the list")


def test_feedback_is_given_undone_and_kept(config: Path) -> None:
    with serving(config):
        given = feedback(
            config, "add", "maintenance", "--entity", "shop/*", "--from", "-1h", "--to", "+1h",
            "--author", "ann", "--note", "new disks", "--json",
        )  # fmt: skip
        assert given.exit_code == 0, given.output
        name = json.loads(given.stdout)["id"]
        missed = feedback(
            config, "add", "missed", "--entity", "db", "--from", "2026-11-01T10:00:00Z",
            "--to", "2026-11-01T11:00:00Z", "--author", "bob",
        )  # fmt: skip
        assert missed.exit_code == 0, missed.output
        assert {one["kind"] for one in until_listed(config, 2)} == {"missed", "maintenance"}
        undone = feedback(config, "undo", name, "--author", "bob", "--note", "cancelled")
        assert "undone by bob: cancelled" in undone.stdout
        (left,) = until_listed(config, 1)
        assert left["kind"] == "missed"
    with serving(config):
        everything = listed(config, "--all")
        told = {str(one["id"]): one for one in everything}
        assert told[name]["author"] == "ann"
        assert told[name]["undone_by"] == "bob"
        assert len(told) == 2


def test_what_goes_wrong_is_said_in_a_line(config: Path) -> None:
    silent = feedback(config, "list")
    assert silent.exit_code == 1
    assert "does not answer" in silent.stderr
    wrong = feedback(config, "add", "missed", "--entity", "db", "--from", "tomorrow")
    assert wrong.exit_code == 2
    with serving(config):
        unknown = feedback(config, "undo", "fb-none")
        assert unknown.exit_code == 1
        assert "There is no feedback 'fb-none'" in unknown.stderr
        half = feedback(config, "add", "false", "--entity", "db")
        assert half.exit_code == 1
        assert "say what it is about" in half.stderr
