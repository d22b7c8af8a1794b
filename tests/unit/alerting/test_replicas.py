"""Two replicas that share a ledger: people are told once, and always."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from dos.alerting import replicas as module
from dos.alerting.message import annotate, identity, labels
from dos.alerting.replicas import Replicas, names_of
from dos.app.sentinel import Sentinel
from dos.ingest.base import Delivery
from dos.kit.clock import MINUTE, SECOND, Clock, ManualClock, Millis, SystemClock
from dos.kit.errors import TransientError
from dos.model.alert import Acknowledgement, Alert, AlertState, Notification, PostedAlert
from dos.model.ids import AlertId
from dos.model.impact import Severity
from dos.model.matchers import Matcher, Operator
from dos.model.silence import Silence
from dos.storage.sql.shared import SqlSharedLedger
from dos.storage.telling import RESOLVED, WINDOW, Row, Saying, answer
from tests.unit.alerting.builders import START, at, incident
from tests.unit.app import played
from tests.unit.app.test_sentinel import Inbox, until

FIRING = "firing:sev1"


def saying(state: str = FIRING, *, of: str = "a", names: str = "x", **more: Any) -> Saying:
    return Saying(
        receiver="pager",
        alert=AlertId(of),
        names=frozenset(names.split()),
        state=state,
        starts_at=more.get("starts", START),
        decided_at=more.get("decided", at(1)),
    )


@pytest.fixture(params=["sqlite", "postgres"])
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'shared.db'}"
    return str(request.getfixturevalue("postgres_database"))


@pytest_asyncio.fixture
async def ledgers(shared_url: str) -> AsyncIterator[tuple[SqlSharedLedger, SqlSharedLedger]]:
    first, second = SqlSharedLedger(shared_url, "one"), SqlSharedLedger(shared_url, "two")
    await asyncio.gather(first.open(), second.open())  # as replicas that start together
    yield first, second
    await first.close()
    await second.close()


async def tell(ledger: SqlSharedLedger, one: Saying, now: Millis) -> str:
    """Tell it, if it is the replica's to tell."""
    claim = await ledger.claim([one], now, Millis(now + MINUTE))
    if claim.told_by is not None:
        return "by another"
    if claim.wait_until is not None:
        return "wait"
    await ledger.told([one], claim.matters, now)
    return str(claim.matters[0])


async def test_what_one_told_the_other_does_not(
    ledgers: tuple[SqlSharedLedger, SqlSharedLedger],
) -> None:
    one, two = ledgers
    assert await tell(one, saying(), at(1)) == "a"
    assert await tell(two, saying(of="b", decided=at(2)), at(2)) == "by another"
    # An hour later each tells it again; the first to come does.
    assert await tell(two, saying(of="b", decided=at(3600)), at(3600)) == "a"
    assert await tell(one, saying(decided=at(3601)), at(3601)) == "by another"
    # Its end: told once, under the name by which the receiver knows it.
    assert await tell(two, saying(RESOLVED, of="b", decided=at(4000)), at(4000)) == "a"
    assert await tell(one, saying(RESOLVED, decided=at(4010)), at(4010)) == "by another"
    # It begins again: news.
    again = {"starts": at(4500), "decided": at(4501)}
    assert await tell(one, saying(of="c", **again), at(4501)) == "c"
    assert await tell(two, saying(of="d", **again), at(4502)) == "by another"


async def test_who_is_late_with_all_of_it_tells_nothing(
    ledgers: tuple[SqlSharedLedger, SqlSharedLedger],
) -> None:
    one, two = ledgers
    assert await tell(one, saying(), at(1)) == "a"
    assert await tell(one, saying(RESOLVED, decided=at(30)), at(30)) == "a"
    assert await tell(two, saying(of="b", decided=at(2)), at(50)) == "by another"
    assert await tell(two, saying(RESOLVED, of="b", decided=at(31)), at(51)) == "by another"


async def test_the_survivor_goes_on_in_the_others_name(
    ledgers: tuple[SqlSharedLedger, SqlSharedLedger],
) -> None:
    one, two = ledgers
    assert await tell(one, saying(), at(1)) == "a"
    assert await tell(two, saying(of="b", decided=at(2)), at(2)) == "by another"
    # One is gone. What it told is resolved all the same, and where it was told.
    assert await tell(two, saying(RESOLVED, of="b", decided=at(900)), at(900)) == "a"
    # What it told a while ago does not keep the next trouble of the same service quiet.
    late = {"starts": at(9000), "decided": at(9001)}
    assert await tell(two, saying(of="c", **late), at(9001)) == "c"


async def test_what_was_never_resolved_does_not_hide_the_next_trouble(
    ledgers: tuple[SqlSharedLedger, SqlSharedLedger],
) -> None:
    one, two = ledgers
    assert await tell(one, saying(), at(1)) == "a"
    later = Millis(START + 2 * WINDOW)
    assert await tell(two, saying(of="b", starts=later, decided=later), later) == "b"


async def test_two_at_once_and_one_that_dies_at_it(
    ledgers: tuple[SqlSharedLedger, SqlSharedLedger],
) -> None:
    one, two = ledgers
    lease = at(75)
    mine = await one.claim([saying()], at(1), lease)
    assert (mine.told_by, mine.wait_until) == (None, None)
    other = await two.claim([saying(of="b")], at(1), lease)
    assert other.wait_until == lease
    await one.release([saying()])
    other = await two.claim([saying(of="b")], at(2), lease)
    assert (other.told_by, other.wait_until) == (None, None)
    # Two dies before it says how it went: after its lease it is anybody's.
    assert (await one.claim([saying()], at(74), at(150))).wait_until == lease
    assert await tell(one, saying(), at(76)) == "a"


async def test_a_worse_severity_and_a_new_alert_in_a_group_are_news(
    ledgers: tuple[SqlSharedLedger, SqlSharedLedger],
) -> None:
    one, two = ledgers
    assert await tell(one, saying("firing:sev3"), at(1)) == "a"
    assert await tell(two, saying("firing:sev1", of="b", decided=at(2)), at(2)) == "a"
    group = [saying("firing:sev1", of="b", decided=at(3)), saying(of="c", names="y")]
    claim = await one.claim(group, at(3), at(60))
    assert claim.told_by is None
    await one.told(group, claim.matters, at(3))
    claim = await two.claim(group[1:], at(4), at(60))
    assert claim.told_by == "one"


async def test_thousands_of_alerts_in_one_group(
    ledgers: tuple[SqlSharedLedger, SqlSharedLedger],
) -> None:
    one, two = ledgers
    group = [saying(of=f"a{i}", names=f"n{i}") for i in range(3000)]
    claim = await one.claim(group, at(1), at(60))
    await one.told(group, claim.matters, at(2))
    assert (await two.claim(group, at(3), at(60))).told_by == "one"


def test_answers_to_rows_of_the_same_replica_only() -> None:
    row = Row(
        replica="one", name="x", alert=AlertId("a"), matter=AlertId("a"), state=FIRING,
        at=at(1), is_told=True, claim=FIRING, claimed_until=at(99),
    )  # fmt: skip
    claim = answer("one", [saying(decided=at(2))], [[row]], at(2))
    assert (claim.told_by, claim.wait_until) == (None, None)


Delays = st.lists(st.integers(0, 50), min_size=8, max_size=8)


@settings(max_examples=60, deadline=None)
@given(
    lasts=st.lists(st.tuples(st.integers(120, 900), st.integers(120, 900)), min_size=1, max_size=4),
    lags=st.tuples(Delays, Delays),
    dead=st.integers(0, 12),
)
def test_each_turn_of_an_alert_is_told_once(
    tmp_path_factory: pytest.TempPathFactory,
    lasts: list[tuple[int, int]],
    lags: tuple[list[int], list[int]],
    dead: int,
) -> None:
    """Replicas less than `WINDOW` apart; one of them may die on the way."""
    turns: list[tuple[int, str, int]] = []
    clock = 0
    for number, (firing, calm) in enumerate(lasts):
        turns += [(clock, FIRING, number), (clock + firing, RESOLVED, number)]
        clock += firing + calm
    steps = sorted(
        (when + lags[who][number % 8], who, number)
        for number, (when, _, _) in enumerate(turns)
        for who in (0, 1)
    )

    async def play() -> list[tuple[int, str]]:
        url = f"sqlite+aiosqlite:///{tmp_path_factory.getbasetemp() / 'turns.db'}"
        receiver = uuid4().hex  # the database is that of all examples
        both = SqlSharedLedger(url, "one"), SqlSharedLedger(url, "two")
        told: list[tuple[int, str]] = []
        for ledger in both:
            await ledger.open()
        for done, (when, who, number) in enumerate(steps):
            if who == 0 and done >= dead:
                continue
            began, state, life = turns[number]
            starts = began if state == FIRING else turns[number - 1][0]
            one = saying(state, of=f"{who}-{life}", starts=at(starts), decided=at(when))
            one = replace(one, receiver=receiver)
            result = await tell(both[who], one, at(when))
            if result != "by another":
                told.append((number, result))
        for ledger in both:
            await ledger.close()
        return told

    told = asyncio.run(play())
    assert [number for number, _ in told] == list(range(len(turns)))
    for (_, firing), (_, resolved) in zip(told[::2], told[1::2], strict=True):
        assert firing == resolved  # the receiver finds what it is the end of


def test_names_are_the_same_on_every_replica() -> None:
    first = incident()
    alert = Alert(
        id=AlertId("alr-1"),
        fingerprint="f",
        state=AlertState.FIRING,
        severity=Severity.SEV1,
        labels=labels(first, Severity.SEV1),
        annotations=annotate(first, Severity.SEV1, ""),
        starts_at=START,
        updated_at=START,
        incident_id=first.id,
    )
    assert names_of(alert) == {f"incident:{one}" for one in first.entities} | {
        f"incident:{dict(alert.labels)['service']}"
    }
    assert identity(first)[0][1] == "DosIncident"
    posted = replace(alert, incident_id=None, labels=(("alertname", "Up"),))
    assert names_of(posted) == {"alert:f"}
    more = dict(alert.annotations) | {"affected": "a, b, c, d, e and 12 more"}
    names = names_of(replace(alert, annotations=tuple(more.items())))
    assert {"incident:a", "incident:e"} <= names
    assert not any("more" in one for one in names)


class Away(SqlSharedLedger):
    """A ledger that may be out of reach."""

    away = False
    answers = asyncio.Event()
    answers.set()

    async def claim(self, *given: Any) -> Any:
        await self.answers.wait()
        if self.away:
            raise TransientError("No route to the database.")
        return await super().claim(*given)


async def test_cut_off_each_tells_what_it_decided(tmp_path: Path) -> None:
    clock = ManualClock(at(1))
    ledger = Away(f"sqlite+aiosqlite:///{tmp_path / 'shared.db'}", "one")
    replicas = Replicas(ledger, clock)
    alert = PostedAlert(labels=(("alertname", "A"),), starts_at=START, updated_at=START)
    told = Notification(
        id="n", receiver="pager", alert=_standing(alert, "a"), created_at=clock.now()
    )
    ledger.away = True
    word = await replicas.ask(told)
    assert (word.told_by, word.wait, word.notification) == (None, None, told)
    assert replicas.trouble == "No route to the database."
    ledger.away = False
    assert (await replicas.ask(told)).sayings == ()  # not asked again at once
    clock.set(at(10))
    word = await replicas.ask(told)
    assert len(word.sayings) == 1
    assert replicas.trouble is None
    # One that takes the question and does not answer: no more are piled up behind it.
    ledger.answers = asyncio.Event()
    assert (await replicas.ask(told)).sayings == ()
    assert str(replicas.trouble).startswith("No answer within ")
    clock.set(at(60))
    assert (await replicas.ask(told)).sayings == ()
    ledger.answers.set()
    await heartbeats(1)
    assert len((await replicas.ask(told)).sayings) == 1
    await replicas.close()


def _standing(posted: PostedAlert, name: str) -> Alert:
    return Alert(
        id=AlertId(name),
        fingerprint=posted.fingerprint,
        state=AlertState.FIRING,
        severity=Severity.SEV1,
        labels=posted.labels,
        annotations=(),
        starts_at=posted.starts_at,
        updated_at=posted.updated_at,
    )


ROUTES = """
route: {receiver: inbox, group_by: [alertname], group_wait: 0s, group_interval: 1s}
receivers: [{name: inbox}]
"""


class Pair:
    """Two whole DOS side by side, on real time."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        url = f"sqlite+aiosqlite:///{directory / 'shared.db'}"
        routes = directory / "alertmanager.yml"
        routes.write_text(ROUTES)
        self.inboxes = Inbox(), Inbox()
        self.clock = clock
        self.both = tuple(
            Sentinel(
                played.settings(
                    sources=[{"type": "push"}],
                    alerting={
                        "replicas": {"ledger": url, "name": name},
                        "routes_file": str(routes),
                        "receivers": [{"type": "console"}],
                    },
                ),
                clock,
                offload=False,
                extra_receivers={"inbox": inbox},
            )
            for name, inbox in zip(("one", "two"), self.inboxes, strict=True)
        )

    @property
    def told(self) -> list[tuple[str, str]]:
        return [
            (dict(one.alert.labels)["alertname"], one.state.value)
            for inbox in self.inboxes
            for one in inbox.told
        ]

    async def post(self, name: str, *, ended: bool = False, to: tuple[int, ...] = (0, 1)) -> None:
        now = self.clock.now()
        one = PostedAlert(
            labels=(("alertname", name), ("severity", "critical")),
            starts_at=Millis(now - 10 * SECOND),
            ends_at=now if ended else None,
            updated_at=now,
        )
        for number in to:
            assert await self.both[number].submit("push", Delivery(alerts=(one,)))


@pytest_asyncio.fixture
async def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    monkeypatch.setattr(module, "ANSWERS_WITHIN", 60.0)  # a busy machine is not a lost database
    made = Pair(tmp_path, SystemClock())
    async with made.both[0], made.both[1]:
        yield made


async def heartbeats(count: int) -> None:
    """Time for so many of them, in which more would be told if it were going to be."""
    await SystemClock().sleep(count * 1.1)


async def test_both_get_it_and_one_tells(pair: Pair) -> None:
    await pair.post("DiskFull")
    await until(lambda: len(pair.told) >= 1)
    await heartbeats(3)
    assert pair.told == [("DiskFull", "firing")]
    await pair.post("DiskFull", ended=True)
    await until(lambda: len(pair.told) >= 2)
    await heartbeats(3)
    assert pair.told[0] != pair.told[1]
    assert sorted(pair.told) == [("DiskFull", "firing"), ("DiskFull", "resolved")]
    for one in pair.both:
        assert await one.store.outbox(pair.clock.now()) == []
    ids = {told.alert.id for inbox in pair.inboxes for told in inbox.told}
    assert len(ids) == 1


async def test_without_their_ledger_both_tell(tmp_path: Path) -> None:
    (tmp_path / "shared.db").write_bytes(b"not a database" * 1000)
    made = Pair(tmp_path, SystemClock())
    async with made.both[0], made.both[1]:
        await made.post("DiskFull")
        await until(lambda: len(made.told) >= 2)
        assert made.told == [("DiskFull", "firing")] * 2
        assert "damaged" in str(made.both[0].exchange.replicas.trouble)  # type: ignore[union-attr]  # it has replicas


async def test_silences_and_acknowledgements_hold_everywhere(pair: Pair) -> None:
    one, two = pair.both
    now = pair.clock.now()
    silence = Silence(
        id="s1",
        matchers=(Matcher(name="alertname", operator=Operator.EQUAL, value="Noise"),),
        starts_at=now,
        ends_at=Millis(now + MINUTE),
        created_by="Ann",
        comment="known",
        updated_at=now,
    )
    assert await one.submit("push", Delivery(silences=(silence,)))
    desk = two.runner.pipeline.parts.desk
    await until(lambda: desk.silences.find("s1") is not None)
    await pair.post("Noise")
    await pair.post("DiskFull")
    await until(lambda: len(pair.told) >= 1)
    [alert] = [a for a in two.runner.pipeline.parts.desk.firing if "DiskFull" in str(a.labels)]
    said = Acknowledgement(alert=alert.id, by="Ben", at=pair.clock.now())
    assert await two.submit("push", Delivery(acknowledgements=(said,)))
    mine = one.runner.pipeline.parts.desk
    await until(lambda: any(a.acknowledged for a in mine.firing))
    [taken] = [a for a in mine.firing if a.acknowledged]
    assert taken.acknowledged is not None
    assert (taken.acknowledged.by, taken.acknowledged.alert) == ("Ben", taken.id)
    # Its end reaches the other one too.
    over = pair.clock.now()
    assert await two.submit(
        "push", Delivery(silences=(replace(silence, ends_at=over, updated_at=over),))
    )
    await until(lambda: _ends(one) == over)
    assert pair.told == [("DiskFull", "firing")]


def _ends(sentinel: Sentinel) -> Millis | None:
    found = sentinel.runner.pipeline.parts.desk.silences.find("s1")
    return found.ends_at if found else None
