"""Checkpoint at any point + the rest of the log == a run that was never interrupted."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dos.app import state, wiring
from dos.app.pipeline import Pipeline
from dos.kit.clock import SECOND, Millis
from dos.kit.errors import CorruptDataError
from dos.model.alert import PostedAlert
from dos.model.events import NotificationQueued
from dos.model.intake import Intake
from dos.model.matchers import parse_matchers
from dos.model.silence import Silence
from tests.unit.app import played

COUNT = len(played.intakes())
CUTS = [0, 1, 2, 3, 9, 12, 15, 20, 28, 44, 50, 60, COUNT - 1, COUNT]
"""Before and after the back-fill, in both incidents, while alerts wait, and at the end."""


def restored(data: bytes, directory: Path) -> Pipeline:
    one = played.pipeline(directory)
    state.load(one, data)
    return one


@pytest.mark.parametrize("cut", CUTS)
def test_a_restart_changes_no_byte(cut: int, tmp_path: Path) -> None:
    entries = played.intakes()
    before = played.pipeline(tmp_path)
    first = played.run(before, entries[:cut])
    data = state.dump(before)
    close(before)
    after = restored(data, tmp_path)
    assert state.dump(after) == data
    second = played.run(after, entries[cut:])
    assert played.lines([*first, *second]) == played.lines(played.uninterrupted())
    close(after)


def test_restarts_after_every_step_change_no_byte(tmp_path: Path) -> None:
    one, decided = played.pipeline(tmp_path), []
    for entry in played.intakes():
        decided += played.run(one, [entry])
        data = state.dump(one)
        close(one)
        one = restored(data, tmp_path)
    assert played.lines(decided) == played.lines(played.uninterrupted())
    close(one)


def close(one: Pipeline) -> None:
    history = one.parts.history
    assert hasattr(history, "close")
    history.close()


def halfway() -> bytes:
    one = played.pipeline()
    played.run(one, played.intakes()[:20])
    return state.dump(one)


def test_posted_alerts_and_silences_survive_a_restart() -> None:
    one = played.pipeline()
    now = played.START
    silence = Silence(
        id="1",
        matchers=parse_matchers("alertname=Hushed"),
        starts_at=now,
        ends_at=Millis(now + 600 * SECOND),
        created_by="ann",
        comment="",
        updated_at=now,
    )
    alerts = tuple(
        PostedAlert(labels=(("alertname", name),), starts_at=now, updated_at=now)
        for name in ("Hushed", "Loud")
    )
    began = one.step(Intake(now=now, alerts=alerts, silences=(silence,)), 0)
    assert [one.event.type for one in began.events] == ["alert_changed", "alert_changed"]
    again = played.pipeline()
    state.load(again, state.dump(one))
    later = Intake(now=Millis(now + 40 * SECOND))
    told = one.step(later, 1)
    assert again.step(later, 1) == told
    names = [
        dict(one.event.notification.alert.labels)["alertname"]
        for one in told.events
        if isinstance(one.event, NotificationQueued)
    ]
    assert names == ["Loud"] * len(played.RECEIVERS)
    assert not one.skim([Intake(now=Millis(now + 50 * SECOND))], 2)


def test_damaged_checkpoints_are_refused() -> None:
    data = halfway()
    with pytest.raises(CorruptDataError, match="not one of this version"):
        state.load(played.pipeline(), b"something else")
    whole = data.index(b"detect") - 9  # what follows may be lost: the baseline is learned again
    for cut in range(9, whole - 1, whole // 40):
        with pytest.raises(CorruptDataError, match="The checkpoint"):
            state.load(played.pipeline(), data[:cut])


def test_a_baseline_of_another_version_is_learned_again_and_the_rest_survives() -> None:
    one = played.pipeline()
    played.run(one, played.intakes()[:20])
    one.parts.kernel.version = "0/older"
    data = state.dump(one)
    fresh = played.pipeline()
    with capture_logs() as logs:
        state.load(fresh, data)
    assert [line["event"] for line in logs] == ["baseline lost"]
    assert "0/older" in logs[0]["reason"]
    assert fresh.seq == one.seq
    assert [i.id for i in fresh.parts.correlator.open] == [i.id for i in one.parts.correlator.open]
    assert len(fresh.parts.host) == len(one.parts.registry)
    played.run(fresh, played.intakes()[20:])
    assert not fresh.parts.correlator.open


def test_wiring_keeps_state_where_the_settings_say(tmp_path: Path) -> None:
    chosen = played.settings(storage={"url": None}, data_dir=tmp_path / "data")
    assert wiring.data_directory(chosen) == tmp_path / "data"
    assert wiring.is_fresh(chosen)
    assert wiring.data_directory(played.settings()) is None
