"""Silences begin, hold, are changed and end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dos.alerting.silences import KEPT, Silences
from dos.kit.clock import Millis
from dos.model.matchers import parse_matchers
from dos.model.silence import Silence, SilenceState

NOW = Millis(1_800_000_000_000)
LABELS = {"alertname": "HighCpu", "service": "web"}


def keep(silences: Silences, wanted: Silence, now: Millis) -> Silence:
    *before, kept = silences.plan(wanted, now)
    for one in (*before, kept):
        silences.put(one)
    return kept


def expire(silences: Silences, silence_id: str, now: Millis) -> Silence:
    ended = silences.plan_end(silence_id, now)
    silences.put(ended)
    return ended


def asked(begins: int = 0, lasts: int = 60_000, text: str = "service=web") -> Silence:
    return Silence(
        matchers=parse_matchers(text),
        starts_at=Millis(NOW + begins),
        ends_at=Millis(NOW + begins + lasts),
        created_by="ann",
        comment="new disks",
        updated_at=NOW,
    )


def test_a_silence_holds_between_its_ends() -> None:
    silences = Silences()
    kept = keep(silences, asked(begins=10_000), NOW)
    assert kept.state(NOW) is SilenceState.PENDING
    assert silences.by(LABELS, NOW) is None
    assert silences.by(LABELS, Millis(NOW + 10_000)) == kept
    assert silences.by({"service": "db"}, Millis(NOW + 10_000)) is None
    assert silences.by(LABELS, Millis(NOW + 70_000)) is None


def test_what_has_begun_is_not_rewritten() -> None:
    silences = Silences()
    kept = keep(silences, asked(), NOW)
    later = Millis(NOW + 5_000)
    longer = keep(silences, replace(kept, ends_at=Millis(NOW + 600_000)), later)
    assert longer.id == kept.id
    wider = keep(silences, replace(longer, matchers=parse_matchers("service=~.+")), later)
    assert wider.id != kept.id
    assert wider.starts_at == later
    by_id = {one.id: one for one in silences}
    assert by_id[kept.id].state(later) is SilenceState.EXPIRED
    assert silences.by({"service": "db"}, later) == wider


def test_a_silence_that_has_not_begun_may_be_changed() -> None:
    silences = Silences()
    kept = keep(silences, asked(begins=10_000), NOW)
    moved = keep(silences, replace(kept, starts_at=Millis(NOW + 20_000)), NOW)
    assert moved.id == kept.id
    assert len(list(silences)) == 1


@pytest.mark.parametrize("begins", [0, 30_000])
def test_a_silence_is_expired_once(begins: int) -> None:
    silences = Silences()
    kept = keep(silences, asked(begins=begins), NOW)
    later = Millis(NOW + 5_000)
    assert expire(silences, kept.id, later).state(later) is SilenceState.EXPIRED
    assert silences.by(LABELS, Millis(NOW + 40_000)) is None
    with pytest.raises(ValueError, match="over already"):
        expire(silences, kept.id, later)
    with pytest.raises(KeyError):
        expire(silences, "sil-unknown", later)


def test_one_that_is_over_is_not_revived() -> None:
    silences = Silences()
    kept = keep(silences, asked(), NOW)
    later = Millis(NOW + 120_000)
    again = keep(silences, replace(kept, ends_at=Millis(later + 60_000)), later)
    assert again.id != kept.id
    with pytest.raises(ValueError, match="over already"):
        keep(silences, asked(), later)


def test_silences_that_match_everything_or_never_hold_are_refused() -> None:
    with pytest.raises(ValueError, match="not empty"):
        asked(text="service=~.*")
    with pytest.raises(ValueError, match="end after"):
        asked(lasts=0)


def test_what_ended_long_ago_is_forgotten() -> None:
    silences = Silences()
    kept = keep(silences, asked(), NOW)
    silences.forget(kept.ends_at)
    assert silences.find(kept.id) == kept
    silences.forget(Millis(kept.ends_at + KEPT + 1))
    assert silences.find(kept.id) is None
