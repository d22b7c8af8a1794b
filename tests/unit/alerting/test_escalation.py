"""Timelines of escalation: nobody acknowledges, somebody does, it is over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dos.alerting.decision import Reason
from dos.alerting.escalation import Escalation, EscalationConfig
from dos.alerting.oncall import Schedule
from dos.alerting.oncall_config import ScheduleConfig
from dos.kit.clock import Millis, to_datetime
from dos.kit.errors import CorruptDataError
from dos.model.alert import Acknowledgement, Alert, AlertState, Notification
from dos.model.events import AlertChanged, Event, NotificationQueued
from dos.model.ids import AlertId
from dos.model.impact import Severity
from tests.unit.alerting.builders import at, notifications

STEPS = [{"after": "5m", "receivers": ["second"]}, {"after": "15m", "receivers": ["boss", "ops"]}]
ALERT = Alert(
    id=AlertId("alr-1"),
    fingerprint="0" * 16,
    state=AlertState.FIRING,
    severity=Severity.SEV1,
    labels=(("alertname", "Down"), ("severity", "critical")),
    annotations=(("summary", "db is down"),),
    starts_at=at(0),
    updated_at=at(0),
)
OVER = replace(ALERT, state=AlertState.RESOLVED, ends_at=at(100))
ACKNOWLEDGED = replace(ALERT, acknowledged=Acknowledgement(alert=ALERT.id, by="ann", at=at(0)))


def policy(**keys: Any) -> EscalationConfig:
    return EscalationConfig.model_validate({"steps": STEPS, **keys})


def told(alert: Alert = ALERT, *others: Alert) -> Event:
    return NotificationQueued(
        notification=Notification(
            id="ntf-1", receiver="first", alert=alert, others=others, created_at=at(0)
        )
    )


def names(events: list[Event]) -> list[tuple[str, str]]:
    return [(one.receiver, one.alert.state.value) for one in notifications(events)]


def test_steps_are_taken_one_after_the_other_until_it_is_over() -> None:
    made = Escalation([policy()])
    assert made.follow([AlertChanged(alert=ALERT), told()], at(0)) == []
    assert made.follow([], at(299)) == []
    (first,) = notifications(made.follow([], at(300)))
    assert first.receiver == "second"
    assert dict(first.alert.annotations)["update"] == "Nobody has acknowledged it for 5m."
    assert made.follow([], at(301)) == []
    assert names(made.follow([], at(900))) == [("boss", "firing"), ("ops", "firing")]
    assert made.follow([], at(9000)) == []
    said = [(one.receiver, one.reason) for one in made.explain(ALERT.id)]
    assert said == [(name, Reason.TOLD_ESCALATED) for name in ("second", "boss", "ops")]
    over = names(made.follow([AlertChanged(alert=OVER)], at(9001)))
    assert over == [(name, "resolved") for name in ("second", "boss", "ops")]
    assert made.dump() == Escalation().dump()


def test_an_acknowledgement_ends_it_and_the_end_is_still_told() -> None:
    made = Escalation([policy()])
    made.follow([told()], at(0))
    made.follow([], at(300))
    assert made.follow([AlertChanged(alert=ACKNOWLEDGED)], at(899)) == []
    assert made.follow([], at(90_000)) == []
    assert names(made.follow([AlertChanged(alert=OVER)], at(90_001))) == [("second", "resolved")]


def test_an_acknowledgement_counts_in_the_step_it_comes_in() -> None:
    made = Escalation([policy()])
    made.follow([told()], at(0))
    assert made.follow([AlertChanged(alert=ACKNOWLEDGED)], at(300)) == []


def test_what_is_over_before_is_told_nobody() -> None:
    made = Escalation([policy()])
    made.follow([told()], at(0))
    assert made.follow([AlertChanged(alert=OVER)], at(300)) == []


def test_each_alert_of_a_group_is_watched() -> None:
    made = Escalation([policy(matchers='alertname="Other"')])
    other = replace(ALERT, id=AlertId("alr-2"), labels=(("alertname", "Other"),))
    made.follow([told(ALERT, other)], at(0))
    (one,) = notifications(made.follow([], at(300)))
    assert one.alert.id == "alr-2"


def test_the_first_policy_that_takes_an_alert_counts() -> None:
    other = {"steps": [{"after": "1m", "receivers": ["all"]}]}
    made = Escalation([policy(matchers="severity=critical"), policy(**other)])
    made.follow([told()], at(0))
    assert made.follow([], at(60)) == []
    assert names(made.follow([], at(300))) == [("second", "firing")]


def test_a_step_waits_while_it_is_silenced() -> None:
    quiet = True
    made = Escalation([policy()], lambda _labels, _at: quiet)
    made.follow([told()], at(0))
    assert made.follow([], at(500)) == []
    quiet = False
    assert names(made.follow([], at(510))) == [("second", "firing")]


def test_all_steps_may_be_repeated() -> None:
    made = Escalation([policy(repeat=1)])
    made.follow([told()], at(0))
    heard = [
        (second, one.receiver)
        for second in range(0, 4000, 10)
        for one in notifications(made.follow([], at(second)))
    ]
    assert heard == [
        (300, "second"),
        (900, "boss"),
        (900, "ops"),
        (1200, "second"),
        (1800, "boss"),
        (1800, "ops"),
    ]
    assert len(notifications(made.follow([AlertChanged(alert=OVER)], at(4000)))) == 3


def test_a_restart_changes_nothing_and_a_policy_may_be_gone() -> None:
    made, gone = Escalation([policy()]), Escalation()
    made.follow([told()], at(0))
    made.follow([], at(300))
    again = Escalation([policy()])
    again.load(made.dump())
    gone.load(made.dump())
    assert again.follow([], at(900)) == made.follow([], at(900))
    assert gone.follow([], at(900)) == []
    assert names(gone.follow([AlertChanged(alert=OVER)], at(901))) == [("second", "resolved")]
    with pytest.raises(CorruptDataError, match="escalations"):
        gone.load(b"x")


def rota(name: str, *people: str, start: float = -100, **keys: Any) -> Schedule:
    """Turns of an hour; the first one began 100 s before the alert."""
    first = to_datetime(at(start)).replace(tzinfo=None).isoformat()
    layer = {"people": people, "start": first, "every": "1h", **keys}
    config = ScheduleConfig.model_validate({"name": name, "layers": [layer]})
    return Schedule(config, ("anna", "ben", "boss"))


def on_call(*steps: tuple[float, Any], repeat: int = 0) -> EscalationConfig:
    found = [{"after": after, **keys} for after, keys in steps]
    return EscalationConfig.model_validate({"steps": found, "repeat": repeat})


PRIMARY = {"schedules": ["primary"]}


def test_a_step_tells_who_is_on_call_when_it_comes() -> None:
    both = {"receivers": ["boss", "ben"], **PRIMARY}
    primary = {"primary": rota("primary", "anna", "ben")}
    made = Escalation([on_call((0, PRIMARY), (3400, PRIMARY), (3600, both))], None, primary)
    (first,) = notifications(made.follow([told()], at(0)))
    assert first.receiver == "anna"
    assert "update" not in dict(first.alert.annotations)
    assert names(made.follow([], at(3400))) == [("anna", "firing")]
    assert names(made.follow([], at(3600))) == [("boss", "firing"), ("ben", "firing")]
    said = made.explain(ALERT.id)
    assert [one.receiver for one in said] == ["anna", "anna", "boss", "ben"]
    until = to_datetime(at(3500)).isoformat(timespec="minutes")
    assert said[0].reason is Reason.TOLD_AT_ONCE
    assert said[1].sentence == (
        f"told because nobody acknowledged it in time: on call in primary until {until} (layer 1)"
    )
    assert said[3].note == "", "he is named as well"
    over = names(made.follow([AlertChanged(alert=OVER)], at(9000)))
    assert over == [(name, "resolved") for name in ("anna", "boss", "ben")]


def test_a_handover_between_two_steps_tells_the_other_one() -> None:
    primary = {"primary": rota("primary", "anna", "ben")}
    made = Escalation([on_call((60, PRIMARY), (3540, PRIMARY))], None, primary)
    made.follow([told()], at(0))
    assert names(made.follow([], at(60))) == [("anna", "firing")]
    again = Escalation([on_call((60, PRIMARY), (3540, PRIMARY))], None, primary)
    again.load(made.dump())
    for one in (made, again):
        assert names(one.follow([], at(3540))) == [("ben", "firing")]
        over = names(one.follow([AlertChanged(alert=OVER)], at(4000)))
        assert over == [("anna", "resolved"), ("ben", "resolved")]


def test_where_nobody_is_on_call_the_next_step_comes_at_once() -> None:
    """And those after it as long after it as they would have."""
    later = {"primary": rota("primary", "anna", start=86_400)}
    boss = {"receivers": ["boss"]}
    steps = ((300, PRIMARY), (900, boss), (1500, PRIMARY), (1800, {"receivers": ["ben"]}))
    made = Escalation([on_call(*steps)], None, later)
    made.follow([told()], at(0))
    assert made.follow([], at(299)) == []
    (first,) = notifications(made.follow([], at(300)))
    assert first.receiver == "boss"
    assert dict(first.alert.annotations)["update"] == "Nobody has acknowledged it for 5m."
    again = Escalation([on_call(*steps)], None, later)
    again.load(made.dump())
    assert again.follow([], at(899)) == []
    assert names(again.follow([], at(900))) == [("ben", "firing")]
    assert again.follow([], at(90_000)) == []
    assert [(one.receiver, one.reason, one.count) for one in again.explain(ALERT.id)] == [
        ("", Reason.NOBODY_ON_CALL, 2),
        ("boss", Reason.TOLD_ESCALATED, 1),
        ("ben", Reason.TOLD_ESCALATED, 1),
    ]
    assert "nobody is on call in primary" in again.explain(ALERT.id)[0].sentence


def test_a_round_keeps_its_time_so_that_somebody_may_come_on_duty() -> None:
    later = {"primary": rota("primary", "anna", start=1700)}
    boss = {"receivers": ["boss"]}
    made = Escalation([on_call((60, PRIMARY), (900, boss), repeat=2)], None, later)
    made.follow([told()], at(0))
    heard = [
        (second, one.receiver)
        for second in range(0, 4000, 10)
        for one in notifications(made.follow([], at(second)))
    ]
    assert heard == [(60, "boss"), (960, "boss"), (1860, "anna"), (2700, "boss")]


def test_nobody_at_all_is_said_each_round_and_never_hangs() -> None:
    never = {"primary": rota("primary", "anna", start=10**8)}
    made = Escalation([on_call((0, PRIMARY), (60, PRIMARY), repeat=3)], None, never)
    assert made.follow([told()], at(0)) == []
    assert made.follow([], at(10_000)) == []
    (said,) = made.explain(ALERT.id)
    assert (said.reason, said.count) == (Reason.NOBODY_ON_CALL, 8)
    assert made.follow([AlertChanged(alert=OVER)], at(10_001)) == []


@settings(max_examples=500, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-4000, 4000), st.sampled_from(("nothing", "tell", "ack", "over"))),
        max_size=30,
    )
)
def test_nobody_is_told_further_after_an_acknowledgement(timeline: list[tuple[int, str]]) -> None:
    """Also where the clock jumps, back and forth."""
    made, second, answered, heard = Escalation([policy(repeat=2)]), 0, False, set[str]()
    happens = {
        "nothing": [],
        "tell": [told()],
        "ack": [AlertChanged(alert=ACKNOWLEDGED)],
        "over": [AlertChanged(alert=OVER)],
    }
    for step, what in timeline:
        second = max(0, second + step)
        answered = answered or what == "ack"
        events = happens[what]
        if answered and what == "tell":
            events = [told(ACKNOWLEDGED)]
        if what == "over":
            answered = False
        for one in notifications(made.follow(events, at(second))):
            if one.alert.state is AlertState.FIRING:
                assert not answered
                heard.add(one.receiver)
            else:
                assert one.receiver in heard
                heard.discard(one.receiver)
    made.follow([AlertChanged(alert=OVER)], Millis(at(0)))
    assert made.dump() == Escalation().dump()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"steps": []}, "at least 1"),
        ({"steps": [*STEPS, STEPS[0]]}, "after the one before"),
        ({"steps": [{"after": -1, "receivers": ["a"]}]}, "zero or more"),
        ({"steps": [{"after": 0, "receivers": ["a"]}], "repeat": 1}, "cannot be repeated"),
        ({"steps": [{"after": 60, "receivers": []}]}, "at least one of receivers and schedules"),
        ({"matchers": "severity"}, "has to follow"),
    ],
)
def test_what_cannot_work_is_refused(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        policy(**keys)
