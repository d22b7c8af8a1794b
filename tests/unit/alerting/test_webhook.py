"""The webhook against a real HTTP server on loopback, and the policy for outgoing requests."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from ipaddress import ip_address
from random import Random

import pytest
from pydantic import ValidationError

from dos.alerting.base import AlertingConfig, Receiver
from dos.alerting.book import AlertBook
from dos.alerting.dispatch import DeliveryPolicy, Dispatcher
from dos.alerting.notifiers.webhook import Config, WebhookNotifier, payload
from dos.alerting.outgoing import OutgoingPolicy
from dos.kit.clock import ManualClock, SystemClock
from dos.kit.errors import ConfigError, PermanentError, TransientError
from dos.kit.retry import Backoff
from dos.model.alert import Alert, AlertState, Notification
from dos.model.ids import AlertId
from dos.model.impact import Severity
from dos.storage.memory import MemoryStore
from tests.unit.alerting import hooks
from tests.unit.alerting.builders import START, at, commit, incident, notifications, resolved
from tests.unit.alerting.hooks import HANG_UP, answer


class HookServer(hooks.HookServer):
    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?team=a"

    def notifier(self, **keys: object) -> WebhookNotifier:
        config = Config.model_validate({"url": self.url, "allow_hosts": ["127.0.0.1"], **keys})
        return WebhookNotifier(config, name="hook", clock=ManualClock(START))


@pytest.fixture
async def server() -> AsyncIterator[HookServer]:
    async with hooks.serving(HookServer()) as one:
        yield one


def firing() -> Notification:
    book = AlertBook(
        AlertingConfig(receivers=(Receiver(name="hook"),), external_url="https://dos.example.com")
    )
    return notifications(book.observe(incident(), at(15)))[0]


async def test_the_body_is_alertmanagers_payload_with_ours_beside_it(server: HookServer) -> None:
    notifier = server.notifier(authorization="Bearer abc")
    notification = firing()
    await notifier.send(notification)
    await notifier.close()
    request = server.requests[0]
    assert request.headers[":line"] == "POST /hook?team=a HTTP/1.1"
    assert request.headers["host"] == f"127.0.0.1:{server.port}"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["idempotency-key"] == notification.id
    assert request.headers["authorization"] == "Bearer abc"
    said = json.loads(request.body)
    assert {key: said[key] for key in ("version", "status", "receiver", "groupKey")} == {
        "version": "4",
        "status": "firing",
        "receiver": "hook",
        "groupKey": '{}:{alertname="DosIncident", incident="inc-1"}',
    }
    assert said["externalURL"] == "https://dos.example.com"
    assert said["commonLabels"]["service"] == "payment"
    alert = said["alerts"][0]
    assert alert["startsAt"] == "2026-05-28T20:26:40.000Z"
    assert alert["endsAt"] == "0001-01-01T00:00:00Z"
    assert alert["generatorURL"] == "https://dos.example.com/incidents/inc-1"
    assert said["dos"] == {
        "notification": notification.id,
        "alert": notification.alert.id,
        "incident": "inc-1",
        "severity": "sev2",
        "probable_cause": "payment",
        "probability": "80%",
        "evidence": "payment latency_p95 rose 9 times.",
    }


def test_a_group_is_alertmanagers_payload() -> None:
    def alert(number: int, state: AlertState) -> Alert:
        return Alert(
            id=AlertId(f"alr-{number}"),
            fingerprint=f"{number:016}",
            state=state,
            severity=Severity.SEV1,
            labels=(("alertname", "Down"), ("instance", str(number))),
            annotations=(("runbook", "r"), ("summary", f"{number} is down")),
            starts_at=at(0),
            ends_at=at(60) if state is AlertState.RESOLVED else None,
            updated_at=at(60),
            generator_url="http://prometheus/graph",
        )

    body = payload(
        Notification(
            id="ntf-1",
            receiver="pager",
            alert=alert(1, AlertState.FIRING),
            others=(alert(2, AlertState.RESOLVED),),
            created_at=at(60),
            route='{}/{team="db"}',
            group=(("alertname", "Down"),),
        )
    )
    assert body["groupKey"] == '{}/{team="db"}:{alertname="Down"}'
    assert body["status"] == "firing"
    assert body["groupLabels"] == body["commonLabels"] == {"alertname": "Down"}
    assert body["commonAnnotations"] == {"runbook": "r"}
    assert [one["status"] for one in body["alerts"]] == ["firing", "resolved"]
    assert body["alerts"][0]["endsAt"] == "0001-01-01T00:00:00Z"
    assert body["alerts"][1]["generatorURL"] == "http://prometheus/graph"


async def test_the_signature_covers_time_and_body(server: HookServer) -> None:
    notifier = server.notifier(signing_secret="s3cret")
    await notifier.send(firing())
    await notifier.close()
    request = server.requests[0]
    stamp, digest = request.headers["x-dos-signature"].split(",")
    assert stamp == f"t={START // 1000}"
    expected = hmac.new(b"s3cret", f"{START // 1000}.".encode() + request.body, hashlib.sha256)
    assert digest == f"v1={expected.hexdigest()}"


@pytest.mark.parametrize("status", ["500 Oops", "503 Busy", "429 Slow", "408 Late"])
async def test_overload_is_transient(server: HookServer, status: str) -> None:
    server.answers = [answer(status, "Retry-After: 17", body="try later")]
    notifier = server.notifier()
    with pytest.raises(TransientError, match=f"answered {status[:3]}: try later") as caught:
        await notifier.send(firing())
    assert caught.value.retry_after == 17
    assert "team=a" not in str(caught.value)
    await notifier.close()


async def test_a_retry_after_may_be_a_date(server: HookServer) -> None:
    server.answers = [answer("429 Slow", "Retry-After: Thu, 28 May 2026 20:27:40 GMT")]
    notifier = server.notifier()
    with pytest.raises(TransientError) as caught:
        await notifier.send(firing())
    assert caught.value.retry_after == 60
    await notifier.close()


@pytest.mark.parametrize("status", ["400 Bad", "401 Who", "404 Gone", "302 Found"])
async def test_refusals_are_permanent_and_redirects_not_followed(
    server: HookServer, status: str
) -> None:
    server.answers = [answer(status, f"Location: {server.url}")]
    notifier = server.notifier()
    with pytest.raises(PermanentError, match=f"answered {status[:3]}"):
        await notifier.send(firing())
    assert len(server.requests) == 1
    await notifier.close()


async def test_an_endless_answer_is_not_read(server: HookServer) -> None:
    server.answers = [answer("500 Oops", body="x" * 1_000_000)]
    notifier = server.notifier()
    with pytest.raises(TransientError) as caught:
        await notifier.send(firing())
    assert len(str(caught.value)) < 400
    await notifier.close()


async def test_silence_and_death_are_transient(server: HookServer) -> None:
    server.delay = 0.5
    notifier = server.notifier(timeout="100ms")
    with pytest.raises(TransientError, match="did not answer in time"):
        await notifier.send(firing())
    server.delay = 0.0
    server.answers = [HANG_UP]
    with pytest.raises(TransientError, match="failed"):
        await notifier.send(firing())
    await notifier.close()


async def test_nobody_listening_is_transient(free_port: int) -> None:
    config = Config(url=f"http://127.0.0.1:{free_port}/", allow_hosts=("127.0.0.1",))
    notifier = WebhookNotifier(config, name="hook", clock=ManualClock(START))
    with pytest.raises(TransientError, match=f"127.0.0.1:{free_port} failed"):
        await notifier.send(firing())
    await notifier.close()


async def test_loopback_is_refused_unless_allowed(server: HookServer) -> None:
    notifier = server.notifier(allow_hosts=[])
    with pytest.raises(
        PermanentError, match=r"not a public address.*allow_hosts: \['127\.0\.0\.1'\]"
    ):
        await notifier.send(firing())
    assert server.requests == []
    await notifier.close()


async def test_a_name_is_pinned_and_the_host_header_kept(server: HookServer) -> None:
    url = f"http://localhost:{server.port}/"
    notifier = WebhookNotifier(
        Config(url=url, allow_hosts=("localhost",)), name="hook", clock=ManualClock(START)
    )
    await notifier.send(firing())
    await notifier.close()
    assert server.requests[0].headers["host"] == f"localhost:{server.port}"


async def test_through_the_dispatcher_until_it_works_with_one_key(server: HookServer) -> None:
    server.answers = [answer("500 Oops"), HANG_UP, answer("429 Slow", "Retry-After: 0")]
    store, clock = MemoryStore(), SystemClock()
    book = AlertBook(AlertingConfig(receivers=(Receiver(name="hook"),)))
    events = book.observe(incident(), at(15))
    events += book.observe(resolved(incident(), at(60)), at(60))
    await commit(store, events, clock.now())
    # The notifications were created far from the real clock: their age is of no interest here.
    policy = DeliveryPolicy(backoff=Backoff(first=0.01, ceiling=0.02, floor=0.01), max_age=1e12)
    dispatcher = Dispatcher(store, {"hook": server.notifier()}, clock, Random(1), policy)
    assert await dispatcher.drain(20) == 0
    await dispatcher.close()
    fired, over = notifications(events)
    keys = [request.headers["idempotency-key"] for request in server.requests]
    assert keys == [fired.id] * 4 + [over.id]
    assert json.loads(server.requests[-1].body)["alerts"][0]["endsAt"] == "2026-05-28T20:27:40.000Z"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2001:4860:4860::8888", True),
        ("64:ff9b::8.8.8.8", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("fec0::1", False),
        ("::ffff:127.0.0.1", False),
        ("::127.0.0.1", False),
        ("64:ff9b::127.0.0.1", False),
        ("2002:7f00:1::", False),
    ],
)
def test_only_public_addresses_are_permitted(address: str, *, public: bool) -> None:
    assert OutgoingPolicy().permits("example.com", ip_address(address)) is public


def test_names_addresses_and_networks_can_be_allowed() -> None:
    policy = OutgoingPolicy(["Hooks.internal", "10.0.0.0/8", "::1"])
    assert policy.permits("hooks.internal.", ip_address("192.168.1.1"))
    assert policy.permits("anything", ip_address("10.9.9.9"))
    assert policy.permits("anything", ip_address("::ffff:10.9.9.9"))
    assert policy.permits("anything", ip_address("::1"))
    assert not policy.permits("other.internal", ip_address("192.168.1.1"))


def test_an_allowance_that_is_a_url_is_refused() -> None:
    with pytest.raises(ConfigError, match="neither a host name, an address nor a network"):
        OutgoingPolicy(["http://10.0.0.1/"])


@pytest.mark.parametrize("url", ["ftp://x/", "hooks.example.com", "http://", "http://u:p@x/"])
def test_urls_that_cannot_work_are_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        Config(url=url)


def test_secrets_are_not_shown() -> None:
    config = Config.model_validate(
        {"url": "https://x.example/", "authorization": "Bearer abc", "signing_secret": "s3cret"}
    )
    assert "abc" not in repr(config) + config.model_dump_json()
    assert "s3cret" not in repr(config) + config.model_dump_json()
