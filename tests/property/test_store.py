"""The SQL store against the one in memory.

Any decisions, repeated and overlapping as after kills, must leave both with the same answers.
"""

from __future__ import annotations

import asyncio
import tempfile

from hypothesis import given, settings
from hypothesis import strategies as st

from dos.kit.clock import Millis
from dos.model.alert import AlertState
from dos.model.events import (
    AlertChanged,
    AnomalyEnded,
    AnomalyStarted,
    ChangeSeen,
    Decisions,
    Event,
    IncidentChanged,
    NotificationQueued,
    Recorded,
    TopologyChanged,
)
from dos.model.ids import AlertId, EntityId, IncidentId
from dos.model.incident import IncidentState
from dos.storage.base import Store
from dos.storage.memory import MemoryStore
from dos.storage.sql.repositories import SqlStore
from tests.unit.storage.examples import (
    alert,
    anomaly,
    change,
    edge,
    entity,
    incident,
    notification,
)

names = st.sampled_from(["a", "b", "c"])
times = st.integers(0, 50)
ends = st.none() | st.integers(0, 60)
members = st.lists(names, min_size=1, max_size=3).map(tuple)
edges = st.lists(st.builds(edge, names, names, seen=times), max_size=3, unique=True).map(tuple)
alerts = st.builds(alert, names, times, ends, st.none() | names)
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        TopologyChanged,
        version=st.integers(0, 9),
        entities=st.lists(st.builds(entity, names), max_size=3).map(tuple),
        edges=edges,
        gone=edges,
    ),
    st.builds(IncidentChanged, incident=st.builds(incident, names, times, ends, members)),
    st.builds(AnomalyStarted, anomaly=st.builds(anomaly, names, times, st.none(), names)),
    st.builds(AnomalyEnded, anomaly=st.builds(anomaly, names, times, times, names)),
    st.builds(AlertChanged, alert=alerts),
    st.builds(ChangeSeen, change=st.builds(change, names, times, st.none() | names)),
    st.builds(NotificationQueued, notification=st.builds(notification, names, alerts, times)),
)
deliveries = st.tuples(st.sampled_from(["sent", "retry", "give_up"]), names, times)
steps = st.lists(
    st.tuples(
        st.lists(events, max_size=4), times, st.integers(0, 3), st.lists(deliveries, max_size=2)
    ),
    min_size=1,
    max_size=6,
)


async def deliver(store: Store, how: str, name: str, at: int) -> str:
    try:
        if how == "sent":
            await store.sent(name, Millis(at))
        elif how == "retry":
            await store.retry(name, Millis(at), "HTTP 503")
        else:
            await store.give_up(name, Millis(at), "HTTP 404")
    except KeyError:
        return "unknown"
    return "noted"


async def answers(store: Store) -> list[object]:
    found: list[object] = [await store.position(), await store.events()]
    found.append(await store.events(after=2, limit=3, types=["alert_changed", "change_seen"]))
    found.append(await store.graph())
    for at in (10, 30):
        t = Millis(at)
        found += [
            await store.graph(t),
            await store.outbox(t),
            await store.incidents(since=t),
            await store.incidents(until=t, state=IncidentState.OPEN),
            await store.incidents(before=(t, IncidentId("b")), limit=2),
            await store.alerts(before=(t, AlertId("b")), state=AlertState.FIRING),
            await store.anomalies(since=t),
            await store.anomalies(until=t, active=True),
            await store.changes(since=t, limit=2),
            await store.changes(until=t),
        ]
    for name in ("a", "b", "c"):
        found += [
            await store.incident(IncidentId(name)),
            await store.incidents(entity=EntityId(name)),
            await store.alert(AlertId(name)),
            await store.alerts(incident=IncidentId(name)),
            await store.anomalies(entity=EntityId(name), active=False),
            await store.changes(entity=EntityId(name)),
            await store.ledger(AlertId(name)),
        ]
    return [list(one) if isinstance(one, (list, tuple)) else one for one in found]


async def play(
    store: Store, played: list[tuple[list[Event], int, int, list[tuple[str, str, int]]]]
) -> list[object]:
    await store.open()
    written: list[Recorded] = []
    outcomes: list[object] = []
    for offset, (new, at, repeated, tried) in enumerate(played):
        again = written[len(written) - repeated :] if repeated else []
        fresh = [
            Recorded(seq=number, at=Millis(at), event=event)
            for number, event in enumerate(new, len(written) + 1)
        ]
        written += fresh
        await store.commit(Decisions(offset=offset, at=Millis(at), events=(*again, *fresh)))
        outcomes += [await deliver(store, *one) for one in tried]
    outcomes += await answers(store)
    await store.close()
    return outcomes


@given(steps)
@settings(max_examples=25, deadline=None)
def test_sql_answers_as_memory_does(
    played: list[tuple[list[Event], int, int, list[tuple[str, str, int]]]],
) -> None:
    async def both() -> tuple[list[object], list[object]]:
        with tempfile.TemporaryDirectory() as place:
            sql = SqlStore(f"sqlite+aiosqlite:///{place}/dos.db")
            return await play(MemoryStore(), played), await play(sql, played)

    memory, database = asyncio.run(both())
    assert memory == database
