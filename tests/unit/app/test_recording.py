"""A recording begins with its run, goes on with it, and belongs to one configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dos.alerting.base import Receiver
from dos.app.recording import MARK, manifest_of, read_manifest
from dos.app.sentinel import Sentinel
from dos.evaluate.replay import replay_recording
from dos.kit.clock import ManualClock
from dos.kit.errors import ConfigError, PermanentError
from dos.model.impact import Severity
from tests.unit.app import played


def build(tmp_path: Path, *, data: str = "data", record: str = "rec", **also: Any) -> Sentinel:
    keys: dict[str, Any] = {
        "storage": {"url": None},
        "data_dir": tmp_path / data,
        "recording": {"path": tmp_path / record},
        **also,
    }
    return Sentinel(played.settings(**keys), ManualClock(played.START), offload=False)


async def run(sentinel: Sentinel, start: int, stop: int, *, kill: bool = False) -> None:
    clock = sentinel.clock
    assert isinstance(clock, ManualClock)
    await sentinel.open()
    sentinel.start(live=False)
    for at, delivery in played.played()[start:stop]:
        clock.set(at)
        await sentinel.take("simulator", delivery)
    if kill:  # no last checkpoint, as after `kill -9`
        sentinel.runner.checkpoint = lambda: None  # type: ignore[method-assign]
    await sentinel.close()


async def test_a_recording_over_restarts_and_kills_replays_to_the_byte(tmp_path: Path) -> None:
    end = len(played.intakes())
    for start, stop, kill in ((0, 12, False), (12, 30, True), (30, 50, True), (50, end, False)):
        await run(build(tmp_path), start, stop, kill=kill)
    report = replay_recording(tmp_path / "rec")
    assert report.difference is None
    assert report.identical
    assert report.inputs == len(played.intakes())
    assert report.incidents == 2


async def test_rules_and_routes_are_part_of_a_recording(tmp_path: Path) -> None:
    routes = tmp_path / "routes.yml"
    routes.write_text(
        "route: {receiver: a, group_wait: 5s, group_by: [alertname]}\n"
        'receivers: [{name: a, webhook_configs: [{url: "http://secret.example"}]}]\n'
    )
    rule = {"alert": "Busy", "metric": "cpu*", "above": 0.01, "for": "15s"}
    rota = tmp_path / "rota.ics"
    rota.write_text(
        "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\nBEGIN:VEVENT\nUID:1\nSUMMARY:b\n"
        "DTSTART:20200101T000000Z\nDTEND:20200108T000000Z\nRRULE:FREQ=WEEKLY\n"
        "END:VEVENT\nEND:VCALENDAR\n"
    )
    alerting = {
        "receivers": [{"type": "console", "name": "a"}, {"type": "console", "name": "b"}],
        "schedules": [{"name": "first", "calendars": [{"file": str(rota)}]}],
        "routes_file": str(routes),
        "rules": [rule],
        "escalation": [{"steps": [{"after": "1m", "receivers": ["a"], "schedules": ["first"]}]}],
    }
    await run(build(tmp_path, alerting=alerting), 0, 60)
    routes.unlink()
    rota.unlink()
    report = replay_recording(tmp_path / "rec")
    assert report.difference is None
    assert report.identical
    written = (tmp_path / "rec" / "decisions.jsonl").read_text()
    assert '"alertname":"Busy"' in written or '["alertname","Busy"]' in written
    assert "Nobody has acknowledged it for 1m." in written
    assert '"receiver":"b"' in written
    assert "secret.example" not in (tmp_path / "rec" / "routes.yml").read_text()
    assert "secret.example" not in (tmp_path / "rec" / "manifest.json").read_text()


async def test_the_last_decisions_that_a_kill_cut_off_are_written_again(tmp_path: Path) -> None:
    await run(build(tmp_path), 0, 30)
    decisions = tmp_path / "rec" / "decisions.jsonl"
    whole = decisions.read_bytes()
    decisions.write_bytes(whole[:-100])
    await run(build(tmp_path), 30, 30)
    assert decisions.read_bytes() == whole


async def test_another_run_may_not_record_into_it(tmp_path: Path) -> None:
    await run(build(tmp_path), 0, 5)
    with pytest.raises(ConfigError, match=r"rec holds the recording of another run.*empty"):
        build(tmp_path, data="other")


async def test_a_run_with_a_past_may_not_begin_to_record(tmp_path: Path) -> None:
    await run(build(tmp_path), 0, 5)
    with pytest.raises(ConfigError, match="has to begin with the run"):
        build(tmp_path, record="fresh")


async def test_other_settings_may_not_go_on_with_it(tmp_path: Path) -> None:
    await run(build(tmp_path), 0, 5)
    with pytest.raises(ConfigError, match="settings are not those"):
        build(tmp_path, incidents={"resolve_after": "77s"})
    await run(build(tmp_path), 5, 8)


@pytest.mark.parametrize("done", ["nothing", "mark", "manifest", "log", "store"])
async def test_a_start_that_was_killed_leaves_nothing_in_the_way(tmp_path: Path, done: str) -> None:
    steps = ["nothing", "mark", "manifest", "log", "store"]
    reached = steps.index(done)
    if reached >= 1:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / MARK).write_text("abcd")
    if reached >= 2:
        head = manifest_of(build(tmp_path, record="other").settings, ())
        (tmp_path / "rec").mkdir()
        text = head.model_copy(update={"run": "abcd"}).model_dump_json()
        (tmp_path / "rec" / "manifest.json").write_text(text)
        (tmp_path / "data" / MARK).write_text("abcd")
    if reached >= 3:
        (tmp_path / "rec" / "intake").mkdir()
    if reached >= 4:
        (tmp_path / "data" / "dos.db").touch()
    await run(build(tmp_path), 0, 5)
    assert replay_recording(tmp_path / "rec").inputs == 5


async def test_a_run_that_went_on_unrecorded_cannot_go_back(tmp_path: Path) -> None:
    await run(build(tmp_path), 0, 5)
    await run(build(tmp_path, recording={"path": None}), 5, 8)
    with pytest.raises(ConfigError, match="holds the recording of another run"):
        build(tmp_path)


def test_the_manifest_keeps_what_decides_and_no_secrets() -> None:
    chosen = played.settings(
        alerting={"receivers": [{"type": "webhook", "url": "https://example.org/hook/SECRET"}]},
        server={"token": "SECRET"},
    )
    receivers = (Receiver(name="webhook", min_severity=Severity.SEV2),)
    manifest = manifest_of(chosen, receivers)
    text = manifest.model_dump_json()
    assert "SECRET" not in text
    assert "example.org" not in text
    assert set(manifest.settings) == {
        *("alerting", "calendars", "detect", "feedback", "history", "impact", "incidents"),
        *("log_lines", "rca", "topology"),
    }
    assert type(manifest).model_validate_json(text) == manifest


def test_where_there_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"holds no recording: there is no manifest\.json"):
        read_manifest(tmp_path)
