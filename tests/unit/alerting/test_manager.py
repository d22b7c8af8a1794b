"""The faces for programs: a monitor with thresholds, a manager, and channels by themselves."""

from __future__ import annotations

import asyncio
import math

import pytest

import dos
from dos.alerting.channel import NotificationChannel
from dos.alerting.manager import AlertManager
from dos.alerting.monitor import MetricMonitor, Threshold
from dos.kit.clock import ManualClock
from dos.kit.errors import ConfigError, PermanentError, TransientError
from dos.model.alert import Alert, AlertState, Notification
from dos.model.impact import Severity
from tests.unit.alerting.builders import START
from tests.unit.alerting.hooks import HookServer, answer, serving


class Box(NotificationChannel):
    def __init__(self, *errors: Exception | float) -> None:
        self.sent: list[Notification] = []
        self.tried: list[str] = []
        self.errors = list(errors)
        self.closed = False

    async def send(self, notification: Notification) -> None:
        self.tried.append(notification.id)
        if self.errors:
            trouble = self.errors.pop(0)
            if isinstance(trouble, Exception):
                raise trouble
            await asyncio.sleep(trouble)
        self.sent.append(notification)

    async def close(self) -> None:
        self.closed = True

    @property
    def states(self) -> list[tuple[AlertState, Severity]]:
        return [(one.alert.state, one.alert.severity) for one in self.sent]


def summaries(alerts: list[Alert]) -> list[str]:
    return [dict(one.annotations)["summary"] for one in alerts]


def test_the_messages_are_those_of_the_thresholds() -> None:
    monitor = MetricMonitor(clock=ManualClock(START))
    monitor.metrics = {
        "checkout": {"cpu_usage": 0.85, "error_rate": 0.123, "memory_usage": math.nan},
        "db": {"cpu_usage": 0.8, "error_rate": 0.02, "queue_length": 1e9},
    }
    found = monitor.check_metrics()
    assert summaries(found) == ["High CPU in checkout: 85%", "High error rate in checkout: 12.3%"]
    assert [one.severity for one in found] == [Severity.SEV3, Severity.SEV2]
    assert dict(found[0].labels)["service"] == "checkout"


def test_an_alert_keeps_its_identity_until_it_is_over() -> None:
    clock = ManualClock(START)
    monitor = MetricMonitor({"cpu": Threshold(above=0.8, severe_above=0.95)}, clock=clock)
    monitor.metrics["db"] = {"cpu": 0.9}
    (began,) = monitor.check_metrics()
    clock.advance(60)
    monitor.metrics["db"]["cpu"] = 0.99
    (worse,) = monitor.check_metrics()
    assert (worse.id, worse.fingerprint, worse.starts_at) == (
        began.id,
        began.fingerprint,
        began.starts_at,
    )
    assert (began.severity, worse.severity) == (Severity.SEV3, Severity.SEV2)
    monitor.metrics["db"]["cpu"] = math.nan
    assert monitor.check_metrics() == []
    monitor.metrics["db"]["cpu"] = 0.1
    (over,) = monitor.check_metrics()
    assert over.state is AlertState.RESOLVED
    assert over.id == began.id
    assert over.ends_at == clock.now()
    assert monitor.check_metrics() == []


def test_a_service_that_is_gone_ends_its_alerts() -> None:
    monitor = MetricMonitor({"cpu": 0.5}, clock=ManualClock(START))
    monitor.metrics["db"] = {"cpu": 0.6}
    monitor.check_metrics()
    del monitor.metrics["db"]
    assert [one.state for one in monitor.check_metrics()] == [AlertState.RESOLVED]


@pytest.mark.parametrize("limit", [{"above": math.nan}, {"above": 0.5, "severe_above": 0.4}])
def test_a_threshold_is_a_number(limit: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="threshold"):
        Threshold(**limit)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_each_alert_is_told_once_worse_once_more_and_its_end() -> None:
    chat, pager = Box(), Box()
    clock = ManualClock(START)
    manager = AlertManager({"chat": chat, "pager": pager}, clock=clock)
    monitor = MetricMonitor(
        {"cpu": Threshold(above=0.8, severe_above=0.95)}, manager=manager, clock=clock
    )
    monitor.metrics["db"] = {"cpu": 0.9}
    for _ in range(3):
        await monitor.trigger_alert()
    assert chat.states == [(AlertState.FIRING, Severity.SEV3)]
    assert pager.states == []
    monitor.metrics["db"]["cpu"] = 0.99
    for _ in range(3):
        await monitor.trigger_alert()
    assert pager.states == [(AlertState.FIRING, Severity.SEV2)]
    assert len(manager.alerts) == 1
    (alert,) = manager.alerts
    said = manager.acknowledge(alert.id, "ann", "on it")
    assert said is not None
    assert said.acknowledged is not None
    assert manager.acknowledge(alert.id, "bob") is manager.alerts[0]
    monitor.metrics["db"]["cpu"] = 0.2
    for _ in range(3):
        await monitor.trigger_alert()
    assert chat.states[-1][0] is pager.states[-1][0] is AlertState.RESOLVED
    assert (len(chat.sent), len(pager.sent)) == (3, 2)
    assert manager.alerts == []
    assert manager.acknowledge(alert.id, "ann") is None
    await manager.close()
    assert chat.closed
    assert pager.closed


async def test_the_end_goes_to_those_who_were_told() -> None:
    chat, pager = Box(), Box()
    manager = AlertManager({"chat": chat, "pager": pager}, clock=ManualClock(START))
    monitor = MetricMonitor({"cpu": 0.5}, clock=ManualClock(START))
    monitor.metrics["db"] = {"cpu": 0.6}
    (fires,) = monitor.check_metrics()
    await manager.send_alert(fires, ["pager"])
    monitor.metrics["db"] = {"cpu": 0.1}
    (over,) = monitor.check_metrics()
    assert await manager.send_alert(over) == {"pager": None}
    assert chat.sent == []


async def test_a_channel_in_trouble_is_tried_again_and_holds_up_nobody() -> None:
    flaky = Box(TransientError("busy", retry_after=0.01))
    refused, stuck, well = Box(PermanentError("no such room")), Box(9.0, 9.0), Box()
    channels = {"flaky": flaky, "refused": refused, "stuck": stuck, "well": well}
    manager = AlertManager(channels, timeout=0.05, tries=2)
    monitor = MetricMonitor({"cpu": 0.5}, clock=ManualClock(START))
    monitor.metrics["db"] = {"cpu": 0.6}
    (alert,) = monitor.check_metrics()
    outcome = await manager.send_alert(alert, list(channels))
    assert outcome["flaky"] is outcome["well"] is None
    assert str(outcome["refused"]) == "no such room"
    assert isinstance(outcome["stuck"], TransientError)
    assert len(refused.tried) == 1
    assert flaky.tried[0] == flaky.tried[1]
    assert stuck.sent == []
    with pytest.raises(ConfigError, match=r"no channel 'fax'.*flaky, refused"):
        await manager.send_alert(alert, ["fax"])
    with pytest.raises(ConfigError, match="no channel 'fax'"):
        AlertManager(channels, routes={Severity.SEV1: ["fax"]})


async def test_a_channel_by_itself_is_made_of_its_keys() -> None:
    monitor = dos.MetricMonitor({"cpu": 0.5})
    monitor.metrics["db"] = {"cpu": 0.6}
    (alert,) = monitor.check_metrics()
    async with serving(HookServer()) as hooks:
        hooks.answers = [answer("200 OK", body="ok")]
        url = f"http://127.0.0.1:{hooks.port}/services/T/B/s3cret"
        slack = dos.SlackNotifier.of(webhook_url=url, allow_hosts=["127.0.0.1"])
        await slack.send_alert(alert)
        await slack.close()
    assert b"High cpu in db: 0.6" in hooks.requests[0].body
    assert issubclass(dos.SlackNotifier, dos.NotificationChannel)
    with pytest.raises(ConfigError, match="webhook_url") as wrong:
        dos.SlackNotifier.of(webhook_url="s3cret")
    assert "s3cret" not in str(wrong.value)
    with pytest.raises(ConfigError, match="EmailNotifier"):
        dos.EmailNotifier.of()
    with pytest.raises(ConfigError, match="PagerDutyNotifier"):
        dos.PagerDutyNotifier.of(nothing=1)
