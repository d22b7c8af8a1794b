"""Feedback in the pipeline: it is an input like any other, and its effect is repeated with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dos.app import state
from dos.app.pipeline import Pipeline
from dos.bus.base import Entry
from dos.kit.clock import HOUR, MINUTE, Millis
from dos.model.alert import PostedAlert
from dos.model.events import Decisions, FeedbackChanged, IncidentChanged, NotificationQueued
from dos.model.feedback import Feedback, FeedbackKind, Signal
from dos.model.ids import EntityId, FeedbackId
from dos.model.incident import Incident, IncidentReason
from dos.model.intake import Intake
from tests.unit.app import played

FIRST, SECOND_FAULT = "payment-service", "catalog-db"


def work(*entities: str, name: str = "fb-work") -> Feedback:
    return Feedback(
        id=FeedbackId(name),
        kind=FeedbackKind.MAINTENANCE,
        author="ann",
        given_at=played.START,
        entities=entities,
        start=played.START,
        end=Millis(played.START + HOUR),
    )


def with_feedback(entries: Sequence[Entry], live: int, *said: Feedback) -> list[Entry]:
    """The entries, with `said` in the live one of that number."""
    index = [i for i, one in enumerate(entries) if not one.intake.history][live]
    changed = list(entries)
    intake = replace(changed[index].intake, feedback=said)
    changed[index] = replace(changed[index], intake=intake)
    return changed


def roots(decisions: Sequence[Decisions]) -> list[str]:
    found = played.incidents_of(decisions)
    return [one.root_cause.top.entity for one in found if one.root_cause and one.root_cause.top]


def signals(decisions: Sequence[Decisions], root: int) -> tuple[Signal, ...]:
    """All series of an incident, at their worst."""
    incident = played.incidents_of(decisions)[root]
    worst: dict[tuple[EntityId, str], float] = {}
    for step in decisions:
        for one in step.events:
            anomaly = getattr(one.event, "anomaly", None)
            if anomaly is not None and anomaly.id in incident.anomalies:
                strength = -math.log2(max(1 - anomaly.score, 1e-9))
                key = anomaly.entity, anomaly.metric
                worst[key] = max(strength, worst.get(key, 0.0))
    return tuple(Signal(entity=e, metric=m, strength=s) for (e, m), s in worst.items())


def test_work_at_all_entities_opens_no_incident_and_hides_no_anomaly() -> None:
    quiet = played.run(played.pipeline(), with_feedback(played.intakes(), 0, work("*")))
    events = [one.event for step in quiet for one in step.events]
    assert not [one for one in events if isinstance(one, IncidentChanged)]
    assert [one for one in events if isinstance(one, FeedbackChanged)]
    assert [one for one in events if one.type == "anomaly_started"]


def test_posted_alerts_about_an_entity_at_which_work_is_done_are_quiet() -> None:
    made = played.pipeline()

    def alerts(now: Millis) -> tuple[PostedAlert, ...]:
        return tuple(
            PostedAlert(
                labels=(("alertname", "Slow"), ("service", name)),
                starts_at=played.START,
                updated_at=now,
            )
            for name in ("stranger", "another")
        )

    minutes = [Millis(played.START + minute * MINUTE) for minute in range(70)]
    steps = [Intake(now=now, alerts=alerts(now)) for now in minutes]
    steps[0] = replace(steps[0], feedback=(work("stran*"),))
    told = [
        (place, dict(alert.labels)["service"])
        for place, intake in enumerate(steps)
        for one in made.step(intake, place).events
        if isinstance(one.event, NotificationQueued) and one.event.notification.receiver == "pager"
        for alert in one.event.notification.alerts
    ]
    assert {name for place, name in told if place < 60} == {"another"}
    assert "stranger" in {name for place, name in told if place >= 60}


def test_work_at_one_entity_leaves_the_others_watched() -> None:
    abnormal = played.incidents_of(played.uninterrupted())[0].entities
    said = work(*abnormal)
    told = played.run(played.pipeline(), with_feedback(played.intakes(), 0, said))
    assert roots(told) == [SECOND_FAULT]


def test_work_that_is_undone_is_watched_again() -> None:
    entries = with_feedback(played.intakes(), 0, work("*"))
    undone = work("*").undone(at=Millis(played.START + 160_000), by="bob")
    told = played.run(played.pipeline(), with_feedback(entries, 32, undone))
    assert roots(told) == [SECOND_FAULT]


def test_an_incident_that_is_open_when_work_begins_goes_on_to_its_end() -> None:
    opened = next(
        index
        for index, step in enumerate(played.uninterrupted())
        if any(isinstance(one.event, IncidentChanged) for one in step.events)
    )
    before = [e for e in played.intakes()[: opened + 1] if not e.intake.history]
    told = played.run(
        played.pipeline(), with_feedback(played.intakes(), len(before) + 1, work("*"))
    )
    (incident,) = played.incidents_of(told)
    assert incident.reason is IncidentReason.RECOVERED
    first = played.incidents_of(played.uninterrupted())[0]
    assert incident.resolved_at is not None
    assert first.resolved_at is not None
    assert incident.resolved_at >= first.began_at + 60_000  # the fault lasted a minute


def test_what_was_called_false_does_not_page_again() -> None:
    decisions = played.uninterrupted()
    false = Feedback(
        id=FeedbackId("fb-1"),
        kind=FeedbackKind.FALSE,
        author="ann",
        given_at=played.START,
        start=Millis(played.START - HOUR),
        end=played.START,
        # What the first fault shows was labelled before, at four times that strength.
        signals=tuple(replace(s, strength=4 * s.strength) for s in signals(decisions, 0)),
    )
    told = played.run(played.pipeline(), with_feedback(played.intakes(), 0, false))
    assert FIRST in roots(decisions)
    first = [one for one in roots(told) if one == FIRST]
    assert not first or played.incidents_of(told)[0].opened_at > (
        played.incidents_of(decisions)[0].opened_at
    )


def budget_knows(told: Pipeline, incident: Incident) -> bool | None:
    """Whether the page budget counts an incident as one for nothing; None: by chance."""
    past = told.parts.correlator._state.budget.past
    (one,) = [one for one in past if one.incident_id == incident.id]
    return bool(one.nothing) if one.labelled else None


def test_labels_on_incidents_reach_the_page_budget_open_or_over() -> None:
    first, second = played.incidents_of(played.uninterrupted())
    assert first.resolved_at is not None
    live = [entry.intake.now for entry in played.intakes() if not entry.intake.history]
    while_open = next(i for i, now in enumerate(live) if now > first.opened_at + 10_000)
    later = next(i for i, now in enumerate(live) if now > first.resolved_at)
    false = replace(
        work("*", name="fb-1"), kind=FeedbackKind.FALSE, incident_id=first.id, entities=()
    )
    confirmed = replace(false, id=FeedbackId("fb-2"), kind=FeedbackKind.CONFIRMED)

    def told(*said: tuple[int, Feedback]) -> Pipeline:
        entries = list(played.intakes())
        for index, one in said:
            entries = with_feedback(entries, index, one)
        pipeline = played.pipeline()
        played.run(pipeline, entries)
        return pipeline

    assert budget_knows(told(), first) is None
    assert budget_knows(told((while_open, false)), first) is True
    assert budget_knows(told((later, confirmed)), first) is False
    assert budget_knows(told((while_open, false), (later, confirmed)), first) is False
    undone = false.undone(at=Millis(live[later]), by="bob")
    assert budget_knows(told((while_open, false), (later, undone)), first) is None
    assert second.id != first.id


def test_feedback_survives_a_restart_and_replays_to_the_byte(tmp_path: Path) -> None:
    entries = with_feedback(played.intakes(), 3, work(FIRST, "orders-*"))
    whole = played.run(played.pipeline(), entries)
    half = len(entries) // 2
    before = played.pipeline(tmp_path)
    first = played.run(before, entries[:half])
    data = state.dump(before)
    before.parts.history.close()  # type: ignore[attr-defined]
    after = played.pipeline(tmp_path)
    state.load(after, data)
    assert [one.id for one in after.parts.feedback.labels] == []
    second = played.run(after, entries[half:])
    assert played.lines([*first, *second]) == played.lines(whole)
    assert played.lines(whole) != played.lines(played.uninterrupted())
