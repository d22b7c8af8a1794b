"""What labels make of thresholds, and who is left alone during work."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dos.compute.local import LocalHost
from dos.detect.calendar import CalendarConfig, Calendars
from dos.detect.engine import DetectConfig, DetectKernel
from dos.detect.feedback import FeedbackBook, FeedbackConfig
from dos.kit.clock import DAY, SECOND, Millis
from dos.model.entity import Entity
from dos.model.feedback import Feedback, FeedbackKind, Signal
from dos.model.ids import EntityId, FeedbackId, SeriesId
from dos.model.telemetry import MetricBatch
from tests.unit.detect.watch import ALL, ERRORS, LATENCY, MONDAY, TRAFFIC, interned


def said(
    name: str,
    kind: FeedbackKind,
    strength: float = 0.0,
    *,
    given: int = 100,
    start: int = 10,
    entities: tuple[str, ...] = (),
) -> Feedback:
    signals = (
        (Signal(entity=LATENCY.entity, metric=LATENCY.metric, strength=strength),)
        if strength
        else ()
    )
    return Feedback(
        id=FeedbackId(name),
        kind=kind,
        author="ann",
        given_at=Millis(given),
        entities=entities,
        start=Millis(start),
        end=Millis(start + 50),
        signals=signals,
    )


def book(*entries: Feedback, **config: float) -> FeedbackBook:
    made = FeedbackBook(FeedbackConfig(**config), Calendars())
    for one in entries:
        assert made.take(one)
    return made


def test_nothing_said_changes_nothing() -> None:
    assert {book().scale(spec) for spec in ALL} == {1.0}


def test_a_false_page_has_to_be_exceeded_to_be_one_again() -> None:
    told = book(said("a", FeedbackKind.FALSE, 1.5))
    assert told.scale(LATENCY) == pytest.approx(1.65)
    assert told.scale(ERRORS) == 1.0


def test_labels_raise_a_threshold_only_so_far() -> None:
    assert book(said("a", FeedbackKind.FALSE, 50.0)).scale(LATENCY) == 4.0
    told = book(said("a", FeedbackKind.FALSE, 50.0), raise_at_most=2.0)
    assert told.scale(LATENCY) == 2.0


def test_a_true_page_stays_one_whatever_was_false() -> None:
    told = book(said("a", FeedbackKind.FALSE, 3.0), said("b", FeedbackKind.CONFIRMED, 2.0))
    assert told.scale(LATENCY) == pytest.approx(1.8)
    weak = book(said("a", FeedbackKind.FALSE, 3.0), said("b", FeedbackKind.CONFIRMED, 1.05))
    assert weak.scale(LATENCY) == 1.0


def test_what_was_missed_makes_the_signals_of_users_more_sensitive() -> None:
    missed = said("a", FeedbackKind.MISSED, entities=("check*",))
    assert book(missed).scale(LATENCY) == pytest.approx(0.8)
    assert book(missed).scale(TRAFFIC) == 1.0
    again = [replace(missed, id=FeedbackId(f"m{n}")) for n in range(9)]
    assert book(*again).scale(LATENCY) == 0.5


def test_a_strength_counts_against_the_threshold_of_its_time() -> None:
    first = said("a", FeedbackKind.FALSE, 1.5, given=100)
    later = said("b", FeedbackKind.FALSE, 1.2, given=300, start=200)
    assert book(first, later).scale(LATENCY) == pytest.approx(1.1 * 1.2 * 1.65)
    # One that began before the first label was given was measured against the old threshold.
    before = replace(later, start=Millis(50))
    assert book(first, before).scale(LATENCY) == pytest.approx(1.65)


def test_undoing_restores_what_was() -> None:
    told = book(said("a", FeedbackKind.FALSE, 1.5))
    undone = said("a", FeedbackKind.FALSE, 1.5).undone(at=Millis(500), by="bob")
    assert told.take(undone)
    assert told.scale(LATENCY) == 1.0
    assert not told.take(undone)
    assert list(told.labels) == []


def test_labels_count_for_a_time() -> None:
    told = book(said("a", FeedbackKind.FALSE, 1.5), keep=90 * 86_400.0)
    assert not told.expire(Millis(90 * DAY))
    assert told.expire(Millis(90 * DAY + 101))
    assert told.scale(LATENCY) == 1.0


def test_the_state_comes_back_whole() -> None:
    told = book(said("a", FeedbackKind.FALSE, 1.5), said("m", FeedbackKind.MISSED, entities=("x",)))
    again = book()
    again.load(told.dump())
    assert again.dump() == told.dump()
    assert again.scale(LATENCY) == told.scale(LATENCY)


def test_work_is_for_the_entities_and_the_time_it_names() -> None:
    work = said("a", FeedbackKind.MAINTENANCE, entities=("shop/*",))
    told = book(work)
    shop, other = Entity(id=EntityId("shop/cart")), Entity(id=EntityId("db"))
    assert told.muted([shop, other], Millis(20)) == {"shop/cart"}
    assert told.muted([shop, other], Millis(60)) == set()
    assert told.expire(Millis(60))


def test_work_in_a_calendar_counts_too() -> None:
    window = {"start": "2026-01-05T10:00", "end": "2026-01-05T11:00"}
    calendar = CalendarConfig.model_validate(
        {"name": "patching", "kind": "maintenance", "windows": [window], "entities": ["db"]}
    )
    told = FeedbackBook(FeedbackConfig(), Calendars([calendar]))
    db = Entity(id=EntityId("db"))
    assert told.muted([db], Millis(MONDAY + 10 * 3_600_000)) == {"db"}
    assert told.muted([db], Millis(MONDAY + 12 * 3_600_000)) == set()


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize(("scale", "found"), [(1.0, {1, 2}), (2.5, {2}), (20.0, set())])
def test_a_factor_on_the_threshold_decides_what_is_found(
    partitions: int, scale: float, found: set[int]
) -> None:
    host = LocalHost(DetectKernel(DetectConfig()), partitions)
    host.register(interned(ALL))
    host.adjust({SeriesId(0): scale})
    ids = np.arange(len(ALL), dtype=np.int32)
    rng = np.random.default_rng(3)
    stretches = {1: range(150, 160), 2: range(230, 240)}
    factor = {1: 2.2, 2: 8.0}
    seen: set[int] = set()
    for tick in range(260):
        value = 0.1 * np.exp(0.05 * rng.standard_normal(len(ALL)))
        now = next((key for key, ticks in stretches.items() if tick in ticks), 0)
        value[0] *= factor.get(now, 1.0)
        at = np.full(len(ALL), MONDAY + tick * 5 * SECOND, np.int64)
        findings = host.step(MetricBatch(series_id=ids, timestamp=at, value=value))
        if (findings.started & (findings.series_id == 0)).any():
            seen.add(now)
    assert seen == found
