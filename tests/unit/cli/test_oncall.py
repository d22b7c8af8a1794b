"""`dos oncall`: who is on call, as a table, as JSON and as a calendar."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from icalendar import Calendar
from typer.testing import CliRunner, Result

from dos.cli.main import app

CONFIG = """\
alerting:
  receivers:
    - {type: console, name: anna}
    - {type: console, name: ben}
  schedules:
    - name: primary
      time_zone: Europe/Berlin
      layers:
        - {people: [anna, ben], start: 2026-01-05T09:00}
    - name: office
      layers:
        - {people: [ben], start: 2126-01-05T09:00}
  escalation:
    - steps: [{after: 5m, schedules: [primary]}]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG)
    return file


def oncall(config: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["oncall", *words, "-c", str(config)])


def test_who_is_on_call_now(config: Path) -> None:
    said = oncall(config, "list")
    assert said.exit_code == 0, said.output
    first, second = said.output.splitlines()
    assert first.split()[:3] in (["primary", "anna", "until"], ["primary", "ben", "until"])
    assert first.endswith("(layer 1)")
    assert second == "office  nobody"
    primary, office = json.loads(oncall(config, "list", "-o", "json").output)
    assert primary["on_call"][0]["person"] == first.split()[1]
    assert office == {"name": "office", "on_call": []}


def test_shifts_and_gaps(config: Path) -> None:
    words = ("show", "primary", "--from", "2026-01-01", "--until", "2026-01-13")
    assert oncall(config, *words).output.splitlines() == [
        "2026-01-01T00:00+01:00  2026-01-05T09:00+01:00  nobody",
        "2026-01-05T09:00+01:00  2026-01-12T09:00+01:00  anna  (layer 1)",
        "2026-01-12T09:00+01:00  2026-01-13T00:00+01:00  ben  (layer 1)",
    ]
    first, second = json.loads(oncall(config, *words, "--output", "json").output)
    assert first == {
        "person": "anna",
        "start": "2026-01-05T09:00+01:00",
        "end": "2026-01-12T09:00+01:00",
        "why": "layer 1",
    }
    assert second["person"] == "ben"
    assert len(oncall(config, "show", "primary").output.splitlines()) in (2, 3)


def test_a_schedule_as_a_calendar(config: Path) -> None:
    said = oncall(config, "export", "primary", "--from", "2026-02-01", "--days", "28")
    assert said.exit_code == 0, said.output
    assert said.stdout_bytes.startswith(b"BEGIN:VCALENDAR\r\n")
    events = Calendar.from_ical(said.stdout_bytes).walk("VEVENT")
    assert [str(one["SUMMARY"]) for one in events] == ["ben", "anna", "ben", "anna", "ben"]
    assert events[0]["DTSTART"].dt.isoformat() == "2026-01-26T08:00:00+00:00"


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["show", "nights"], 2, "there are: primary, office"),
        (["show", "primary", "--from", "soon"], 2, "is not a time"),
        (["show", "primary", "--from", "2026-02-01", "--until", "2026-01-01"], 2, "later than"),
        (["show", "primary", "--from", "2026-02-01", "--until", "2036-01-01"], 2, "1098 days"),
        (["show", "primary", "-o", "xml"], 2, "xml"),
        (["export", "primary", "--days", "0"], 2, "--days"),
    ],
)
def test_wrong_usage_is_said(config: Path, words: list[str], code: int, text: str) -> None:
    said = oncall(config, *words)
    assert said.exit_code == code
    assert text in " ".join(said.output.replace("│", " ").split())


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("people: [anna, ben]", "people: [anna, zoe]", "primary: there is no receiver 'zoe'"),
        ("schedules: [primary]", "schedules: [nights]", "there is no schedule 'nights'"),
        ("name: office", "name: primary", "two schedules are called 'primary'"),
        ("Europe/Berlin", "Mars/Base", "there is no time zone 'Mars/Base'"),
    ],
)
def test_the_configuration_is_checked(config: Path, old: str, new: str, text: str) -> None:
    assert CliRunner().invoke(app, ["check-config", str(config)]).exit_code == 0
    config.write_text(CONFIG.replace(old, new))
    said = CliRunner().invoke(app, ["check-config", str(config)])
    assert said.exit_code == 1
    assert text in " ".join(said.output.split())


def test_without_schedules_it_says_so(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("log: {level: info}\n")
    assert "no schedule" in oncall(file, "list").output
    assert "there is none" in oncall(file, "show", "primary").output
