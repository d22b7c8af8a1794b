"""What every `Store` promises. A new adapter is one more parameter of `store_factory`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from dos.kit.clock import Millis
from dos.model.alert import AlertState
from dos.model.events import (
    AlertChanged,
    AnomalyEnded,
    AnomalyStarted,
    ChangeSeen,
    Decisions,
    FeedbackChanged,
    IncidentChanged,
    NotificationQueued,
    TopologyChanged,
)
from dos.model.feedback import FeedbackKind
from dos.model.graph import EdgeKind, GraphSnapshot
from dos.model.ids import AlertId, EntityId, FeedbackId, IncidentId
from dos.model.incident import IncidentState
from dos.storage.base import Ledger, Outgoing, Position, Store
from dos.storage.memory import MemoryStore
from dos.storage.sql.repositories import SqlStore
from tests.unit.storage.examples import (
    alert,
    anomaly,
    change,
    edge,
    entity,
    feedback,
    incident,
    notification,
    step,
)

Factory = Callable[[], Store]


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store_factory(request: pytest.FixtureRequest, tmp_path: Path) -> Factory:
    """Builds stores; those of an adapter that persists share one database."""
    if request.param == "memory":
        return MemoryStore
    if request.param == "postgres":
        url = str(request.getfixturevalue("postgres_database"))
        return lambda: SqlStore(url)
    return lambda: SqlStore(f"sqlite+aiosqlite:///{tmp_path}/dos.db")


@pytest.fixture
async def store(store_factory: Factory) -> AsyncIterator[Store]:
    built = store_factory()
    await built.open()
    yield built
    await built.close()


async def test_a_new_store_is_empty(store: Store) -> None:
    assert await store.position() == Position()
    assert list(await store.events()) == []
    assert await store.incident(IncidentId("inc-1")) is None
    assert await store.alert(AlertId("alert-1")) is None
    assert await store.graph() == GraphSnapshot()
    assert list(await store.outbox(Millis(10**15))) == []


# ------------------------------------------------------------------------------------- commits


async def test_events_come_back_byte_for_byte(store: Store) -> None:
    decisions = step(
        1,
        TopologyChanged(version=1, entities=(entity("a"),), edges=(edge("a", "b"),)),
        ChangeSeen(change=change("chg-1", 5)),
        AnomalyStarted(anomaly=anomaly("ano-1", 10)),
        IncidentChanged(incident=incident("inc-1", 20)),
        AlertChanged(alert=alert("alert-1", 20)),
        NotificationQueued(notification=notification("not-1", alert("alert-1", 20))),
        AnomalyEnded(anomaly=anomaly("ano-1", 10, ended=50)),
    )
    await store.commit(decisions)
    found = await store.events()
    assert tuple(found) == decisions.events
    assert [one.to_json() for one in found] == [one.to_json() for one in decisions.events]
    assert await store.position() == Position(seq=7, offset=10)


async def test_events_are_read_in_pages_and_by_type(store: Store) -> None:
    for seq in range(1, 8):
        event = (
            ChangeSeen(change=change(f"chg-{seq}", seq))
            if seq % 2
            else AlertChanged(alert=alert(f"alert-{seq}", seq))
        )
        await store.commit(step(seq, event))
    assert [one.seq for one in await store.events(after=2, limit=3)] == [3, 4, 5]
    assert [one.seq for one in await store.events(types={"alert_changed"})] == [2, 4, 6]
    page = await store.events(after=3, limit=2, types=["change_seen", "unknown"])
    assert [one.seq for one in page] == [5, 7]
    assert list(await store.events(types=())) == []
    assert list(await store.events(after=99)) == []


async def test_committing_again_changes_nothing(store: Store) -> None:
    first = step(1, IncidentChanged(incident=incident("inc-1", 20)), offset=10)
    newer = step(2, IncidentChanged(incident=incident("inc-1", 20, resolved=90)), offset=20)
    await store.commit(first)
    await store.commit(newer)
    await store.commit(first)
    await store.commit(newer)
    assert await store.position() == Position(seq=2, offset=20)
    assert [one.seq for one in await store.events()] == [1, 2]
    found = await store.incident(IncidentId("inc-1"))
    assert found is not None
    assert found.state == IncidentState.RESOLVED


async def test_a_commit_that_overlaps_adds_only_what_is_new(store: Store) -> None:
    one, two = (ChangeSeen(change=change(f"chg-{n}", n)) for n in (1, 2))
    await store.commit(step(1, one))
    await store.commit(step(1, one, two, offset=25))
    assert [found.seq for found in await store.events()] == [1, 2]
    assert await store.position() == Position(seq=2, offset=25)


async def test_the_offset_grows_without_events_and_never_shrinks(store: Store) -> None:
    await store.commit(Decisions(offset=30, at=Millis(1)))
    await store.commit(Decisions(offset=20, at=Millis(2)))
    assert await store.position() == Position(seq=0, offset=30)
    await store.commit(step(1, ChangeSeen(change=change("chg-1", 1)), offset=25))
    assert await store.position() == Position(seq=1, offset=30)


@pytest.mark.parametrize("first", [0, 2])
async def test_a_gap_is_refused_and_leaves_no_trace(store: Store, first: int) -> None:
    if first:
        decisions = step(first, ChangeSeen(change=change("chg-1", 1)))
    else:  # the gap is inside
        events = [step(n, ChangeSeen(change=change(f"chg-{n}", n))).events[0] for n in (1, 3)]
        decisions = Decisions(offset=10, at=Millis(1), events=tuple(events))
    with pytest.raises(ValueError, match="leaves a gap: the store waits for event"):
        await store.commit(decisions)
    assert await store.position() == Position()
    assert list(await store.events()) == []
    assert list(await store.changes()) == []


async def test_concurrent_use_is_safe(store: Store) -> None:
    """Writers that race with the same events, and readers, all at once."""

    async def write(seq: int) -> None:
        try:
            await store.commit(step(seq, ChangeSeen(change=change(f"chg-{seq}", seq))))
        except ValueError:
            await asyncio.sleep(0)

    for seq in range(1, 6):
        await asyncio.gather(write(seq), write(seq), store.events(), store.position())
    assert [one.seq for one in await store.events()] == [1, 2, 3, 4, 5]


# ----------------------------------------------------------------------------------- incidents


async def test_incidents_newest_first_and_by_filter(store: Store) -> None:
    incidents = [
        incident("inc-a", 100, resolved=200),
        incident("inc-b", 150, entities=("db", "checkout")),
        incident("inc-c", 150, entities=("cart",)),
        incident("inc-d", 300),
    ]
    await store.commit(step(1, *(IncidentChanged(incident=one) for one in incidents)))

    async def ids(**filters: Any) -> list[str]:
        return [one.id[-1] for one in await store.incidents(**filters)]

    assert await ids() == ["d", "c", "b", "a"]
    assert await ids(state=IncidentState.OPEN) == ["d", "c", "b"]
    assert await ids(state=IncidentState.RESOLVED) == ["a"]
    assert await ids(entity=EntityId("checkout")) == ["d", "b", "a"]
    assert await ids(entity=EntityId("db")) == ["b"]
    assert await ids(since=Millis(200)) == ["d", "c", "b", "a"]
    assert await ids(since=Millis(201)) == ["d", "c", "b"]
    assert await ids(until=Millis(150)) == ["a"]
    assert await ids(until=Millis(151)) == ["c", "b", "a"]
    assert await ids(entity=EntityId("checkout"), until=Millis(300)) == ["b", "a"]
    assert (await store.incidents(limit=1))[0] == incidents[3]


async def test_incidents_page_by_page(store: Store) -> None:
    events = [IncidentChanged(incident=incident(f"inc-{n}", 100 + n // 2)) for n in range(7)]
    await store.commit(step(1, *events))
    seen: list[str] = []
    before = None
    while page := await store.incidents(before=before, limit=2):
        seen += [one.id for one in page]
        before = (page[-1].opened_at, page[-1].id)
    assert seen == [f"inc-{n}" for n in range(6, -1, -1)]


async def test_an_incident_is_as_of_its_last_event(store: Store) -> None:
    await store.commit(step(1, IncidentChanged(incident=incident("inc-1", 20))))
    grown = incident("inc-1", 20, entities=("checkout", "db"))
    merged = incident("inc-1", 20, resolved=70, entities=("db",))
    await store.commit(step(2, IncidentChanged(incident=grown), IncidentChanged(incident=merged)))
    assert await store.incident(IncidentId("inc-1")) == merged
    assert list(await store.incidents(entity=EntityId("checkout"))) == []
    assert list(await store.incidents(entity=EntityId("db"))) == [merged]


# ------------------------------------------------------------- alerts, anomalies and changes


async def test_alerts_newest_first_and_by_filter(store: Store) -> None:
    alerts = [
        alert("alert-a", 100, ends=150),
        alert("alert-b", 200),
        alert("alert-c", 200, incident_id=None),
    ]
    await store.commit(step(1, *(AlertChanged(alert=one) for one in alerts)))
    assert list(await store.alerts()) == alerts[::-1]
    assert list(await store.alerts(state=AlertState.FIRING)) == [alerts[2], alerts[1]]
    assert list(await store.alerts(incident=IncidentId("inc-1"))) == [alerts[1], alerts[0]]
    assert list(await store.alerts(before=(Millis(200), AlertId("alert-c")), limit=1)) == [
        alerts[1]
    ]
    resolved = alert("alert-b", 200, ends=300)
    await store.commit(step(4, AlertChanged(alert=resolved)))
    assert await store.alert(AlertId("alert-b")) == resolved
    assert list(await store.alerts(state=AlertState.FIRING)) == [alerts[2]]


async def test_anomalies_overlapping_a_time(store: Store) -> None:
    started = [
        anomaly("ano-a", 100),
        anomaly("ano-b", 200, entity_id="db"),
        anomaly("ano-c", 300),
    ]
    await store.commit(step(1, *(AnomalyStarted(anomaly=one) for one in started)))
    ended = anomaly("ano-a", 100, ended=250)
    await store.commit(step(4, AnomalyEnded(anomaly=ended)))
    a, b, c = ended, started[1], started[2]
    assert list(await store.anomalies()) == [c, b, a]
    assert list(await store.anomalies(active=True)) == [c, b]
    assert list(await store.anomalies(active=False)) == [a]
    assert list(await store.anomalies(entity=EntityId("db"))) == [b]
    assert list(await store.anomalies(since=Millis(250))) == [c, b, a]
    assert list(await store.anomalies(since=Millis(251))) == [c, b]
    assert list(await store.anomalies(until=Millis(200))) == [b, a]
    assert list(await store.anomalies(limit=1)) == [c]


async def test_changes_newest_first(store: Store) -> None:
    a, b, c = change("chg-a", 100), change("chg-b", 200, None), change("chg-c", 200)
    await store.commit(step(1, *(ChangeSeen(change=one) for one in (a, b, c))))
    assert list(await store.changes()) == [c, b, a]
    assert list(await store.changes(entity=EntityId("checkout"))) == [c, a]
    assert list(await store.changes(since=Millis(200))) == [c, b]
    assert list(await store.changes(until=Millis(199), limit=5)) == [a]


# --------------------------------------------------------------------------------------- graph


async def test_the_graph_as_it_was(store: Store) -> None:
    a, b, b2, c = entity("a"), entity("b"), entity("b", kind=entity("x").kind), entity("c")
    ab, bc = edge("a", "b"), edge("b", "c", EdgeKind.READ)
    await store.commit(step(1, TopologyChanged(version=1, entities=(b, a), edges=(ab,)), at=1000))
    await store.commit(step(2, TopologyChanged(version=2, entities=(c,), edges=(bc,)), at=2000))
    await store.commit(step(3, TopologyChanged(version=3, entities=(b2,), gone=(ab,)), at=3000))

    assert await store.graph(Millis(999)) == GraphSnapshot()
    assert await store.graph(Millis(1000)) == GraphSnapshot(
        version=1, at=Millis(1000), entities=(a, b), edges=(ab,)
    )
    assert await store.graph(Millis(2999)) == GraphSnapshot(
        version=2, at=Millis(2000), entities=(a, b, c), edges=(ab, bc)
    )
    now = GraphSnapshot(version=3, at=Millis(3000), entities=(a, b2, c), edges=(bc,))
    assert await store.graph() == now
    assert await store.graph(Millis(10**15)) == now


async def test_an_edge_may_go_and_come_back_and_change(store: Store) -> None:
    old, new = edge("a", "b", seen=1), edge("a", "b", seen=9)
    await store.commit(
        step(
            1,
            TopologyChanged(version=1, edges=(old,)),
            TopologyChanged(version=2, gone=(old,)),
            TopologyChanged(version=3, edges=(old,)),
            TopologyChanged(version=4, edges=(new,), gone=(old,)),
            at=1000,
        )
    )
    assert (await store.graph()).edges == (new,)
    assert (await store.graph(Millis(1000))).version == 4


async def test_the_graph_survives_a_clock_set_back(store: Store) -> None:
    for seq, at in ((1, 5000), (2, 3000), (3, 4000)):
        event = TopologyChanged(version=seq, entities=(entity(f"e{seq}"),))
        await store.commit(step(seq, event, at=at))
    assert (await store.graph()).version == 3
    assert (await store.graph(Millis(3500))).version == 2
    assert [one.id for one in (await store.graph(Millis(3500))).entities] == ["e1", "e2"]


# -------------------------------------------------------------------------------------- outbox


async def test_a_notification_waits_until_it_is_sent(store: Store) -> None:
    about = alert("alert-1", 20)
    first, second = notification("not-1", about), notification("not-2", about)
    events = [NotificationQueued(notification=one) for one in (first, second)]
    await store.commit(step(1, *events))
    now = Millis(100)
    assert list(await store.outbox(now)) == [
        Outgoing(notification=first),
        Outgoing(notification=second),
    ]
    assert list(await store.outbox(now, limit=1)) == [Outgoing(notification=first)]
    await store.sent("not-1", Millis(110))
    assert list(await store.outbox(now)) == [Outgoing(notification=second)]

    await store.retry("not-2", Millis(500), "HTTP 503")
    assert list(await store.outbox(Millis(499))) == []
    again = Outgoing(notification=second, attempts=1, not_before=Millis(500), last_error="HTTP 503")
    assert list(await store.outbox(Millis(500))) == [again]
    await store.give_up("not-2", Millis(600), "HTTP 404")
    assert list(await store.outbox(Millis(10**15))) == []
    assert list(await store.ledger(AlertId("alert-1"))) == [
        Ledger(
            notification=first,
            attempts=1,
            sent_at=Millis(110),
            given_up_at=None,
            last_error=None,
        ),
        Ledger(
            notification=second,
            attempts=2,
            sent_at=None,
            given_up_at=Millis(600),
            last_error="HTTP 404",
        ),
    ]
    assert list(await store.ledger(AlertId("alert-2"))) == []


async def test_a_notification_is_never_queued_twice(store: Store) -> None:
    about = alert("alert-1", 20)
    queued = NotificationQueued(notification=notification("not-1", about, created=1))
    repeated = NotificationQueued(notification=notification("not-1", about, created=2))
    await store.commit(step(1, queued, repeated))
    assert len(await store.outbox(Millis(100))) == 1
    await store.sent("not-1", Millis(110))
    await store.commit(step(3, repeated))
    assert list(await store.outbox(Millis(10**15))) == []
    (row,) = await store.ledger(AlertId("alert-1"))
    assert (row.sent_at, row.attempts, row.notification.created_at) == (110, 1, 1)


async def test_what_was_delivered_stays_delivered(store: Store) -> None:
    queued = NotificationQueued(notification=notification("not-1", alert("alert-1", 20)))
    await store.commit(step(1, queued))
    await store.sent("not-1", Millis(110))
    await store.retry("not-1", Millis(0), "late answer")
    await store.give_up("not-1", Millis(120), "late answer")
    await store.sent("not-1", Millis(130))
    (row,) = await store.ledger(AlertId("alert-1"))
    assert (row.sent_at, row.given_up_at, row.attempts) == (110, None, 1)


async def test_an_unknown_notification_is_a_mistake(store: Store) -> None:
    for call in (
        store.sent("not-9", Millis(1)),
        store.retry("not-9", Millis(1), "x"),
        store.give_up("not-9", Millis(1), "x"),
    ):
        with pytest.raises(KeyError, match="not-9"):
            await call


async def test_closing_twice_is_fine(store_factory: Factory) -> None:
    built = store_factory()
    await built.open()
    await built.close()
    await built.close()


# ------------------------------------------------------------------------------------ feedback


async def test_feedback_is_found_by_kind_time_and_whether_it_holds(store: Store) -> None:
    await store.commit(
        step(
            1,
            FeedbackChanged(feedback=feedback("fb-1", 10, start=0, end=5)),
            FeedbackChanged(feedback=feedback("fb-2", 20, kind=FeedbackKind.MISSED)),
            FeedbackChanged(feedback=feedback("fb-3", 20, start=200, end=300)),
        )
    )
    everything = [one.id for one in await store.feedback()]
    assert everything == ["fb-3", "fb-2", "fb-1"]
    assert [one.id for one in await store.feedback(limit=1)] == ["fb-3"]
    assert [one.id for one in await store.feedback(kind=FeedbackKind.MISSED)] == ["fb-2"]
    assert [one.id for one in await store.feedback(since=Millis(50))] == ["fb-3", "fb-2"]
    assert [one.id for one in await store.feedback(until=Millis(150))] == ["fb-2", "fb-1"]


async def test_feedback_that_was_undone_stays_with_who_and_when(store: Store) -> None:
    await store.commit(step(1, FeedbackChanged(feedback=feedback("fb-1", 10))))
    undone = feedback("fb-1", 10, undone=30)
    await store.commit(step(2, FeedbackChanged(feedback=undone)))
    assert await store.feedback_entry(FeedbackId("fb-1")) == undone
    assert await store.feedback_entry(FeedbackId("fb-9")) is None
    assert list(await store.feedback(holds=True)) == []
    assert list(await store.feedback(holds=False)) == [undone]
    said = await store.events(types={"feedback_changed"})
    assert [one.event.feedback.holds for one in said if one.event.type == "feedback_changed"] == [
        True,
        False,
    ]
