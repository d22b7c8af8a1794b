"""Who is told when a receiver cannot be reached."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dos.alerting.base import Receiver
from dos.alerting.decision import Reason
from dos.alerting.dispatch import DeliveryPolicy
from dos.alerting.fallback import Fallbacks
from dos.app import state, wiring
from dos.app.sentinel import Sentinel
from dos.app.settings import Settings
from dos.ingest.base import Delivery
from dos.kit.clock import HOUR, Millis, SystemClock
from dos.kit.errors import ConfigError, CorruptDataError, TransientError
from dos.model.alert import Acknowledgement, Alert, AlertState, Notification, PostedAlert
from dos.model.events import AlertChanged, Event
from tests.unit.alerting.builders import at, notifications
from tests.unit.alerting.test_dispatch import Recorder, World, failing, settle
from tests.unit.alerting.test_pagerduty import grouped, life, posted

INSTEAD = {"pager": "mail", "mail": "sms"}


def undelivered(receiver: str = "pager") -> Notification:
    return replace(life()[0], receiver=receiver)


def told(events: Sequence[Event]) -> list[tuple[str, str]]:
    return [(one.receiver, one.state.value) for one in notifications(events)]


def test_what_fires_is_told_once_and_its_end_too() -> None:
    made, lost = Fallbacks(INSTEAD), undelivered()
    events = made.take([lost], [lost.alert], at(40))
    (said,) = notifications(events)
    assert said.receiver == "mail"
    assert dict(said.alert.annotations)["update"] == "pager could not be reached."
    assert said.id != lost.id
    assert made.take([lost], [lost.alert], at(50)) == []
    assert [one.reason for one in made.explain(lost.alert.id)] == [Reason.TOLD_FALLBACK]
    # That did not arrive either: the fallback's own fallback.
    assert told(made.take([said], [lost.alert], at(80))) == [("sms", "firing")]
    over = replace(lost.alert, state=AlertState.RESOLVED, ends_at=at(90))
    assert told(made.follow([AlertChanged(alert=over)], at(90))) == [
        ("mail", "resolved"),
        ("sms", "resolved"),
    ]
    assert made.follow([AlertChanged(alert=over)], at(91)) == []


def test_nobody_is_told_of_what_is_over_or_somebodys() -> None:
    made, lost = Fallbacks(INSTEAD), undelivered()
    taken = Acknowledgement(alert=lost.alert.id, by="Ann", at=at(1))
    assert made.take([lost], [], at(40)) == []
    assert made.take([lost], [replace(lost.alert, acknowledged=taken)], at(40)) == []
    assert made.take([replace(lost, receiver="sms")], [lost.alert], at(40)) == []
    end = replace(life()[-1], receiver="pager")
    assert made.take([end], [lost.alert], at(40)) == []
    over = replace(lost.alert, state=AlertState.RESOLVED)
    assert made.follow([AlertChanged(alert=over)], at(90)) == []


def test_of_a_group_only_what_still_fires() -> None:
    first, second = posted((("alertname", "A"),)), posted((("alertname", "B"),))
    lost = replace(grouped([first, second]), receiver="pager")
    made = Fallbacks(INSTEAD)
    (said,) = notifications(made.take([lost], [lost.others[0]], at(40)))
    assert [one.id for one in said.alerts] == [lost.others[0].id]


def test_a_restart_changes_nothing() -> None:
    made, lost = Fallbacks(INSTEAD), undelivered()
    made.take([lost], [lost.alert], at(40))
    again = Fallbacks({})
    again.load(made.dump())
    over = replace(lost.alert, state=AlertState.RESOLVED)
    assert told(again.follow([AlertChanged(alert=over)], at(90))) == [("mail", "resolved")]
    with pytest.raises(CorruptDataError, match="fallbacks"):
        again.load(b"x")


@pytest.mark.parametrize(
    ("fallbacks", "said"),
    [
        ({"a": "a"}, "circle: a"),
        ({"a": "b", "b": "c", "c": "b"}, "circle: a, b, c"),
        ({"a": "nobody"}, "falls back to 'nobody'"),
    ],
)
def test_what_cannot_work_is_refused(fallbacks: dict[str, str], said: str) -> None:
    names = ("a", "b", "c")
    receivers = [Receiver(name=one, fallback=fallbacks.get(one, "")) for one in names]
    with pytest.raises(ConfigError, match=said):
        wiring.fallbacks_of(receivers)


class Reports(World):
    """A world whose dispatcher tells of what is for a fallback."""

    def __init__(self, pager: Recorder, *, answer: bool = True) -> None:
        super().__init__({"pager": pager, "chat": Recorder()})
        self.reported: list[tuple[float, str]] = []
        self.answer = answer
        self.dispatcher.fallbacks = {"pager"}
        self.dispatcher.undelivered = self.hear

    async def hear(self, late: Sequence[Notification]) -> bool:
        now = (self.clock.now() - at(0)) / 1000
        self.reported += [(now, one.receiver) for one in late]
        return self.answer


async def test_what_a_dead_receiver_does_not_take_is_reported_once_within_a_minute() -> None:
    pager = Recorder(failing(10**9, TransientError("It is dead.")))
    world = Reports(pager)
    async with world.running():
        await world.pass_time(60)
        began = world.clock.now()
        await world.fire()
        await world.pass_time(200)
    ((when, name),) = world.reported
    assert name == "pager"
    assert 30 <= when - (began - at(0)) / 1000 <= 40


async def test_a_receiver_that_hangs_is_reported_too() -> None:
    pager = Recorder()
    pager.gate.clear()
    world = Reports(pager)
    async with world.running():
        await world.fire()
        await world.pass_time(45)
        assert [name for _, name in world.reported] == ["pager"]
        assert world.reported[0][0] <= 40


async def test_what_arrives_in_time_is_not_reported() -> None:
    pager = Recorder(failing(2, TransientError("It stumbles.")))
    world = Reports(pager)
    async with world.running():
        await world.fire()
        await world.pass_time(100)
        await world.fire("inc-2")
        await world.pass_time(100)
    assert len(pager.took) == 2
    assert world.reported == []


async def test_a_report_that_was_not_taken_is_repeated() -> None:
    pager = Recorder(failing(10**9, TransientError("It is dead.")))
    world = Reports(pager, answer=False)
    async with world.running():
        await world.fire()
        await world.pass_time(50)
    assert len(world.reported) > 1


async def test_the_fallback_hears_of_it_and_of_its_end(tmp_path: Path) -> None:
    """The whole way: outbox, intake log, pipeline, outbox; and a checkpoint in between."""
    clock = SystemClock()
    routes = tmp_path / "routes.yml"
    routes.write_text(
        "route: {receiver: dead, group_wait: 0s, group_interval: 100ms}\n"
        "receivers: [{name: dead}, {name: alive}]\n"
    )
    receivers = [
        {"type": "webhook", "name": "dead", "url": "http://127.0.0.1:9/", "fallback": "alive",
         "allow_hosts": ["127.0.0.1"]},
        {"type": "console", "name": "alive"},
    ]  # fmt: skip
    settings = Settings.model_validate(
        {
            "storage": {"url": "memory://"},
            "alerting": {"routes_file": str(routes), "receivers": receivers},
            "sources": [],
        }
    )
    alive = Recorder()
    async with Sentinel(settings, clock) as sentinel:
        sentinel.dispatcher.add({"alive": alive})
        sentinel.dispatcher._policy = DeliveryPolicy(fallback_after=0.5, poll=0.1)
        alert = PostedAlert(
            labels=(("alertname", "Slow"), ("severity", "critical")),
            starts_at=clock.now(),
            ends_at=Millis(clock.now() + HOUR),
            updated_at=clock.now(),
        )
        assert await sentinel.submit("push", Delivery(alerts=(alert,)))

        async def until(count: int) -> list[Notification]:
            for _ in range(1500):
                if len(alive.took) >= count:
                    return alive.took
                await asyncio.sleep(0.02)
            raise AssertionError(alive.took)

        (said,) = [one for one in await until(1) if _is_fallback(one.alert)]
        assert said.receiver == "alive"
        pipeline = sentinel.runner.pipeline
        again = wiring.build_pipeline(
            settings, wiring.open_history(settings, None), wiring.receivers_of(settings)
        )
        state.load(again, state.dump(pipeline))
        assert again.parts.fallbacks.dump() == pipeline.parts.fallbacks.dump()
        ended = replace(alert, ends_at=clock.now(), updated_at=clock.now())
        assert await sentinel.submit("push", Delivery(alerts=(ended,)))
        assert (await until(2))[-1].state is AlertState.RESOLVED
    await settle()


def _is_fallback(alert: Alert) -> bool:
    return dict(alert.annotations).get("update") == "dead could not be reached."
