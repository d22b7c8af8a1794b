"""A recorded run is decided again to the byte, and a damaged recording says what is wrong."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from dos.app import demo
from dos.app.demo import run_demo
from dos.app.demo_types import DemoOptions
from dos.app.replay_types import ReplayKind, ReplayReport
from dos.app.sentinel import Sentinel
from dos.app.settings import Settings
from dos.app.virtual import play
from dos.evaluate.replay import find, replay, replay_recording, summary
from dos.kit.clock import HOUR, SECOND, ManualClock, Millis
from dos.kit.errors import CorruptDataError, PermanentError
from dos.simulate.source import SimulatorSource
from tests.unit.app import played


def record(settings: Settings, until: Millis) -> None:
    """Play a simulated run into a recording."""

    async def run() -> None:
        clock = ManualClock(played.START)
        sentinel = Sentinel(settings, clock, offload=False)
        await sentinel.open()
        sentinel.start(live=False)
        try:
            source = sentinel.sources[0].source
            assert isinstance(source, SimulatorSource)
            await play(sentinel, clock, "simulator", source.deliveries(until))
        finally:
            await sentinel.close()

    asyncio.run(run())


def recorded_shop(path: Path, **sections: Any) -> Path:
    """The standard run of the shop, recorded."""
    record(
        played.settings(recording={"path": path}, **sections),
        Millis(played.START + played.LENGTH * SECOND),
    )
    return path


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded_shop(tmp_path_factory.mktemp("recordings") / "shop")


@pytest.fixture
def recording(original: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(original, tmp_path / "copy"))


def intact(report: ReplayReport) -> bool:
    assert report.kind is ReplayKind.RECORDING
    assert report.difference is None, report.difference
    return bool(report.identical)


def test_a_recording_is_decided_again_to_the_byte(original: Path) -> None:
    report = replay(original)
    assert intact(report)
    assert report.inputs == len(played.intakes())
    assert report.samples == sum(len(entry.intake.metrics) for entry in played.intakes())
    assert report.decisions == len((original / "decisions.jsonl").read_bytes().splitlines())
    assert report.incidents == 2
    assert find(original) == [original]
    assert summary([report]).sets == ()


def test_a_replay_leaves_the_recording_as_it_was(recording: Path) -> None:
    before = {path: path.read_bytes() for path in recording.rglob("*") if path.is_file()}
    replay(recording)
    assert {path: path.read_bytes() for path in recording.rglob("*") if path.is_file()} == before


def seeds() -> list[Any]:
    """Three each time, the other seventeen with the slow tests."""
    return [pytest.param(n, marks=[pytest.mark.slow] if n > 3 else []) for n in range(1, 21)]


@pytest.mark.parametrize("seed", seeds())
def test_demonstrations_replay_to_the_byte(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "demo"
    if seed > 1:  # most of the work is in the healthy past: as much as is needed to judge
        monkeypatch.setattr(demo, "WARM_UP", 450.0)
    options = DemoOptions(duration=60, seed=seed, speed=0, api=False, record=path)
    report = run_demo(options, None)
    replayed = replay(path)
    assert intact(replayed)
    assert replayed.incidents >= report.detected == len(report.faults) == 1


@pytest.mark.slow
def test_a_recorded_day_replays_to_the_byte(tmp_path: Path) -> None:
    source = played.source_keys(
        world="sketch", step=60.0, scenario=None, incidents="random", chance=0.02, quiet=3600.0
    )
    settings = played.settings(
        sources=[{"type": "simulator", **source}],
        history={"resolution": 60.0, "retention": 7200.0},
        recording={"path": tmp_path / "day"},
    )
    record(settings, Millis(played.START + 24 * HOUR))
    report = replay_recording(tmp_path / "day")
    assert intact(report)
    assert report.inputs > 24 * 60
    assert report.incidents > 0


def test_other_settings_are_a_difference_and_not_an_error(recording: Path) -> None:
    manifest = json.loads((recording / "manifest.json").read_text())
    manifest["settings"]["incidents"]["resolve_after"] = "90s"
    (recording / "manifest.json").write_text(json.dumps(manifest))
    report = replay(recording)
    assert report.identical is False
    assert report.difference is not None
    assert report.difference.startswith("Decision ")
    assert "recorded {" in report.difference
    assert "replayed" in report.difference


def test_a_missing_decision_is_a_difference(recording: Path) -> None:
    path = recording / "decisions.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    report = replay(recording)
    assert report.identical is False
    assert f"Decision {len(lines)}: recorded nothing, replayed {{" in str(report.difference)


def test_a_flipped_byte_in_the_input_names_file_and_position(recording: Path) -> None:
    segment = min((recording / "intake").glob("*.log"))
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 0x40
    segment.write_bytes(data)
    with pytest.raises(CorruptDataError) as refused:
        replay(recording)
    assert f"{segment} is damaged at byte " in str(refused.value)


def test_decisions_cut_in_the_middle_of_a_line(recording: Path) -> None:
    path = recording / "decisions.jsonl"
    data = path.read_bytes()
    path.write_bytes(data[:-10])
    with pytest.raises(CorruptDataError) as refused:
        replay(recording)
    count = data.count(b"\n")
    assert str(refused.value) == (
        f"{path}: line {count} is cut off. Fetch an undamaged copy, or record anew."
    )


@pytest.mark.parametrize("name", ["decisions.jsonl", "manifest.json"])
def test_a_missing_file_is_named(recording: Path, name: str) -> None:
    (recording / name).unlink()
    with pytest.raises(PermanentError) as refused:
        replay_recording(recording)
    assert name in str(refused.value)
    assert "recording" in str(refused.value)


def test_a_recording_without_input(recording: Path) -> None:
    shutil.rmtree(recording / "intake")
    with pytest.raises(PermanentError, match=r"holds no recording: there is no \*.log file"):
        replay(recording)


def test_a_newer_format_says_which_version_wrote_it(recording: Path) -> None:
    manifest = json.loads((recording / "manifest.json").read_text())
    manifest |= {"format": 99, "dos_version": "7.0.0"}
    (recording / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CorruptDataError) as refused:
        replay(recording)
    assert str(refused.value) == (
        f"{recording / 'manifest.json'} has format 99; this DOS reads format 1. "
        "It was written by DOS 7.0.0."
    )


def test_a_damaged_manifest_is_named(recording: Path) -> None:
    (recording / "manifest.json").write_text('{"format": 1')
    with pytest.raises(CorruptDataError, match=r"manifest\.json is damaged: .*record anew"):
        replay(recording)


def test_where_there_is_nothing_to_replay(tmp_path: Path) -> None:
    with pytest.raises(PermanentError):
        find(tmp_path)
