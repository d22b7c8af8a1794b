"""Timelines of the desk: alerts are posted, and who is told of them by which route."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dos.alerting.base import AlertingConfig, Receiver
from dos.alerting.book import AlertBook
from dos.alerting.decision import Reason
from dos.alerting.desk import Desk, severity_of
from dos.alerting.message import body_of, subject_of
from dos.alerting.routing import default_routing, routing_of_file
from dos.kit.clock import Millis
from dos.kit.errors import ConfigError, CorruptDataError
from dos.model.alert import Acknowledgement, Alert, AlertState, PostedAlert
from dos.model.events import AlertChanged, Event
from dos.model.ids import AlertId
from dos.model.impact import Severity
from dos.model.matchers import parse_matchers
from dos.model.silence import Silence
from tests.unit.alerting.builders import at, incident, notifications, resolved

PAGER = Receiver(name="pager", min_severity=Severity.SEV2)
CHAT = Receiver(name="chat")
ROUTES = """
route:
  receiver: chat
  group_by: [alertname]
  group_wait: 10s
  group_interval: 1m
  repeat_interval: 1h
  routes:
    - matchers: [team="db"]
      receiver: pager
    - matchers: [team="web"]
      receiver: nobody
receivers: [{name: chat}, {name: pager}, {name: nobody}]
"""


def routed(text: str = ROUTES) -> Desk:
    return Desk(routing_of_file(text, "routes.yml", [PAGER, CHAT]))


def posted(seconds: float, ends: float | None = None, **labels: str) -> PostedAlert:
    return PostedAlert(
        labels=tuple(sorted({"alertname": "DiskFull", **labels}.items())),
        annotations=(("summary", "94 % of the disk is used"),),
        starts_at=at(0),
        ends_at=None if ends is None else at(ends),
        updated_at=at(seconds),
        generator_url="http://prometheus/graph",
    )


def quiet(text: str, begins: float, ends: float) -> Silence:
    return Silence(
        id="1",
        matchers=parse_matchers(text),
        starts_at=at(begins),
        ends_at=at(ends),
        created_by="ann",
        comment="new disks",
        updated_at=at(begins),
    )


def run(desk: Desk, first: float, last: float) -> list[Event]:
    """A tick each second."""
    return [one for second in range(round(first), round(last)) for one in desk.tick(at(second))]


def states(events: list[Event]) -> list[AlertState]:
    return [one.alert.state for one in events if isinstance(one, AlertChanged)]


def test_an_alert_is_told_after_group_wait_and_resolved() -> None:
    desk = routed()
    began = desk.take([posted(0, 300, team="db", severity="critical")], (), at(0))
    assert states(began) == [AlertState.FIRING]
    assert desk.is_busy
    assert notifications(run(desk, 0, 10)) == []
    (told,) = notifications(run(desk, 10, 70))
    assert (told.receiver, told.state) == ("pager", AlertState.FIRING)
    assert told.group == (("alertname", "DiskFull"),)
    assert told.alert.severity is Severity.SEV1
    assert told.alert.generator_url == "http://prometheus/graph"
    assert subject_of(told) == "[FIRING sev1] 94 % of the disk is used"
    over = desk.take([posted(100, 100, team="db", severity="critical")], (), at(100))
    assert states(over) == [AlertState.RESOLVED]
    (ended,) = notifications(run(desk, 100, 140))
    assert (ended.state, ended.alert.ends_at) == (AlertState.RESOLVED, at(100))
    assert ended.subject == told.subject
    assert ended.alert.id == told.alert.id
    assert not desk.is_busy or run(desk, 140, 300) == []


def test_what_is_not_sent_again_is_over_after_a_while() -> None:
    desk = routed()
    desk.take([posted(0, team="db", severity="page")], (), at(0))
    events = run(desk, 0, 420)
    assert states(events) == [AlertState.RESOLVED]
    assert [one.state for one in notifications(events)] == [
        AlertState.FIRING,
        AlertState.RESOLVED,
    ]
    assert not desk.is_busy


def test_alerts_of_a_group_are_told_together_the_worst_one_first() -> None:
    desk = routed()
    for number, severity in enumerate(("info", "critical", "warning")):
        desk.take([posted(0, 900, instance=str(number), severity=severity)], (), at(0))
    (told,) = notifications(run(desk, 0, 30))
    assert [dict(one.labels)["severity"] for one in told.alerts] == ["critical", "warning", "info"]
    assert subject_of(told).endswith("(and 2 more)")
    assert len(body_of(told).splitlines()) == 2


def test_a_receiver_hears_of_nothing_below_its_severity() -> None:
    desk = routed()
    desk.take([posted(0, 900, team="db", severity="warning")], (), at(0))
    assert notifications(run(desk, 0, 200)) == []
    (alert,) = desk.firing
    said = {one.reason for one in desk.explain(alert.id)}
    assert said == {Reason.GROUP_WAIT, Reason.BELOW_MIN_SEVERITY}


def test_a_receiver_without_a_channel_hears_nothing() -> None:
    desk = routed()
    desk.take([posted(0, 900, team="web", severity="critical")], (), at(0))
    assert notifications(run(desk, 0, 200)) == []
    (alert,) = desk.firing
    assert desk.explain(alert.id)[1].reason is Reason.NO_RECEIVER


def test_without_routes_everybody_is_told() -> None:
    desk = Desk(default_routing([PAGER, CHAT]))
    desk.take([posted(0, 900, severity="critical")], (), at(0))
    assert {one.receiver for one in notifications(run(desk, 0, 60))} == {"pager", "chat"}
    assert Desk(default_routing([])).goes_to("nobody", {})


def test_a_silenced_alert_is_told_when_the_silence_is_over() -> None:
    desk = routed()
    desk.take([posted(0, 900)], [quiet("alertname=DiskFull", 0, 100)], at(0))
    assert notifications(run(desk, 0, 100)) == []
    (told,) = notifications(run(desk, 100, 200))
    assert told.state is AlertState.FIRING
    said = [one.reason for one in desk.explain(told.alert.id) if one.receiver]
    assert said[:2] == [Reason.SILENCED, Reason.TOLD_FIRING]


def test_what_somebody_is_on_is_not_repeated() -> None:
    desk = routed()
    desk.take([posted(0, 90_000)], (), at(0))
    (told,) = notifications(run(desk, 0, 60))
    said = Acknowledgement(alert=told.alert.id, by="ann", at=at(60))
    (changed,) = desk.acknowledge(said, at(60))
    assert isinstance(changed, AlertChanged)
    assert changed.alert.acknowledged == said
    assert desk.acknowledge(replace(said, alert=AlertId("no")), at(60)) == []
    assert notifications(run(desk, 60, 8000)) == []
    assert desk.explain(told.alert.id)[-1].reason is Reason.ACKNOWLEDGED
    desk.take([posted(8000, 90_000, instance="b")], (), at(8000))
    (more,) = notifications(run(desk, 8000, 8100))  # news for the group are told
    assert {one.acknowledged for one in more.alerts} == {said, None}
    repeated = notifications(run(desk, 8100, 13_000))
    assert len(repeated) == 1  # for the one that nobody is on


def test_every_state_can_be_written_down_and_read() -> None:
    desk = routed()
    desk.take([posted(0, 300, team="db", severity="critical")], [quiet("a=b", 0, 99)], at(0))
    run(desk, 0, 20)
    again = routed()
    again.load(desk.dump(), at(20))
    assert again.dump() == desk.dump()
    assert run(again, 20, 500) == run(desk, 20, 500)
    with pytest.raises(CorruptDataError, match="posted alerts"):
        again.load(b"{}x", at(20))


def test_what_was_told_is_resolved_under_another_configuration() -> None:
    desk = routed()
    desk.take([posted(0, 300, team="db", severity="critical")], (), at(0))
    run(desk, 0, 20)
    moved = Desk(default_routing([CHAT, PAGER]))
    moved.load(desk.dump(), at(20))
    events = run(moved, 20, 500)
    ends = [one for one in notifications(events) if one.state is AlertState.RESOLVED]
    assert {(one.receiver, bool(one.route)) for one in ends} >= {("pager", True), ("chat", True)}
    assert any(one.subject.startswith('{}/{team="db"}') for one in ends)
    assert not moved.is_busy


def test_alerts_that_only_the_store_knows_are_taken_over() -> None:
    desk = routed()
    lost = Alert(
        id=AlertId("alr-1"),
        fingerprint=posted(0).fingerprint,
        state=AlertState.FIRING,
        severity=Severity.SEV3,
        labels=posted(0).labels,
        annotations=(),
        starts_at=at(0),
        updated_at=at(0),
    )
    desk.adopt([lost], at(1000))
    events = run(desk, 1000, 1500)
    assert [one.alert.id for one in events if isinstance(one, AlertChanged)] == ["alr-1"]
    assert states(events) == [AlertState.RESOLVED]
    assert list(desk.firing) == []


def test_a_group_that_fires_again_is_another_alert() -> None:
    desk = routed()
    first = desk.take([posted(0, 20)], (), at(0))
    run(desk, 0, 200)
    second = desk.take([posted(300, 900)], (), at(300))
    assert states(first) == states(second) == [AlertState.FIRING]
    changed = [one.alert.id for one in (*first, *second) if isinstance(one, AlertChanged)]
    assert len(set(changed)) == 2


@pytest.mark.parametrize(
    ("labels", "severity"),
    [
        ({"severity": "critical"}, Severity.SEV1),
        ({"severity": "PAGE"}, Severity.SEV1),
        ({"priority": "high"}, Severity.SEV2),
        ({"severity": "warning"}, Severity.SEV3),
        ({"severity": "none"}, Severity.SEV4),
        ({"severity": "whatever"}, Severity.SEV3),
        ({}, Severity.SEV3),
    ],
)
def test_severities_are_read_off_labels(labels: dict[str, str], severity: Severity) -> None:
    assert severity_of(labels) is severity


def test_incidents_go_by_the_same_routes_and_silences() -> None:
    text = ROUTES.replace('team="web"', 'service="payment"')
    desk = routed(text.replace("receiver: nobody", "receiver: pager"))
    config = AlertingConfig(receivers=(PAGER, CHAT))
    book = AlertBook(config, desk)
    assert [one.receiver for one in notifications(book.observe(incident(), at(15)))] == ["pager"]
    (alert,) = book.firing
    reasons = {one.receiver: one.reason for one in book.explain(alert.id)}
    assert reasons == {"pager": Reason.TOLD_FIRING, "chat": Reason.NOT_ROUTED}

    silenced = AlertBook(config, desk)
    desk.take((), [quiet("service=payment", 0, 100)], at(0))
    assert notifications(silenced.observe(incident(), at(15))) == []
    assert notifications(silenced.tick(at(60))) == []
    (told,) = notifications(silenced.tick(at(100)))
    assert told.receiver == "pager"
    desk.take((), [quiet("service=payment", 100, 900)], at(100))
    (over,) = notifications(silenced.observe(resolved(incident(), at(200)), at(200)))
    assert over.alert.state is AlertState.RESOLVED


def test_rules_of_inhibition_are_for_posted_alerts() -> None:
    rule = "inhibit_rules: [{source_matchers: [alertname=DiskFull], target_matchers: [x!=y]}]\n"
    desk, book = routed(ROUTES + rule), AlertBook(AlertingConfig(receivers=(CHAT,)))
    book.observe(incident(), at(15))
    other = posted(0, 900, alertname="Other")
    desk.take([posted(0, 900), other], (), at(0))
    inhibited = {
        dict(one.alert.labels)["alertname"]: bool(one.inhibited_by)
        for one in desk.seen(book.firing, at(20))
    }
    assert inhibited == {"DiskFull": False, "Other": True, "DosIncident": False}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ROUTES + "templates: 3", "templates"),
        (
            ROUTES.replace("{name: nobody}", "{name: nobody, slack_configs: [{channel: x}]}"),
            "DOS has no receiver 'nobody'",
        ),
    ],
)
def test_a_wrong_file_of_routes_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        routed(text)


def test_times_never_run_backwards_in_what_is_told() -> None:
    desk = routed()
    late = PostedAlert(
        labels=(("alertname", "X"),),
        starts_at=Millis(at(50) + 1),
        ends_at=at(40),
        updated_at=at(40),
    )
    assert desk.take([late], (), at(60)) == []


def test_a_receiver_of_the_routes_may_have_several_channels() -> None:
    text = "route: {receiver: team, group_wait: 0s}\nreceivers: [{name: team}]\n"
    receivers = [
        Receiver(name="team/mail"),
        Receiver(name="team/pager", min_severity=Severity.SEV2),
        Receiver(name="teams"),
    ]
    made = Desk(routing_of_file(text, "routes.yml", receivers))
    assert made.goes_to("team/mail", {})
    assert not made.goes_to("teams", {})
    bad = PostedAlert(
        labels=(("alertname", "A"), ("severity", "critical")), starts_at=at(0), updated_at=at(0)
    )
    mild = PostedAlert(
        labels=(("alertname", "B"), ("severity", "warning")), starts_at=at(0), updated_at=at(0)
    )
    made.take([bad, mild], (), at(0))
    told = notifications(made.tick(at(0)))
    assert [
        (one.receiver, [dict(alert.labels)["alertname"] for alert in one.alerts]) for one in told
    ] == [("team/mail", ["A", "B"]), ("team/pager", ["A"])]
    assert len({one.id for one in told}) == 2
