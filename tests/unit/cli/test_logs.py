"""`dos logs`: templates, findings, a baseline, JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dos.cli.main import app


def dos_(*words: object) -> Result:
    return CliRunner().invoke(app, ["logs", *map(str, words)])


def lines(first: int, count: int, extra: dict[int, str] | None = None) -> str:
    """`count` seconds of a service's log, from minute `first` on."""
    found = []
    for second in range(count):
        minute, rest = divmod(first * 60 + second, 60)
        time = f"2026-11-23T{9 + minute // 60:02d}:{minute % 60:02d}:{rest:02d}Z"
        found += [f"{time} INFO handled request {second * 7919 % 1000} in {20 + second % 9} ms"] * 2
        found += [f"{time} {(extra or {})[second]}"] * 5 if second in (extra or {}) else []
    return "\n".join(found) + "\n"


@pytest.fixture
def healthy(tmp_path: Path) -> Path:
    path = tmp_path / "before.log"
    path.write_text(lines(0, 900))
    return path


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "after.log"
    path.write_text(lines(60, 120, {40: "ERROR disk full: write to /data/17 failed"}))
    return path


def test_templates_and_how_often(healthy: Path) -> None:
    result = dos_(healthy)
    assert result.exit_code == 0, result.output
    assert "1,800 lines, 1 templates, 1 service" in result.stdout
    assert "1,800 100.0%  info  INFO handled request <*> in <*>" in result.stdout
    assert "nothing unusual over time" in result.stdout


def test_what_is_new_beside_a_baseline(healthy: Path, broken: Path) -> None:
    result = dos_(broken, "--baseline", healthy, "--service", "cart")
    assert result.exit_code == 0, result.output
    assert "not in the baseline: 1" in result.stdout
    assert "new lines: 1" in result.stdout
    (found,) = [line for line in result.stdout.splitlines() if "never before" in line]
    assert found.split()[:2] == ["2026-11-23", "10:00:40"], "the time of the file, not a moved one"


def test_json(healthy: Path, broken: Path) -> None:
    result = dos_(broken, "--baseline", healthy, "--service", "cart", "--json")
    document = json.loads(result.stdout)
    assert document["lines"] == 245
    assert document["began"] == "2026-11-23T10:00:00.000Z"
    new = [one for one in document["templates"] if one["new"]]
    assert [(one["template"], one["severity"], one["count"]) for one in new] == [
        ("ERROR disk full: write to <*> failed", "error", 5)
    ]
    (finding,) = document["findings"]
    assert finding["kind"] == "log_new_templates"
    assert 0.5 < finding["score"] < 1


def test_lines_without_times_have_templates_only(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("up 1\nup 2\nup 3\n")
    result = dos_(path)
    assert "3 100.0%        up <*>" in result.stdout
    assert "no times that are understood" in result.stdout


def test_what_a_terminal_could_obey_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(b"\x1b]0;owned\x07 [red]hi\xe2\x80\xae\n")
    result = dos_(path)
    assert "\x1b" not in result.stdout
    assert "[red]hi" in result.stdout


def test_a_file_that_is_not_there() -> None:
    result = dos_("/nonexistent/x.log")
    assert result.exit_code == 1
    assert "cannot be read" in result.stderr


def test_no_lines(tmp_path: Path) -> None:
    (tmp_path / "x.log").touch()
    result = dos_(tmp_path / "x.log")
    assert result.exit_code == 0
    assert "0 lines" in result.stdout
