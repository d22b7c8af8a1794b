"""What follows the live pipeline: a model in shadow and the drift watch, both without effect."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from dos.app.metrics import SelfMetrics
from dos.app.models import ModelBook
from dos.app.pipeline import Pipeline
from dos.app.sentinel import Sentinel
from dos.app.settings import Settings
from dos.app.shadow import Shadow
from dos.app.virtual import play
from dos.bus.base import Entry
from dos.kit.clock import SECOND, ManualClock, Millis
from dos.model.drift import Fit
from dos.model.events import Decisions
from dos.model.intake import Intake
from dos.simulate.source import SimulatorSource
from tests.unit.app import played

BEGIN = 4
"""Inputs before the shadow begins: faults come later than that."""
DEAF = {"confirm": 60.0}


def beside(
    settings: Settings, directory: Path | None = None
) -> tuple[Pipeline, Shadow, list[Decisions]]:
    """The standard run with a shadow from input `BEGIN` on."""
    live = played.pipeline()
    first = live_start()
    decided = played.run(live, played.intakes()[: first + BEGIN])
    shadow = Shadow("other", settings, live, played.RECEIVERS, directory)
    for entry in played.intakes()[first + BEGIN :]:
        decided.append(follow(live, shadow, entry))
    return live, shadow, decided


def live_start() -> int:
    return next(i for i, entry in enumerate(played.intakes()) if not entry.intake.history)


def follow(live: Pipeline, shadow: Shadow, entry: Entry) -> Decisions:
    decisions = live.step(entry.intake, entry.offset)
    shadow.follow(entry.intake, decisions)
    return decisions


def test_a_shadow_changes_nothing_and_is_told_of_the_same_faults(tmp_path: Path) -> None:
    _, shadow, decided = beside(played.settings(), tmp_path)
    assert played.lines(decided) == played.lines(played.uninterrupted())
    status = shadow.status()
    assert status.failure is None
    assert status.inputs > 50
    # Faults begin in the 30th and the 200th second, after the shadow began.
    assert (status.both, status.only_live, status.only_shadow) == (2, 0, 0)
    assert {one.by_shadow for one in status.pages} == {True, False}
    written = (tmp_path / "shadow.jsonl").read_bytes().splitlines()
    assert any(b'"incident_changed"' in line for line in written)


def test_a_deaf_shadow_would_have_missed_what_the_live_one_told() -> None:
    _, shadow, _ = beside(played.settings(detect=DEAF))
    status = shadow.status()
    assert status.only_shadow == 0
    assert status.only_live >= 1
    assert status.anomalies < status.live_anomalies


def test_trouble_in_the_shadow_ends_only_the_shadow(monkeypatch: pytest.MonkeyPatch) -> None:
    live = played.pipeline()
    first = live_start()
    decided = played.run(live, played.intakes()[: first + BEGIN])
    shadow = Shadow("other", played.settings(), live, played.RECEIVERS, None)

    def broken(intake: Intake, offset: int) -> Decisions:
        raise ZeroDivisionError("a network that divides by zero")

    monkeypatch.setattr(shadow._pipeline, "step", broken)
    with capture_logs() as logs:
        for entry in played.intakes()[first + BEGIN :]:
            decided.append(follow(live, shadow, entry))
    assert [one["event"] for one in logs] == ["shadow ended"]
    assert played.lines(decided) == played.lines(played.uninterrupted())
    assert shadow.status().failure == "ZeroDivisionError: a network that divides by zero"


def kept(home: Path, **sections: object) -> Settings:
    keys = {"drift": {"every": 5.0, "reference": 100.0}, **sections}
    return played.settings(data_dir=home, storage={"url": None}, **keys)


async def run(settings: Settings, begin: float, end: float) -> Sentinel:
    """Run the shop from one second to another, and stop."""
    clock = ManualClock(Millis(played.START + round(begin * SECOND)))
    sentinel = Sentinel(settings, clock, offload=False)
    await sentinel.open()
    sentinel.start(live=False)
    try:
        source = sentinel.sources[0].source
        assert isinstance(source, SimulatorSource)
        if sentinel.runner.newest_sample:
            source.resume(sentinel.runner.newest_sample)
        until = Millis(played.START + round(end * SECOND))
        await play(sentinel, clock, "simulator", source.deliveries(until))
        sentinel._keep()
    finally:
        await sentinel.close()
    return sentinel


def test_promotion_takes_effect_at_the_next_start_with_a_baseline(tmp_path: Path) -> None:
    settings = kept(tmp_path)
    file = tmp_path / "deaf.yaml"
    file.write_text("detect: {confirm: 60, parameters: {clip: 4.0}}\n")
    book = ModelBook(tmp_path)
    book.add("deaf", file, settings, played.START)
    book.run_beside("deaf", by="ann", now=played.START)
    first = asyncio.run(run(settings, 0, 200))
    shadow = first.watchers.shadow
    assert shadow is not None
    assert shadow.status().failure is None
    assert shadow.status().only_live == 1
    text = SelfMetrics(first).render().decode()
    assert 'dos_shadow_pages{by="live"} 1.0' in text
    assert "dos_shadow_up 1.0" in text
    book.promote("deaf", by="ann", now=played.START)
    second = asyncio.run(run(settings, 200, 230))
    assert second.settings.detect.confirm == 60
    assert second.watchers.status().running == "deaf"
    assert second.watchers.shadow is None
    parts = second.runner.pipeline.parts
    readings = parts.kernel.readings(parts.host.states[0])
    assert np.isfinite(readings.expected).all()
    book.roll_back(by="ann", now=played.START)
    third = asyncio.run(run(settings, 230, 240))
    assert third.settings.detect == settings.detect


def test_drift_is_watched_exported_and_survives_a_restart(tmp_path: Path) -> None:
    settings = kept(tmp_path)
    first = asyncio.run(run(settings, 0, 60))
    before = {one.group: one for one in first.watchers.drift.readings()}
    assert {one.fit for one in before.values()} == {Fit.LEARNING}
    assert {"latency", "errors", "traffic"} <= set(before)
    second = asyncio.run(run(settings, 60, 420))
    after = {one.group: one for one in second.watchers.drift.readings()}
    for group, one in before.items():
        assert after[group].reference_since == one.reference_since
    assert after["latency"].stability is not None
    text = SelfMetrics(second).render().decode()
    assert 'dos_drift_stability_index{group="latency"}' in text
    assert 'dos_drift_fit{group="errors"}' in text


def test_another_model_begins_another_reference(tmp_path: Path) -> None:
    asyncio.run(run(kept(tmp_path), 0, 60))
    (tmp_path / "drift.json").write_bytes(b"drift 1 another model\n{}")
    again = asyncio.run(run(kept(tmp_path), 60, 90))
    latency = next(o for o in again.watchers.drift.readings() if o.group == "latency")
    assert latency.reference_since >= played.START + 60 * SECOND
    (tmp_path / "drift.json").write_bytes(b"")
    asyncio.run(run(kept(tmp_path), 90, 100))


def test_a_shadow_that_is_not_there_is_said_and_does_no_harm(tmp_path: Path) -> None:
    settings = kept(tmp_path, detect={"shadow": "nowhere"})
    with capture_logs() as logs:
        sentinel = asyncio.run(run(settings, 0, 10))
    assert sentinel.watchers.shadow is None
    assert any(one["event"] == "no shadow" for one in logs)
