"""Alerts about what depends on a root cause are quiet for those who were told of the incident."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dos.alerting.alertmanager import read_alertmanager
from dos.alerting.base import AlertingConfig, Receiver
from dos.alerting.book import AlertBook
from dos.alerting.decision import Reason
from dos.alerting.dependents import Told, explained, explains, inhibit_rules
from dos.alerting.desk import Desk
from dos.alerting.routing import routing_of_file
from dos.model.alert import AlertState, PostedAlert
from dos.model.entity import Entity
from dos.model.graph import Edge, GraphSnapshot
from dos.model.ids import EntityId
from dos.model.impact import Severity
from dos.model.incident import Incident
from tests.unit.alerting.builders import at, cause, incident, notifications, resolved

PAGER, CHAT = Receiver(name="pager", min_severity=Severity.SEV1), Receiver(name="chat")
ROUTES = """
route:
  receiver: chat
  group_by: [service]
  group_wait: 0s
  group_interval: 10s
receivers: [{name: chat}, {name: pager}]
"""


def graph(*edges: str) -> GraphSnapshot:
    """`a>b`: a calls b."""
    pairs = [one.split(">") for one in edges]
    names = sorted({name for pair in pairs for name in pair})
    return GraphSnapshot(
        entities=tuple(Entity(id=EntityId(one)) for one in names),
        edges=tuple(Edge(caller=EntityId(a), callee=EntityId(b)) for a, b in pairs),
    )


SHOP = graph("frontend>checkout", "checkout>payment", "payment>db", "frontend>search")


def posted(
    service: str, seconds: float, *, ends: float | None = None, **labels: str
) -> PostedAlert:
    given = {"alertname": "Slow", "service": service, "severity": "warning", **labels}
    return PostedAlert(
        labels=tuple(sorted(given.items())),
        starts_at=at(20),
        ends_at=at(1000) if ends is None else at(ends),
        updated_at=at(seconds),
    )


class Room:
    """Book and desk as the pipeline has them."""

    def __init__(self) -> None:
        self.desk = Desk(routing_of_file(ROUTES, "routes.yml", [PAGER, CHAT]))
        self.book = AlertBook(AlertingConfig(receivers=(PAGER, CHAT)), self.desk)
        self.open: list[Incident] = []

    def incident(self, one: Incident, seconds: float) -> None:
        self.book.observe(one, at(seconds))
        self.open = [one] if one.resolved_at is None else []

    def told(self, seconds: float, *alerts: PostedAlert) -> list[tuple[str, str]]:
        self.desk.take(alerts, (), at(seconds))
        self.desk.explained = self.book.explained(self.open, SHOP)
        return [
            (dict(one.labels)["service"], one.state.value)
            for sent in notifications(self.desk.tick(at(seconds)))
            for one in sent.alerts
        ]


def test_what_depends_on_the_root_is_quiet_and_the_root_is_not() -> None:
    room = Room()
    room.incident(replace(incident(), root_cause=cause("payment", 0.95)), 15)
    names = ("frontend", "checkout", "payment", "db", "search")
    told = room.told(20, *(posted(one, 20) for one in names))
    assert sorted(told) == [("db", "firing"), ("payment", "firing"), ("search", "firing")]
    quiet = {one.alert.labels: one.inhibited_by for one in room.desk.seen((), at(21))}
    assert [len(by) for _, by in sorted(quiet.items())] == [1, 0, 1, 0, 0]
    (checkout,) = [one for one in room.desk.firing if dict(one.labels)["service"] == "checkout"]
    assert room.desk.explain(checkout.id)[-1].reason is Reason.EXPLAINED
    # The incident is over; what still fires is told now.
    room.incident(resolved(room.open[0], at(60)), 60)
    assert sorted(room.told(61)) == [("checkout", "firing"), ("frontend", "firing")]


def test_what_was_told_before_gets_its_end() -> None:
    room = Room()
    assert room.told(10, posted("checkout", 10)) == [("checkout", "firing")]
    room.incident(replace(incident(), root_cause=cause("payment", 0.95)), 15)
    assert room.told(25, posted("checkout", 25, ends=25)) == [("checkout", "resolved")]


@pytest.mark.parametrize(
    ("probability", "severity", "labels"),
    [
        (0.85, Severity.SEV2, {}),  # not sure enough
        (0.95, Severity.SEV3, {"severity": "critical"}),  # worse than the incident
    ],
)
def test_nothing_is_quiet_without_good_reason(
    probability: float, severity: Severity, labels: dict[str, str]
) -> None:
    room = Room()
    room.incident(
        replace(incident(severity=severity), root_cause=cause("payment", probability)), 15
    )
    assert room.told(20, posted("checkout", 20, **labels)) == [("checkout", "firing")]


def test_who_was_not_told_of_the_incident_is_told_of_the_alert() -> None:
    room = Room()
    routes = ROUTES.replace("receiver: chat", "receiver: pager")
    room.desk = Desk(routing_of_file(routes, "routes.yml", [CHAT, Receiver(name="pager")]))
    room.book = AlertBook(AlertingConfig(receivers=(CHAT,)))
    room.incident(replace(incident(), root_cause=cause("payment", 0.95)), 15)
    assert room.told(20, posted("checkout", 20)) == [("checkout", "firing")]


def test_services_are_found_by_their_labels() -> None:
    told = Told(fingerprint="f", severity=Severity.SEV3, receivers=("chat",))
    found = {EntityId("shop/cart"): told, EntityId("web"): told}
    for labels in (
        {"service": "shop/cart"},
        {"namespace": "shop", "app": "cart"},
        {"service": "unknown", "job": "web"},
    ):
        assert explains(found, labels, Severity.SEV3) is told
    assert explains(found, {"service": "cart"}, Severity.SEV3) is None
    assert explains({}, {"service": "web"}, Severity.SEV3) is None


NAMES = st.sampled_from("abcdef")


@given(
    st.lists(st.tuples(NAMES, NAMES), max_size=12),
    st.lists(st.tuples(NAMES, st.floats(0, 1)), max_size=3),
)
def test_a_root_is_never_explained(
    edges: list[tuple[str, str]], roots: list[tuple[str, float]]
) -> None:
    told = Told(fingerprint="f", severity=Severity.SEV3, receivers=("chat",))
    open_now = [(replace(incident(), root_cause=cause(root, p)), told) for root, p in roots]
    found = explained(open_now, graph(*(f"{a}>{b}" for a, b in edges)), 0.9)
    assert not {EntityId(root) for root, p in roots if p >= 0.05} & found.keys()
    assert found.keys() <= {EntityId(name) for pair in edges for name in pair}


def test_the_graph_as_rules_of_alertmanager(tmp_path: Path) -> None:
    rules = inhibit_rules(graph("web>shop/cart.v2", "shop/cart.v2>db", "a>b", "b>a"))
    assert [one["source_matchers"][0] for one in rules] == [
        'service="db"',
        'service="shop/cart.v2"',
    ]
    text = yaml.safe_dump(
        {"route": {"receiver": "x"}, "receivers": [{"name": "x"}], "inhibit_rules": rules}
    )
    read = read_alertmanager(text).inhibit
    db = {"service": "db", "severity": "critical"}
    assert read[0].inhibits(db, {"service": "shop/cart.v2", "severity": "warning"})
    assert read[0].inhibits(db, {"service": "web", "severity": "warning"})
    assert not read[0].inhibits(db, {"service": "shop/cartxv2", "severity": "warning"})
    assert not read[0].inhibits(db, {"service": "web", "severity": "critical"})
    if shutil.which("amtool"):
        (tmp_path / "am.yml").write_text(text)
        said = subprocess.run(
            ["amtool", "check-config", str(tmp_path / "am.yml")], capture_output=True, check=False
        )
        assert said.returncode == 0, said.stdout


def test_the_end_of_an_explained_alert_is_not_told_to_who_never_heard_of_it() -> None:
    room = Room()
    room.incident(replace(incident(), root_cause=cause("payment", 0.95)), 15)
    assert room.told(20, posted("checkout", 20)) == []
    assert room.told(40, posted("checkout", 40, ends=40)) == []
    assert all(one.state is not AlertState.FIRING for one in room.desk.firing)


def test_during_planned_work_it_is_quiet_and_its_end_is_told() -> None:
    room = Room()
    assert room.told(20, posted("search", 20)) == [("search", "firing")]
    room.desk.in_maintenance = {EntityId("search"), EntityId("eu/db")}
    again = posted("search", 25, alertname="Other")
    assert room.told(25, again, posted("db", 25, namespace="eu"), posted("db", 25)) == [
        ("db", "firing")
    ]
    quiet = {one.alert.labels: one.inhibited_by for one in room.desk.seen((), at(26))}
    assert sorted(by for by in quiet.values() if by) == [("maintenance",)] * 3
    (other,) = [one for one in room.desk.firing if dict(one.labels).get("namespace") == "eu"]
    assert room.desk.explain(other.id)[-1].reason is Reason.MAINTENANCE
    # What was told before the work began is told to be over; the rest is told when it is done.
    assert room.told(35, posted("search", 35, ends=34)) == [("search", "resolved")]
    assert room.told(45) == []
    room.desk.in_maintenance = ()
    assert set(room.told(55)) == {("db", "firing"), ("search", "firing")}
