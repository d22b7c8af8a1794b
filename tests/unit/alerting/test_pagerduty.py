"""PagerDuty against a server on loopback that takes what the Events API v2 is published to take."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime
from random import Random
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dos.alerting.base import AlertingConfig, Receiver
from dos.alerting.book import AlertBook
from dos.alerting.dispatch import DeliveryPolicy, Dispatcher
from dos.alerting.notifiers.pagerduty import Config, PagerDutyNotifier, dedup_key, event
from dos.app.settings_load import SettingsError, validate
from dos.kit.clock import ManualClock, SystemClock
from dos.kit.errors import PermanentError, TransientError
from dos.kit.retry import Backoff
from dos.kit.secret import Secret
from dos.kit.yaml_source import parse
from dos.model.alert import Alert, AlertState, LabelPairs, Notification, fingerprint_of
from dos.model.ids import AlertId
from dos.model.impact import Severity
from dos.storage.memory import MemoryStore
from tests.docs.pages import blocks
from tests.unit.alerting import hooks
from tests.unit.alerting.builders import START, at, commit, incident, notifications, resolved
from tests.unit.alerting.hooks import HANG_UP, answer

KEY = "R0a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5"
CONFIG = Config(routing_key=Secret(KEY))

# From https://developer.pagerduty.com/docs/events-api-v2/trigger-events/ (limits, what is
# required) and PagerDuty/api-schema, reference/events-v2/openapiv3.json (shapes, enumerations).
# Stricter than both where they say nothing: unknown fields are mistakes of ours.
TEXT = {"type": "string", "minLength": 1}
URL = {"type": "string", "format": "url"}
PAYLOAD = {
    "type": "object",
    "additionalProperties": False,
    "required": ["summary", "source", "severity"],
    "properties": {
        "summary": {**TEXT, "maxLength": 1024},
        "source": TEXT,
        "severity": {"enum": ["critical", "error", "warning", "info"]},
        "timestamp": {"type": "string", "format": "date-time"},
        "component": TEXT,
        "group": TEXT,
        "class": TEXT,
        "custom_details": {"type": "object"},
    },
}


def list_of(required: str, **properties: object) -> dict[str, object]:
    shape = {"type": "object", "additionalProperties": False}
    return {"type": "array", "items": {**shape, "required": [required], "properties": properties}}


SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "required": ["routing_key", "event_action"],
    "properties": {
        "routing_key": {"type": "string", "pattern": "^[0-9A-Za-z]{32}$"},
        "event_action": {"enum": ["trigger", "acknowledge", "resolve"]},
        "dedup_key": {**TEXT, "maxLength": 255},
        "payload": PAYLOAD,
        "client": {"type": "string"},
        "client_url": URL,
        "links": list_of("href", href=URL, text={"type": "string"}),
        "images": list_of("src", src=URL, href=URL, alt={"type": "string"}),
    },
    "if": {"properties": {"event_action": {"const": "trigger"}}},
    "then": {"required": ["payload"]},
    "else": {"required": ["dedup_key"]},
}
FORMATS = jsonschema.FormatChecker(())


@FORMATS.checks("url")
def is_url(value: object) -> bool:
    parts = urlsplit(str(value))
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


@FORMATS.checks("date-time", raises=ValueError)
def is_rfc3339(value: object) -> bool:
    return "T" in str(value) and datetime.fromisoformat(str(value)).tzinfo is not None


CHECK = jsonschema.Draft202012Validator(SCHEMA, format_checker=FORMATS)


def mistakes(body: bytes) -> list[str]:
    """What PagerDuty would refuse in `body`."""
    if len(body) > 512_000:
        return [f"the event has {len(body)} bytes"]
    return [one.message[:200] for one in CHECK.iter_errors(json.loads(body))]


class PagerDuty(hooks.HookServer):
    """Keeps the alerts that are open, by their key."""

    def __init__(self) -> None:
        super().__init__()
        self.alerts: dict[str, dict[str, Any]] = {}
        self.opened = 0

    def reply(self, request: hooks.Request) -> bytes:
        if errors := mistakes(request.body):
            said = {"status": "invalid event", "message": "is invalid", "errors": errors}
            return answer("400 Bad Request", body=json.dumps(said))
        said_event = json.loads(request.body)
        key = said_event["dedup_key"]
        if said_event["event_action"] == "resolve":
            self.alerts.pop(key, None)
        else:
            self.opened += key not in self.alerts
            self.alerts[key] = said_event
        said = {"status": "success", "message": "Event processed", "dedup_key": key}
        return answer("202 Accepted", body=json.dumps(said))

    @property
    def sent(self) -> list[dict[str, Any]]:
        return [json.loads(request.body) for request in self.requests]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v2/enqueue"

    def notifier(self, **keys: object) -> PagerDutyNotifier:
        given_keys = {"routing_key": KEY, "url": self.url, "allow_hosts": ["127.0.0.1"], **keys}
        config = Config.model_validate(given_keys)
        return PagerDutyNotifier(config, name="oncall", clock=ManualClock(START))


@pytest.fixture
async def server() -> AsyncIterator[PagerDuty]:
    async with hooks.serving(PagerDuty()) as one:
        yield one


def life(external_url: str = "https://dos.example.com") -> list[Notification]:
    """An incident is told, gets worse, and is over."""
    receivers = (Receiver(name="oncall"),)
    book = AlertBook(AlertingConfig(receivers=receivers, external_url=external_url))
    events = book.observe(incident(), at(15))
    worse = incident(severity=Severity.SEV1)
    events += book.observe(worse, at(30))
    events += book.observe(resolved(worse, at(60)), at(60))
    return notifications(events)


def posted(
    labels: LabelPairs,
    annotations: LabelPairs = (),
    state: AlertState = AlertState.FIRING,
    severity: Severity = Severity.SEV3,
    generator_url: str = "",
) -> Alert:
    return Alert(
        id=AlertId(f"alr-{fingerprint_of(labels)}"),
        fingerprint=fingerprint_of(labels),
        state=state,
        severity=severity,
        labels=labels,
        annotations=annotations,
        starts_at=at(0),
        ends_at=at(60) if state is AlertState.RESOLVED else None,
        updated_at=at(60),
        generator_url=generator_url,
    )


def grouped(alerts: Sequence[Alert], group: LabelPairs = (("cluster", "a"),)) -> Notification:
    return Notification(
        id="ntf-1",
        receiver="oncall",
        alert=alerts[0],
        others=tuple(alerts[1:]),
        created_at=at(60),
        route='{}/{team="db"}',
        group=group,
    )


def sent(notification: Notification, config: Config = CONFIG) -> dict[str, Any]:
    """The event for `notification`, after it was checked."""
    body = event(notification, config)
    assert not mistakes(body)
    said: dict[str, Any] = json.loads(body)
    return said


async def test_an_alert_opens_changes_and_ends_in_pagerduty(server: PagerDuty) -> None:
    notifier = server.notifier()
    fired, worse, over = life()
    await notifier.send(fired)
    (key,) = server.alerts
    await notifier.send(worse)
    assert server.alerts[key]["payload"]["severity"] == "critical"
    await notifier.send(over)
    await notifier.close()
    assert (server.opened, server.alerts) == (1, {})
    assert [one["event_action"] for one in server.sent] == ["trigger", "trigger", "resolve"]
    assert {one["dedup_key"] for one in server.sent} == {f"dos-oncall/{fired.alert.id}"}
    assert [one["payload"]["summary"] for one in server.sent] == [
        "[FIRING sev2] Latency in payment",
        "[UPDATE sev1] Latency in payment",
        "[RESOLVED] Latency in payment, after 1m",
    ]
    request = server.requests[0]
    assert request.headers[":line"] == "POST /v2/enqueue HTTP/1.1"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["host"] == f"127.0.0.1:{server.port}"


def test_the_event_of_an_incident() -> None:
    notification = life()[0]
    said = sent(notification)
    details = said["payload"].pop("custom_details")
    link = "https://dos.example.com/incidents/inc-1"
    assert said == {
        "routing_key": KEY,
        "event_action": "trigger",
        "dedup_key": f"dos-oncall/{notification.alert.id}",
        "client": "Dependency Ops Sentinel",
        "client_url": link,
        "links": [{"href": link, "text": "Details"}],
        "payload": {
            "summary": "[FIRING sev2] Latency in payment",
            "source": "payment",
            "severity": "error",
            "timestamp": "2026-05-28T20:26:40.000Z",
        },
    }
    assert details["labels"] == dict(notification.alert.labels)
    assert details["annotations"] == dict(notification.alert.annotations)
    assert "payment latency_p95 rose 9 times." in details["text"]
    assert set(details) == {"labels", "annotations", "text"}


def test_a_resolve_has_no_client_and_no_links() -> None:
    said = sent(life()[-1])
    assert set(said) == {"routing_key", "event_action", "dedup_key", "payload"}


def test_paths_are_no_links_and_a_client_may_have_no_name() -> None:
    said = sent(life(external_url="")[0])
    assert "links" not in said
    assert "client_url" not in said
    nameless = Config(routing_key=Secret(KEY), client="")
    assert not {"client", "client_url"} & set(sent(life()[0], nameless))
    assert sent(life()[0], Config(routing_key=Secret(KEY), client="us"))["client"] == "us"


@pytest.mark.parametrize(
    ("severity", "name"),
    [("sev1", "critical"), ("sev2", "error"), ("sev3", "warning"), ("sev4", "info")],
)
def test_severities(severity: str, name: str) -> None:
    alert = posted((("alertname", "Down"),), severity=Severity(severity))
    assert sent(grouped([alert]))["payload"]["severity"] == name


@pytest.mark.parametrize(
    ("labels", "source"),
    [
        ({"service": "api", "instance": "h:1", "alertname": "Down"}, "api"),
        ({"service": "", "instance": "h:1", "alertname": "Down"}, "h:1"),
        ({"alertname": "Down"}, "Down"),
        ({"team": "db"}, "dos"),
    ],
)
def test_the_source(labels: dict[str, str], source: str) -> None:
    said = sent(grouped([posted(tuple(sorted(labels.items())))]))
    assert said["payload"]["source"] == source


def test_labels_that_pagerduty_has_fields_for() -> None:
    pairs = (("alertname", "Down"), ("class", "disk"), ("component", "mysql"), ("group", "prod"))
    fields = sent(grouped([posted(pairs)]))["payload"]
    assert (fields["class"], fields["component"], fields["group"]) == ("disk", "mysql", "prod")
    none = sent(grouped([posted((("alertname", "Down"), ("class", "")))]))["payload"]
    assert not {"class", "component", "group"} & set(none)


def test_links_of_posted_alerts() -> None:
    def links(link: str, runbook: str, generator: str) -> list[str]:
        notes = (("link", link), ("runbook_url", runbook))
        said = sent(grouped([posted((("alertname", "Down"),), notes, generator_url=generator)]))
        assert "client_url" not in said
        return [one["href"] for one in said.get("links", [])]

    assert links("http://a/", "https://b/", "http://c/g?x=1") == [
        "http://a/",
        "https://b/",
        "http://c/g?x=1",
    ]
    assert links("http://a/", "http://a/", "http://a/") == ["http://a/"]
    assert not links("javascript:alert(1)", "/wiki/runbook", "http://")
    assert not links("http://[", "https://a b/", "http://a/\nx")
    assert not links("ftp://a/", "http://a/" + "x" * 5000, "")


def test_a_group_is_one_alert_until_all_of_it_is_over() -> None:
    def alert(number: int, state: AlertState, severity: Severity) -> Alert:
        pairs = (("alertname", "Down"), ("instance", str(number)))
        return posted(pairs, (("summary", f"{number} is down"),), state, severity)

    firing = [
        alert(1, AlertState.FIRING, Severity.SEV3),
        alert(2, AlertState.FIRING, Severity.SEV2),
    ]
    mixed = [firing[0], alert(2, AlertState.RESOLVED, Severity.SEV2)]
    over = [replace(one, state=AlertState.RESOLVED, ends_at=at(60)) for one in firing]
    told = [sent(grouped(alerts)) for alerts in (firing, mixed, over)]
    assert [one["event_action"] for one in told] == ["trigger", "trigger", "resolve"]
    assert {one["dedup_key"] for one in told} == {'dos-oncall/{}/{team="db"}:{cluster="a"}'}
    assert [one["payload"]["severity"] for one in told] == ["error", "warning", "error"]
    assert told[0]["payload"]["summary"] == "[FIRING sev3] 1 is down (and 1 more)"
    details = told[1]["payload"]["custom_details"]
    assert details["labels"] == {"cluster": "a"}
    assert (details["firing"], details["resolved"]) == (1, 1)
    assert [one["status"] for one in details["alerts"]] == ["firing", "resolved"]
    assert details["alerts"][1]["labels"] == {"alertname": "Down", "instance": "2"}
    assert details["alerts"][1]["annotations"] == {"summary": "2 is down"}
    assert "[RESOLVED] 2 is down" in details["text"]
    assert not {"more", "truncated"} & set(details)


def test_of_a_large_group_twenty_are_listed() -> None:
    many = [posted((("alertname", "Down"), ("instance", f"{one:03}"))) for one in range(123)]
    details = sent(grouped(many))["payload"]["custom_details"]
    assert [one["labels"]["instance"] for one in details["alerts"]] == [
        f"{one:03}" for one in range(20)
    ]
    assert (details["more"], details["firing"]) == (103, 123)


def test_keys_differ_by_receiver_and_subject_and_are_short() -> None:
    def key(receiver: str, group: str) -> str:
        alert = posted((("alertname", "Down"),))
        found = dedup_key(replace(grouped([alert], (("g", group),)), receiver=receiver))
        assert re.fullmatch("[ -~]{1,255}", found)
        assert found == dedup_key(replace(grouped([alert], (("g", group),)), receiver=receiver))
        return found

    cases = [
        ("a", "1"), ("b", "1"), ("a", "2"), ("a/b", "1"), ("a%2Fb", "1"), ("a", "x" * 300),
        ("b", "x" * 300), ("a", "x" * 299 + "y"), ("a", "é"), ("a", "\n"), ("a", "\ud800"),
        ("a", "?"), ("\ud800", "1"),
    ]  # fmt: skip
    assert len({key(*case) for case in cases}) == len(cases)
    assert re.fullmatch(r"dos-[0-9a-f]{64}", key("a", "x" * 300))
    first = replace(grouped([posted(())]), receiver="a", route="b/c")
    assert dedup_key(first) != dedup_key(replace(first, receiver="a/b", route="c"))


@pytest.mark.parametrize("size", [2_000, 100_000, 3_000_000])
def test_a_long_text_is_shortened_and_says_so(size: int) -> None:
    notes = (("description", "é" * size), ("summary", "long\n" * size))
    single = replace(grouped([posted((("alertname", "Down"),), notes)]), route="", group=())
    said = sent(single)
    summary, details = said["payload"]["summary"], said["payload"]["custom_details"]
    assert len(summary) == 1024
    assert summary.startswith("[FIRING sev3] long long long")
    assert summary.endswith("…")
    cut = size > 2_000
    assert ("truncated" in details) is cut
    assert details["text"].endswith("…") is cut
    assert details["annotations"]["description"].startswith("é" * 2_000)


def test_what_fits_is_not_shortened() -> None:
    notes = (("description", "x" * 200_000),)
    single = replace(grouped([posted((("alertname", "Down"),), notes)]), route="", group=())
    details = sent(single)["payload"]["custom_details"]
    assert details["annotations"]["description"] == details["text"] == "x" * 200_000
    assert "truncated" not in details


def test_the_worst_there_can_be_still_fits() -> None:
    # A control character takes six bytes in JSON; nothing takes more.
    bad = "\x01" * 20_000
    pairs = tuple((f"{one}{bad}", bad) for one in range(40))
    named = tuple((name, bad) for name in ("class", "component", "group", "service"))
    notes = (*pairs, ("link", "https://a/" + "é" * 2000), ("summary", bad))
    alert = posted((*named, *pairs), notes, generator_url="https://b/" + "é" * 2000)
    said = sent(grouped([alert] * 40, pairs), Config(routing_key=Secret(KEY), client="\x01" * 255))
    details = said["payload"]["custom_details"]
    assert details["truncated"]
    assert details["alerts"][0]["labels"]
    assert details["more"] + len(details["alerts"]) == 40
    assert len(said["links"]) == 2


ANY_TEXT = st.text(st.characters(), max_size=40) | st.sampled_from(
    ["\ud800", "\x00", '"}', "\u2028", "http://a/", "http://[", "x" * 70_000]
)
PAIRS = st.dictionaries(
    st.sampled_from(["service", "class", "link", "runbook_url", "summary", "description"])
    | ANY_TEXT,
    ANY_TEXT,
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(PAIRS, PAIRS, ANY_TEXT), min_size=1, max_size=4), ANY_TEXT, PAIRS)
def test_whatever_is_in_labels_the_event_is_valid(
    alerts: list[tuple[dict[str, str], dict[str, str], str]], receiver: str, group: dict[str, str]
) -> None:
    told = [
        replace(
            posted((("alertname", "Down"),)),
            labels=tuple(sorted(labels.items())),
            annotations=tuple(sorted(notes.items())),
            generator_url=url,
        )
        for labels, notes, url in alerts
    ]
    notification = replace(grouped(told, tuple(sorted(group.items()))), receiver=receiver)
    assert sent(notification) == sent(notification)


async def test_a_repeated_notification_is_the_same_bytes(server: PagerDuty) -> None:
    notification = life()[0]
    for _ in range(2):
        notifier = server.notifier()
        await notifier.send(notification)
        await notifier.close()
    first, second = server.requests
    assert first.body == second.body
    assert server.opened == 1


@pytest.mark.parametrize("status", ["429 Slow", "500 Oops", "503 Busy", "408 Late"])
async def test_overload_is_transient(server: PagerDuty, status: str) -> None:
    server.answers = [answer(status, "Retry-After: 17", body="try later")]
    notifier = server.notifier()
    wanted = rf"Receiver oncall: 127\.0\.0\.1 answered {status[:3]}: try later"
    with pytest.raises(TransientError, match=wanted) as caught:
        await notifier.send(life()[0])
    assert caught.value.retry_after == 17
    await notifier.close()


async def test_a_retry_after_may_be_a_date_or_missing(server: PagerDuty) -> None:
    server.answers = [
        answer("429 Slow", "Retry-After: Thu, 28 May 2026 20:27:40 GMT"),
        answer("429 Slow"),
    ]
    notifier = server.notifier()
    for seconds in (60, None):
        with pytest.raises(TransientError) as caught:
            await notifier.send(life()[0])
        assert caught.value.retry_after == seconds
    await notifier.close()


@pytest.mark.parametrize("status", ["400 Bad", "403 No", "413 Large", "302 Found", "200 OK"])
async def test_all_but_202_is_refused_for_good(server: PagerDuty, status: str) -> None:
    server.answers = [answer(status, f"Location: {server.url}", body="no\n\tthanks")]
    notifier = server.notifier()
    wanted = rf"oncall: 127\.0\.0\.1 answered {status[:3]}: no thanks\. Check .* routing_key"
    with pytest.raises(PermanentError, match=wanted):
        await notifier.send(life()[0])
    assert len(server.requests) == 1
    await notifier.close()


@pytest.mark.parametrize("before", [0, 150, 160, 175, 190, 195])
async def test_an_answer_that_repeats_the_key_is_shown_without_it(
    server: PagerDuty, before: int
) -> None:
    body = f"{'-' * before}{KEY} is unknown; {KEY.upper()} " + "x" * 1000
    server.answers = [answer("400 Bad", body=body)]
    notifier = server.notifier()
    with pytest.raises(PermanentError) as caught:
        await notifier.send(life()[0])
    shown = str(caught.value)
    assert KEY[:4].lower() not in shown.lower()
    assert "***" in shown
    assert len(shown) < 500
    await notifier.close()


async def test_silence_and_death_are_transient(server: PagerDuty) -> None:
    server.delay = 0.5
    notifier = server.notifier(timeout="100ms")
    with pytest.raises(TransientError, match="did not answer in time"):
        await notifier.send(life()[0])
    server.delay = 0.0
    server.answers = [HANG_UP]
    with pytest.raises(TransientError, match="failed") as caught:
        await notifier.send(life()[0])
    assert KEY not in f"{caught.value!r} {caught.value.__cause__!r}"
    await notifier.close()


async def test_nobody_listening_is_transient(free_port: int) -> None:
    config = Config(
        routing_key=Secret(KEY), url=f"http://127.0.0.1:{free_port}/", allow_hosts=("127.0.0.1",)
    )
    notifier = PagerDutyNotifier(config, name="oncall", clock=ManualClock(START))
    with pytest.raises(TransientError, match=f"127.0.0.1:{free_port} failed"):
        await notifier.send(life()[0])
    await notifier.close()


async def test_loopback_is_refused_unless_allowed(server: PagerDuty) -> None:
    notifier = server.notifier(url=server.url.replace("http", "https"), allow_hosts=[])
    with pytest.raises(PermanentError, match="not a public address"):
        await notifier.send(life()[0])
    assert server.requests == []
    await notifier.close()


async def test_through_the_dispatcher_until_it_works(server: PagerDuty) -> None:
    server.answers = [answer("500 Oops"), HANG_UP, answer("429 Slow", "Retry-After: 0")]
    store, clock = MemoryStore(), SystemClock()
    book = AlertBook(AlertingConfig(receivers=(Receiver(name="oncall"),)))
    events = book.observe(incident(), at(15))
    events += book.observe(resolved(incident(), at(60)), at(60))
    await commit(store, events, clock.now())
    # The notifications were created far from the real clock: their age is of no interest here.
    policy = DeliveryPolicy(backoff=Backoff(first=0.01, ceiling=0.02, floor=0.01), max_age=1e12)
    dispatcher = Dispatcher(store, {"oncall": server.notifier()}, clock, Random(1), policy)
    assert await dispatcher.drain(20) == 0
    await dispatcher.close()
    assert [one["event_action"] for one in server.sent] == ["trigger"] * 4 + ["resolve"]
    assert len({request.body for request in server.requests[:4]}) == 1
    assert (server.opened, server.alerts) == (1, {})


@pytest.mark.parametrize("key", ["", KEY[1:], KEY + "0", KEY[:-1] + "!", KEY[:-1] + "\n", "é" * 32])
def test_a_routing_key_of_another_shape_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ValidationError, match="32 letters and digits") as caught:
        Config.model_validate({"routing_key": key})
    assert not key or key not in str(caught.value)
    text = f"alerting: {{receivers: [{{type: pagerduty, routing_key: {json.dumps(key)}}}]}}"
    with pytest.raises(SettingsError) as told:
        validate(parse(text.encode(), "config.yaml"), {})
    assert "32 letters and digits" in str(told.value)
    assert not key or key not in str(told.value)


@pytest.mark.parametrize("url", ["ftp://x/", "events.pagerduty.com", "http://", "http://u:p@x/"])
def test_urls_that_cannot_work_are_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="write the whole URL"):
        Config.model_validate({"routing_key": KEY, "url": url})


def test_the_key_is_not_shown() -> None:
    assert CONFIG.url == "https://events.pagerduty.com/v2/enqueue"
    notifier = PagerDutyNotifier(CONFIG, name="oncall", clock=ManualClock(START))
    assert KEY not in f"{CONFIG!r} {CONFIG} {CONFIG.model_dump_json()} {notifier!r}"


def test_the_example_of_the_guide_is_valid(tmp_path: Any) -> None:
    shown = next(
        one.text
        for one in blocks("yaml")
        if one.page == "docs/guides/alerts.md" and "pagerduty" in one.text
    )
    key = tmp_path / "key"
    key.write_text(f"{KEY}\n")
    text = re.sub(r"_file: /\S+", f"_file: {key}", shown)
    made = validate(parse(text.encode(), "alerts.md"), {})
    (receiver,) = made.alerting.receivers
    config = receiver.config
    assert isinstance(config, Config)
    assert config.routing_key.reveal() == KEY


def test_the_schema_of_these_tests_can_fail() -> None:
    good = json.loads(event(life()[0], CONFIG))
    bad: list[dict[str, Any]] = [
        {"routing_key": KEY[1:]},
        {"event_action": "fire"},
        {"dedup_key": "x" * 256},
        {"links": [{"text": "no address"}]},
        {"links": [{"href": "/incidents/1"}]},
        {"images": [{"href": "https://a/"}]},
        {"client_url": "dos"},
        {"extra": 1},
        {"payload": None},
        *(
            {"payload": {**good["payload"], **wrong}}
            for wrong in (
                {"summary": "x" * 1025},
                {"summary": ""},
                {"severity": "sev1"},
                {"timestamp": "2026-05-28 20:26:40"},
                {"timestamp": "yesterday"},
                {"custom_details": "text"},
                {"extra": 1},
            )
        ),
    ]
    assert not mistakes(json.dumps(good).encode())
    for change in bad:
        assert mistakes(json.dumps({**good, **change}).encode()), change
    assert mistakes(json.dumps({**good, "client": "x" * 512_000}).encode())


def test_the_routing_key_goes_nowhere_in_the_clear() -> None:
    with pytest.raises(ValidationError, match="use https"):
        Config(routing_key=Secret(KEY), url="http://events.example.com/v2/enqueue")
