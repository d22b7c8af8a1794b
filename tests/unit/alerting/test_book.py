"""Timelines of the alert book: what is observed when, and who is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dos.alerting.base import AlertingConfig, Receiver
from dos.alerting.book import AlertBook, fingerprint_of
from dos.alerting.decision import Reason
from dos.alerting.message import body, subject
from dos.kit.errors import CorruptDataError
from dos.model.alert import AlertState
from dos.model.events import AlertChanged
from dos.model.impact import Severity
from dos.model.incident import IncidentReason
from tests.unit.alerting.builders import at, cause, impact, incident, notifications, resolved


def book_of(*names: str, **settings: object) -> AlertBook:
    receivers = [{"name": name} for name in names]
    return AlertBook(AlertingConfig.model_validate({"receivers": receivers, **settings}))


def test_an_incident_fires_once_and_is_resolved_to_the_same_receivers() -> None:
    book = book_of("console", "hook")
    events = book.observe(incident(), at(15))
    assert isinstance(events[0], AlertChanged)
    fired = notifications(events)
    assert [one.receiver for one in fired] == ["console", "hook"]
    assert book.observe(incident(), at(30)) == []

    over = book.observe(resolved(incident(), at(765)), at(770))
    told = notifications(over)
    assert [one.receiver for one in told] == ["console", "hook"]
    alert = told[0].alert
    assert alert.state is AlertState.RESOLVED
    assert (alert.starts_at, alert.ends_at) == (at(0), at(765))
    assert alert.fingerprint == fired[0].alert.fingerprint
    assert len({one.id for one in fired + told}) == 4
    assert list(book.firing) == []
    assert book.observe(resolved(incident(), at(765)), at(780)) == []
    assert book.tick(at(9999)) == []


def test_the_message_says_what_a_person_needs_at_night() -> None:
    book = book_of("console", external_url="https://dos.example.com/")
    alert = notifications(book.observe(incident(), at(15)))[0].alert
    assert subject(alert) == "[FIRING sev2] Latency in payment"
    assert body(alert).splitlines() == [
        "Severity: sev2. 3 of 9 entities are abnormal: 40% of the business weight.",
        "Probable cause: payment (80%): payment latency_p95 rose 9 times.",
        "Users come in through: frontend.",
        "Abnormal: checkout, payment.",
        "Since: 2026-05-28T20:26:40.000Z.",
        "Incident: https://dos.example.com/incidents/inc-1",
    ]
    over = notifications(book.observe(resolved(incident(), at(750)), at(750)))[0].alert
    assert subject(over) == "[RESOLVED] Latency in payment, after 12m30s"
    assert "has been normal for long enough. It lasted 12m30s." in body(over).splitlines()[0]


def test_an_abstaining_ranking_is_told_as_such() -> None:
    book = book_of("console")
    unsure = replace(incident(), root_cause=cause("cart", probability=0.3))
    alert = notifications(book.observe(unsure, at(15)))[0].alert
    assert "none stands out (unknown 70%; closest is cart (30%))." in body(alert)
    assert dict(alert.labels)["service"] == "checkout"


def test_a_rise_in_severity_is_told_at_once_and_only_the_first_time() -> None:
    book = book_of("console")
    book.observe(incident(), at(15))
    worse = replace(incident(), impact=impact(Severity.SEV1))
    update = notifications(book.observe(worse, at(20)))
    assert subject(update[0].alert).startswith("[UPDATE sev1]")
    assert body(update[0].alert).splitlines()[0] == "Severity rose from sev2 to sev1."
    calmer = book.observe(incident(), at(25))
    assert notifications(calmer) == []
    assert isinstance(calmer[0], AlertChanged)
    assert notifications(book.observe(worse, at(30))) == []


def test_the_end_is_told_under_the_severity_that_was_told() -> None:
    book = book_of("console")
    book.observe(incident(), at(15))
    calmer = replace(incident(), impact=impact(Severity.SEV4))
    book.observe(calmer, at(20))
    events = book.observe(resolved(calmer, at(60)), at(60))
    alerts = [one.alert for one in events if isinstance(one, AlertChanged)]
    for alert in [*alerts, *(one.alert for one in notifications(events))]:
        assert alert.state is AlertState.RESOLVED
        assert alert.severity is Severity.SEV2
        assert dict(alert.labels)["severity"] == "sev2"
        assert "Severity: sev2.\n" in body(alert)
    assert len(alerts) == 1
    assert len(notifications(events)) == 1


def test_an_end_that_nobody_was_told_of_says_what_it_was_last() -> None:
    book = book_of("console", group_wait="30s")
    book.observe(incident(), at(0))
    calmer = replace(incident(), impact=impact(Severity.SEV4))
    book.observe(calmer, at(10))
    (event,) = book.observe(resolved(calmer, at(20)), at(20))
    assert isinstance(event, AlertChanged)
    assert event.alert.severity is Severity.SEV4


def test_another_cause_is_told_but_throttled() -> None:
    book = book_of("console", update_interval="5m")
    first = notifications(book.observe(incident(), at(0)))
    other = replace(incident(), root_cause=cause("db"))
    assert notifications(book.observe(other, at(60))) == []
    assert notifications(book.tick(at(299))) == []
    update = notifications(book.tick(at(300)))
    assert "the probable cause became db (instead of payment)." in body(update[0].alert)
    assert dict(update[0].alert.labels)["service"] == "db"
    reasons = [one.reason for one in book.explain(first[0].alert.id)]
    assert reasons == [Reason.TOLD_FIRING, Reason.THROTTLED, Reason.TOLD_CAUSE_NAMED]


def test_a_cause_that_comes_back_in_time_needs_no_update() -> None:
    book = book_of("console", update_interval="5m")
    book.observe(incident(), at(0))
    book.observe(replace(incident(), root_cause=cause("db")), at(60))
    book.observe(incident(), at(120))
    assert book.tick(at(300)) == []


def test_group_wait_lets_the_first_notification_carry_the_cause() -> None:
    book = book_of("console", group_wait="30s")
    began = book.observe(incident(root=None), at(0))
    assert [type(event) for event in began] == [AlertChanged]
    assert notifications(book.observe(incident(), at(20))) == []
    told = notifications(book.tick(at(30)))
    assert dict(told[0].alert.annotations)["cause"] == "payment"
    assert "update" not in dict(told[0].alert.annotations)


def test_an_incident_shorter_than_group_wait_tells_nobody() -> None:
    book = book_of("console", group_wait="30s")
    began = book.observe(incident(), at(0))
    over = book.observe(resolved(incident(), at(20)), at(20))
    assert [type(event) for event in over] == [AlertChanged]
    assert book.tick(at(60)) == []
    assert isinstance(began[0], AlertChanged)
    reasons = [one.reason for one in book.explain(began[0].alert.id)]
    assert reasons == [Reason.GROUP_WAIT, Reason.RESOLVED_UNTOLD]


def test_a_receiver_hears_only_from_its_severity_on_and_then_the_end() -> None:
    config = AlertingConfig(
        receivers=(Receiver(name="all"), Receiver(name="pager", min_severity=Severity.SEV1))
    )
    book = AlertBook(config)
    assert [one.receiver for one in notifications(book.observe(incident(), at(0)))] == ["all"]
    worse = replace(incident(), impact=impact(Severity.SEV1))
    risen = notifications(book.observe(worse, at(10)))
    assert [one.receiver for one in risen] == ["all", "pager"]
    assert subject(risen[0].alert).startswith("[UPDATE sev1]")
    assert subject(risen[1].alert).startswith("[FIRING sev1]")
    calmer = replace(incident(), impact=impact(Severity.SEV4))
    over = notifications(book.observe(resolved(calmer, at(60)), at(60)))
    assert [one.receiver for one in over] == ["all", "pager"]


def test_the_resolve_goes_to_who_was_told_also_under_another_configuration() -> None:
    before = book_of("old", "both")
    before.observe(incident(), at(0))
    after = book_of("both", "new")
    after.load(before.dump())
    over = notifications(after.observe(resolved(incident(), at(60)), at(60)))
    assert [one.receiver for one in over] == ["both", "old"]


def test_a_merged_incident_is_resolved_with_where_it_went() -> None:
    book = book_of("console")
    book.observe(incident(), at(0))
    merged = resolved(incident(), at(60), IncidentReason.MERGED, into="inc-0")
    over = notifications(book.observe(merged, at(60)))
    assert body(over[0].alert).startswith("Resolved: It became part of inc-0.")


def test_silence_is_not_told_as_recovery() -> None:
    book = book_of("console")
    book.observe(incident(), at(0))
    over = notifications(book.observe(resolved(incident(), at(600), IncidentReason.STALE), at(600)))
    assert "the recovery is not proven" in body(over[0].alert)


def test_an_incident_that_comes_back_is_another_alert_with_the_same_fingerprint() -> None:
    book = book_of("console")
    first = notifications(book.observe(incident(), at(0)))[0]
    book.observe(resolved(incident(), at(5)), at(5))
    again = notifications(book.observe(incident(), at(5)))[0]
    assert again.alert.id != first.alert.id
    assert again.id != first.id
    assert again.alert.fingerprint == first.alert.fingerprint


def test_without_receivers_the_alert_says_why_nobody_knows() -> None:
    book = book_of()
    events = book.observe(incident(severity=None), at(0))
    assert [type(event) for event in events] == [AlertChanged]
    alert = book.firing[0]
    assert alert.severity is Severity.SEV3
    assert [one.reason for one in book.explain(alert.id)] == [Reason.NO_RECEIVER]


def test_repeated_decisions_are_counted() -> None:
    book = book_of("console")
    alert = notifications(book.observe(incident(), at(0)))[0].alert
    for second in range(1, 61):
        book.observe(incident(), at(second))
    told, quiet = book.explain(alert.id)
    assert told.reason is Reason.TOLD_FIRING
    assert (quiet.reason, quiet.count) == (Reason.DEDUPLICATED, 60)
    assert (quiet.at, quiet.until) == (at(1), at(60))


def test_adopted_alerts_are_not_told_again_and_are_resolved() -> None:
    lost = book_of("console", "hook")
    events = lost.observe(incident(), at(0))
    worse = replace(incident(), impact=impact(Severity.SEV1))
    events += lost.observe(worse, at(10))
    alerts = [event.alert for event in events if isinstance(event, AlertChanged)]

    book = book_of("console")
    book.adopt(alerts[-1:], notifications(events))
    book.adopt(alerts[-1:], notifications(events))
    assert book.observe(worse, at(20)) == []
    over = notifications(book.observe(resolved(worse, at(60)), at(60)))
    assert [one.receiver for one in over] == ["console", "hook"]
    assert not {one.id for one in over} & {one.id for one in notifications(events)}


def test_an_adopted_alert_that_nobody_heard_of_is_told() -> None:
    lost = book_of("console", group_wait="1m")
    lost.observe(incident(), at(0))
    book = book_of("console")
    book.adopt(lost.firing, [])
    assert [one.receiver for one in notifications(book.tick(at(5)))] == ["console"]


def test_state_is_written_exactly() -> None:
    book = book_of("console", group_wait="10s")
    book.observe(incident("inc-1"), at(0))
    book.observe(incident("inc-2"), at(5))
    book.tick(at(11))
    book.observe(resolved(incident("inc-1"), at(20)), at(20))
    copy = book_of("console", group_wait="10s")
    copy.load(book.dump())
    assert copy.dump() == book.dump()
    assert copy.firing == book.firing


def test_foreign_state_is_refused() -> None:
    with pytest.raises(CorruptDataError, match="checkpoint of the alert book cannot be read"):
        AlertBook().load(b"{]")


def test_the_fingerprint_does_not_depend_on_the_order_of_labels() -> None:
    labels = (("alertname", "X"), ("incident", "inc-1"))
    assert fingerprint_of(labels) == fingerprint_of(reversed(labels))
    assert fingerprint_of(labels) != fingerprint_of((("alertname", "X"), ("incident", "inc-2")))


def test_two_receivers_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two receivers are called 'a'"):
        book_of("a", "a")
