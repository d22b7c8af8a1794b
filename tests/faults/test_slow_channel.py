"""A Slack that is slow, then refuses, then is dead: nobody else notices."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import count
from random import Random

import numpy as np
import pytest

from dos.alerting.dispatch import DeliveryPolicy, Dispatcher
from dos.alerting.notifiers.slack import Config as SlackConfig
from dos.alerting.notifiers.slack import SlackNotifier
from dos.alerting.notifiers.webhook import Config as WebhookConfig
from dos.alerting.notifiers.webhook import WebhookNotifier
from dos.kit.clock import SECOND, Millis, SystemClock
from dos.kit.retry import Backoff
from dos.kit.secret import Secret
from dos.model.alert import Alert, AlertState, Notification, fingerprint_of
from dos.model.events import NotificationQueued
from dos.model.ids import AlertId
from dos.model.impact import Severity
from dos.storage.memory import MemoryStore
from tests.unit.alerting.builders import commit
from tests.unit.alerting.hooks import HookServer, Request, answer, serving

CLOCK = SystemClock()
OTHERS = ("pager", "hook")
PHASE = 8.0
"""Seconds of each kind of trouble."""
PACE = 0.1
BOUND = 5.0
"""Seconds within which the others hear of 99 % of everything."""


class Hook(HookServer):
    """Remembers when what arrived."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived: dict[str, Millis] = {}

    def reply(self, request: Request) -> bytes:
        self.arrived.setdefault(request.headers.get("idempotency-key", ""), CLOCK.now())
        return answer("200 OK", body="ok")


def alerts() -> Iterator[Sequence[Notification]]:
    """An alert after the other, each for all three receivers."""
    for number in count():
        labels = (("alertname", f"Down{number}"),)
        now = CLOCK.now()
        alert = Alert(
            id=AlertId(f"alr-{number}"),
            fingerprint=fingerprint_of(labels),
            state=AlertState.FIRING,
            severity=Severity.SEV1,
            labels=labels,
            annotations=(),
            starts_at=now,
            updated_at=now,
        )
        yield [
            Notification(id=f"{name}-{number}", receiver=name, alert=alert, created_at=now)
            for name in ("slack", *OTHERS)
        ]


class Play:
    """Three channels behind one dispatcher, and alerts that do not stop."""

    def __init__(self, slack: HookServer, others: Sequence[Hook]) -> None:
        self.slack = slack
        self.store = MemoryStore()
        self.made = alerts()
        self.queued: list[Notification] = []
        local = ("127.0.0.1",)
        config = SlackConfig(
            webhook_url=Secret(f"http://127.0.0.1:{slack.port}/services/T/B/x"), allow_hosts=local
        )
        notifiers = {
            name: WebhookNotifier(
                WebhookConfig.model_validate(
                    {"url": f"http://127.0.0.1:{hook.port}/", "allow_hosts": local}
                ),
                name=name,
                clock=CLOCK,
            )
            for name, hook in zip(OTHERS, others, strict=True)
        }
        self.dispatcher = Dispatcher(
            self.store,
            {"slack": SlackNotifier(config, name="slack", clock=CLOCK), **notifiers},
            CLOCK,
            Random(1),
            # Only so that the test need not wait for what is left to reach Slack at the end.
            DeliveryPolicy(backoff=Backoff(first=0.5, ceiling=2.0, floor=0.1), cooldown=2.0),
        )

    async def alarm(self, seconds: float) -> None:
        end = CLOCK.monotonic() + seconds
        while CLOCK.monotonic() < end:
            some = next(self.made)
            self.queued += some
            await commit(
                self.store, [NotificationQueued(notification=one) for one in some], CLOCK.now()
            )
            self.dispatcher.wake()
            await asyncio.sleep(PACE)

    def delays(self, name: str, hook: Hook) -> np.ndarray:
        """Seconds until each notification arrived."""
        mine = [one for one in self.queued if one.receiver == name]
        assert {one.id for one in mine} == hook.arrived.keys()
        return np.array([(hook.arrived[one.id] - one.created_at) / SECOND for one in mine])


@pytest.mark.serial
@pytest.mark.timeout(180)
async def test_a_slow_refusing_and_dead_slack_delays_nobody_else() -> None:
    slack = Hook()
    async with serving(Hook()) as pager, serving(Hook()) as hook:
        async with serving(slack):
            play = Play(slack, (pager, hook))
            work = asyncio.create_task(play.dispatcher.run())
            slack.delay = 30.0
            await play.alarm(PHASE + 4)  # longer than the notifier waits
            slack.delay = 0.0
            slack.answers = [answer("429 Too Many Requests", "Retry-After: 1")] * 10_000
            await play.alarm(PHASE)
            port, refused = slack.port, 10_000 - len(slack.answers)
        await play.alarm(PHASE)  # nobody listens
        assert not slack.arrived
        slack.answers = []
        alive = await asyncio.start_server(slack.serve, "127.0.0.1", port)
        left = await play.dispatcher.drain(60)
        alive.close()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await play.dispatcher.close()
    assert refused > 0, "the middle phase proves something"
    for name, server in zip(OTHERS, (pager, hook), strict=True):
        delays = play.delays(name, server)
        print(f"{name}: {len(delays)} told, p99 {np.quantile(delays, 0.99):.2f} s")
        assert np.quantile(delays, 0.99) < BOUND
    assert left == 0
    told = sum(one.receiver == "slack" for one in play.queued)
    taken = [one for one in slack.requests if one.headers[":line"].startswith("POST")]
    assert len(taken) >= told  # back again, Slack hears all of it
