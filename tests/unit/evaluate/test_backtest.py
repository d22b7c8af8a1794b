"""Backtests: the same decisions as the run itself, from a recording, a case and the history."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dos.app import wiring
from dos.app.sentinel import Sentinel
from dos.app.settings import Settings
from dos.app.virtual import play
from dos.evaluate.backtest.compare import BACKTEST, Difference, backtest, changes
from dos.evaluate.backtest.past import Known, KnownKind, Past, Stretch, of_history, of_path
from dos.evaluate.backtest.run import Page, fly, judged, tally
from dos.kit.clock import SECOND, ManualClock, Millis
from dos.kit.errors import PermanentError
from dos.model.events import AnomalyStarted, NotificationQueued
from dos.model.feedback import Feedback, FeedbackKind
from dos.model.ids import EntityId, FeedbackId, IncidentId
from dos.model.incident import Incident
from dos.simulate.source import SimulatorSource
from tests.unit.app import played
from tests.unit.evaluate.recorded import write_case

BEGAN = played.START
FAULTS = ("payment-service", "catalog-db")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory of the standard run, with its recording beside it."""
    home = tmp_path_factory.mktemp("kept")

    async def run() -> None:
        clock = ManualClock(BEGAN)
        sentinel = Sentinel(configured(home), clock, offload=False)
        await sentinel.open()
        sentinel.start(live=False)
        try:
            source = sentinel.sources[0].source
            assert isinstance(source, SimulatorSource)
            until = Millis(BEGAN + played.LENGTH * SECOND)
            await play(sentinel, clock, "simulator", source.deliveries(until))
        finally:
            await sentinel.close()

    asyncio.run(run())
    return home


def configured(home: Path, **sections: object) -> Settings:
    return played.settings(
        data_dir=home / "data",
        storage={"url": None},
        recording={"path": home / "recording"},
        **sections,
    )


def pages_of_the_run() -> list[tuple[str, int]]:
    """Whom the run itself told when, one per incident, in order of time."""
    first: dict[str, int] = {}
    for step in played.uninterrupted():
        for one in step.events:
            if isinstance(one.event, NotificationQueued):
                first.setdefault(str(one.event.notification.alert.incident_id), one.at)
    return list(first.items())


def false_label(incident: Incident | Page, name: str = "fb-1") -> Feedback:
    return Feedback(
        id=FeedbackId(name),
        kind=FeedbackKind.FALSE,
        author="ann",
        given_at=BEGAN,
        entities=tuple(incident.entities),
        start=incident.began_at,
        end=incident.resolved_at or Millis(incident.began_at + 1),
    )


# ------------------------------------------------------------------------------- the three pasts


def test_a_recording_tells_what_the_run_told(kept: Path) -> None:
    past = of_path(kept / "recording")
    assert past.settings is not None
    flight = fly(past, past.settings)
    # The recording has no receivers, so everybody is told who would be; ids and times are equal.
    whole = fly(replace(past, receivers=played.RECEIVERS), past.settings)
    assert [(page.incident, page.told_at) for page in whole.pages] == pages_of_the_run()
    assert [page.root for page in flight.pages] == list(FAULTS)
    events = [one.event for step in played.uninterrupted() for one in step.events]
    assert flight.anomalies == sum(isinstance(one, AnomalyStarted) for one in events)
    assert flight.samples == sum(len(entry.intake.metrics) for entry in played.intakes())


def test_only_the_end_of_a_recording_may_be_judged(kept: Path) -> None:
    past = of_path(kept / "recording", since=played.LENGTH - 150)
    assert past.settings is not None
    assert [page.root for page in fly(past, past.settings).pages] == [FAULTS[1]]


async def test_the_kept_history_leads_to_the_same_pages(kept: Path) -> None:
    settings = configured(kept)
    past = await of_history(settings, Stretch(since=played.LENGTH + 300, learn=played.HISTORY))
    flight = fly(past, settings)
    assert [page.root for page in flight.pages] == list(FAULTS)
    for page, (_, told_at) in zip(flight.pages, pages_of_the_run(), strict=True):
        assert abs(page.told_at - told_at) <= 2 * played.STEP * SECOND


async def test_labels_judge_the_pages(kept: Path) -> None:
    settings = configured(kept)
    past = await of_history(settings, Stretch(since=played.LENGTH + 300, learn=played.HISTORY))
    first, second = fly(past, settings).pages
    confirmed = replace(false_label(second, "fb-2"), kind=FeedbackKind.CONFIRMED)
    labels = (false_label(first), confirmed)
    known = replace(past, labels=labels, known=(known_of(second),))
    flight = fly(known, settings)
    assert [(page.false, page.about) for page in flight.pages] == [(True, None), (False, "real")]
    assert (flight.tally.right, flight.tally.false, flight.tally.found) == (1, 1, 1)


def test_a_recorded_case_is_judged_by_its_truth(tmp_path: Path) -> None:
    past = of_path(write_case(tmp_path / "set" / "case-001"))
    flight = fly(past, Settings.model_validate({"storage": {"url": wiring.IN_MEMORY}}))
    assert [one.kind for one in past.known] == [KnownKind.RECORDED]
    assert (flight.tally.known, flight.tally.found) == (1, 1)
    assert flight.tally.mean_delay is not None
    assert flight.tally.mean_delay <= 60


def test_without_a_past_it_says_what_to_give(tmp_path: Path) -> None:
    settings = played.settings(data_dir=tmp_path, storage={"url": None})
    with pytest.raises(PermanentError, match="There is no history in"):
        asyncio.run(of_history(settings, Stretch()))


# ------------------------------------------------------------------------------------ differences


def test_the_same_configuration_changes_no_page(kept: Path) -> None:
    past = of_path(kept / "recording")
    assert past.settings is not None
    report = backtest(past, past.settings, past.settings)
    assert report.changes == ()
    assert report.other is not None
    assert report.other.pages == report.present.pages
    assert BACKTEST.validate_json(BACKTEST.dump_json(report)) == report


def test_a_deaf_configuration_loses_pages_and_an_eager_one_is_earlier(kept: Path) -> None:
    past = of_path(kept / "recording")
    assert past.settings is not None
    deaf = played.settings(detect={"threshold": {"minimum": 100.0}, "confirm": 50.0})
    lost = backtest(past, past.settings, deaf).changes
    assert Difference.GONE in {one.difference for one in lost}
    eager = played.settings(alerting={"group_wait": 0.0, "receivers": []})
    moved = backtest(past, past.settings, eager).changes
    assert [one.difference for one in moved] == [Difference.EARLIER] * 2
    assert all(0 < one.seconds <= 15 for one in moved)
    back = backtest(past, eager, past.settings).changes
    assert [one.difference for one in back] == [Difference.LATER] * 2


def test_the_effect_of_work_is_seen_before_it_is_planned(kept: Path) -> None:
    past = of_path(kept / "recording")
    assert past.settings is not None
    work = Feedback(
        id=FeedbackId("fb-work"),
        kind=FeedbackKind.MAINTENANCE,
        author="ann",
        given_at=BEGAN,
        entities=("*",),
        start=BEGAN,
        end=Millis(BEGAN + 150 * SECOND),
    )
    report = backtest(past, past.settings, other_past=replace(past, labels=(work,)))
    assert [(one.difference, one.page.root) for one in report.changes] == [
        (Difference.GONE, FAULTS[0])
    ]


# ------------------------------------------------------------------------------------- the rules


def page(number: int, began: int, resolved: int | None, *entities: str) -> Page:
    return Page(
        incident=IncidentId(f"inc-{number}"),
        told_at=Millis(began + 10_000),
        began_at=Millis(began),
        opened_at=Millis(began + 5_000),
        resolved_at=None if resolved is None else Millis(resolved),
        title=f"trouble {number}",
        severity=None,
        root=None,
        entities=tuple(EntityId(one) for one in entities),
        receivers=("page",),
    )


def known_of(one: Page, name: str = "real") -> Known:
    return Known(
        id=name,
        kind=KnownKind.CONFIRMED,
        start=one.began_at,
        end=one.resolved_at or one.began_at,
        entities=one.entities,
        text="it was real",
    )


def test_pages_are_the_same_when_they_overlap_and_share_an_entity() -> None:
    before = [page(1, 0, 100_000, "a", "b"), page(2, 200_000, 300_000, "c")]
    after = [page(3, 4_000, 90_000, "b"), page(4, 200_000, 300_000, "x")]
    found = list(changes(before, after))
    assert [(one.difference, one.page.incident, one.seconds) for one in found] == [
        (Difference.LATER, "inc-3", 4.0),
        (Difference.GONE, "inc-2", 0.0),
        (Difference.NEW, "inc-4", 0.0),
    ]


def test_of_several_pages_the_closest_is_the_same_one() -> None:
    before = [page(1, 0, None, "a")]
    after = [page(2, 50_000, None, "a"), page(3, 1_000, None, "a")]
    found = {one.page.incident: one.difference for one in changes(before, after)}
    assert found == {"inc-2": Difference.NEW, "inc-3": Difference.LATER}


def test_a_page_is_right_only_near_the_time_and_place_of_what_was_wrong() -> None:
    pages = [page(1, 100_000, 200_000, "a"), page(2, 900_000, None, "a"), page(3, 1, None, "b")]
    real = known_of(pages[0])
    past = Past(name="p", read=lambda: iter(()), known=(real,), labels=(false_label(pages[2]),))
    told = judged(pages, past)
    assert [one.about for one in told] == ["real", None, None]
    assert [one.false for one in told] == [False, False, True]
    counts = tally(told, past, Millis(0), Millis(10**9))
    assert (counts.right, counts.false, counts.unjudged, counts.missed) == (1, 1, 1, ())
    assert counts.mean_delay == 10.0
    later = tally(told, past, Millis(500_000), Millis(10**9))
    assert later.known == 0


def entries_of(past: Past) -> Iterator[int]:
    return (len(entry.intake.feedback) for entry in past.entries())


def test_labels_come_with_the_first_input(kept: Path) -> None:
    past = of_path(kept / "recording")
    told = replace(past, labels=(false_label(page(1, 0, None, "a")),))
    given = list(entries_of(told))
    assert given[0] == 1
    assert sum(given) == 1
