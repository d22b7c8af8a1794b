"""Opsgenie against a server on loopback that takes what the Alert API v2 is published to take."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from random import Random
from typing import Any
from urllib.parse import unquote, urlsplit

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dos.alerting.base import AlertingConfig, Receiver
from dos.alerting.book import AlertBook
from dos.alerting.dispatch import DeliveryPolicy, Dispatcher
from dos.alerting.notifiers.opsgenie import (
    Config,
    OpsgenieNotifier,
    Responder,
    alert,
    alias,
    noted,
)
from dos.app.settings_load import validate
from dos.kit.clock import ManualClock, SystemClock
from dos.kit.errors import PermanentError, TransientError
from dos.kit.retry import Backoff
from dos.kit.secret import Secret
from dos.kit.yaml_source import parse
from dos.model.alert import AlertState, LabelPairs, Notification
from dos.model.impact import Severity
from dos.storage.memory import MemoryStore
from tests.docs.pages import blocks
from tests.unit.alerting import hooks
from tests.unit.alerting.builders import START, at, commit, incident, resolved
from tests.unit.alerting.hooks import HANG_UP, answer
from tests.unit.alerting.test_pagerduty import PAIRS, grouped, life, posted

KEY = "1b5a3c7d-0e2f-4a6b-8c9d-5e7f1a3b5c7d"
CONFIG = Config(api_key=Secret(KEY))
TEAM = Responder(type="team", name="ops")

# From https://docs.opsgenie.com/docs/alert-api: fields, what is required, limits, enumerations.
# Stricter where it says nothing: unknown fields and empty texts are mistakes of ours.


def text(most: int) -> dict[str, object]:
    return {"type": "string", "minLength": 1, "maxLength": most}


def shape(required: list[str], **properties: object) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": properties,
    }


def responder(*kinds: str, by: str) -> dict[str, Any]:
    return shape(["type", by], type={"enum": kinds}, **{by: {"type": "string", "minLength": 1}})


RESPONDER = {
    "oneOf": [
        responder("team", "escalation", "schedule", by="name"),
        responder("user", by="username"),
        responder("team", "user", "escalation", "schedule", by="id"),
    ]
}
CREATE = jsonschema.Draft202012Validator(
    shape(
        ["message"],
        message=text(130),
        alias=text(512),
        description={"type": "string", "maxLength": 15_000},
        responders={"type": "array", "minItems": 1, "maxItems": 50, "items": RESPONDER},
        tags={"type": "array", "maxItems": 20, "items": text(50)},
        details={"type": "object", "additionalProperties": {"type": "string"}},
        entity=text(512),
        source=text(100),
        priority={"enum": ["P1", "P2", "P3", "P4", "P5"]},
        user=text(100),
        note=text(25_000),
    )
)
NOTE = jsonschema.Draft202012Validator(
    shape(["note"], note=text(25_000), source=text(100), user=text(100))
)
CLOSE = jsonschema.Draft202012Validator(
    shape([], note=text(25_000), source=text(100), user=text(100))
)
PATHS = re.compile(r"POST /v2/alerts(?:/([^/?]+)/(notes|close)\?identifierType=alias)? HTTP/1\.1")


def mistakes(line: str, body: bytes) -> list[str]:
    """What Opsgenie would refuse in a request."""
    found = PATHS.fullmatch(line)
    if not found:
        return [f"no such path: {line}"]
    check = {"notes": NOTE, "close": CLOSE}.get(found[2], CREATE)
    said = json.loads(body)
    errors = [one.message[:200] for one in check.iter_errors(said)]
    details = said.get("details") or {}
    size = sum(len(name) + len(str(value)) for name, value in details.items())
    return [*errors, f"the details have {size} characters"] if size > 8000 else errors


class Opsgenie(hooks.HookServer):
    """Keeps the alerts that are open, by their alias, as the first request made them."""

    def __init__(self) -> None:
        super().__init__()
        self.alerts: dict[str, dict[str, Any]] = {}
        self.notes: dict[str, list[str]] = {}
        self.opened = 0

    def reply(self, request: hooks.Request) -> bytes:
        if request.headers.get("authorization") != f"GenieKey {KEY}":
            return answer("401 Unauthorized", body='{"message":"Could not authenticate"}')
        if errors := mistakes(request.headers[":line"], request.body):
            return answer("422 Unprocessable Entity", body=json.dumps({"errors": errors}))
        found = PATHS.fullmatch(request.headers[":line"])
        assert found
        said = json.loads(request.body)
        name = unquote(found[1] or "")
        if found[2] == "close":
            self.alerts.pop(name, None)
        elif found[2] == "notes":
            if name in self.alerts:
                self.notes.setdefault(name, []).append(said["note"])
        elif said["alias"] not in self.alerts:
            self.opened += 1
            self.alerts[said["alias"]] = said
        done = {"result": "Request will be processed", "took": 0.1, "requestId": "43a29c5c"}
        return answer("202 Accepted", body=json.dumps(done))

    @property
    def lines(self) -> list[str]:
        """What each request was for."""
        found = [PATHS.fullmatch(one.headers[":line"]) for one in self.requests]
        return [(one and one[2]) or "create" for one in found]

    def notifier(self, **keys: object) -> OpsgenieNotifier:
        url = f"http://127.0.0.1:{self.port}"
        given_keys = {"api_key": KEY, "api_url": url, "allow_hosts": ["127.0.0.1"], **keys}
        config = Config.model_validate(given_keys)
        return OpsgenieNotifier(config, name="oncall", clock=ManualClock(START))


@pytest.fixture
async def server() -> AsyncIterator[Opsgenie]:
    async with hooks.serving(Opsgenie()) as one:
        yield one


def sent(notification: Notification, config: Config = CONFIG) -> dict[str, Any]:
    """The alert for `notification`, after it and the further requests were checked."""
    body = json.dumps(alert(notification, config)).encode()
    assert not mistakes("POST /v2/alerts HTTP/1.1", body)
    note = json.dumps(noted(notification)).encode()
    for action in ("notes", "close"):
        line = f"POST /v2/alerts/{alias(notification)}/{action}?identifierType=alias HTTP/1.1"
        assert not mistakes(line, note)
    said: dict[str, Any] = json.loads(body)
    return said


def alone(labels: LabelPairs, notes: LabelPairs = (), url: str = "") -> Notification:
    one = replace(posted((("alertname", "X"),)), labels=labels, annotations=notes)
    return replace(grouped([replace(one, generator_url=url)]), route="", group=())


async def test_an_alert_opens_changes_and_ends_in_opsgenie(server: Opsgenie) -> None:
    notifier = server.notifier()
    fired, worse, over = life()
    await notifier.send(fired)
    (key,) = server.alerts
    assert server.notes == {}
    await notifier.send(worse)
    (note,) = server.notes[key]
    assert note.startswith("[UPDATE sev1] Latency in payment\nSeverity rose from sev2 to sev1.")
    await notifier.send(over)
    await notifier.close()
    assert (server.opened, server.alerts) == (1, {})
    assert server.lines == ["create", "create", "notes", "close"]
    closing = json.loads(server.requests[-1].body)
    assert closing["note"].startswith("[RESOLVED] Latency in payment, after 1m\n")
    assert closing["source"] == "Dependency Ops Sentinel"
    request = server.requests[0]
    assert request.headers["content-type"] == "application/json"
    assert request.headers["host"] == f"127.0.0.1:{server.port}"


def test_the_alert_of_an_incident() -> None:
    notification = life()[0]
    said = sent(notification)
    assert "payment latency_p95 rose 9 times." in said.pop("description")
    assert said == {
        "message": "[FIRING sev2] Latency in payment",
        "alias": alias(notification),
        "tags": ["sev2"],
        "details": {
            "Details": "https://dos.example.com/incidents/inc-1",
            **dict(notification.alert.labels),
        },
        "entity": "payment",
        "source": "Dependency Ops Sentinel",
        "priority": "P2",
    }


@pytest.mark.parametrize(
    ("severity", "priority"), [("sev1", "P1"), ("sev2", "P2"), ("sev3", "P3"), ("sev4", "P4")]
)
def test_priorities_are_those_of_what_still_fires(severity: str, priority: str) -> None:
    fires = posted((("alertname", "Down"),), severity=Severity(severity))
    over = posted((("alertname", "A"),), state=AlertState.RESOLVED, severity=Severity.SEV1)
    assert sent(grouped([over, fires]))["priority"] == priority


@pytest.mark.parametrize(
    ("labels", "entity"),
    [
        ({"service": "api", "instance": "h:1"}, "api"),
        ({"service": "", "instance": "h:1"}, "h:1"),
        ({"service": "x" * 600}, "x" * 511 + "…"),
        ({"team": "db"}, None),
    ],
)
def test_the_entity(labels: dict[str, str], entity: str | None) -> None:
    assert sent(alone(tuple(sorted(labels.items())))).get("entity") == entity


def test_who_is_told_and_tags() -> None:
    config = Config.model_validate(
        {
            "api_key": KEY,
            "responders": [
                {"type": "team", "name": "ops"},
                {"type": "user", "name": "ann@example.com"},
                {"type": "escalation", "id": "a1"},
                {"type": "user", "id": "a2"},
            ],
            "tags": ["dos", "sev2", "x" * 50],
        }
    )
    said = sent(life()[0], config)
    assert said["responders"] == [
        {"type": "team", "name": "ops"},
        {"type": "user", "username": "ann@example.com"},
        {"type": "escalation", "id": "a1"},
        {"type": "user", "id": "a2"},
    ]
    assert said["tags"] == ["dos", "sev2", "x" * 50]
    most = Config(
        api_key=Secret(KEY), tags=tuple(str(one) for one in range(19)), responders=(TEAM,) * 50
    )
    assert len(sent(life()[0], most)["tags"]) == 20


async def test_a_group_is_one_alert_until_all_of_it_is_over(server: Opsgenie) -> None:
    firing = [posted((("alertname", name),)) for name in ("A", "B")]
    over = [replace(one, state=AlertState.RESOLVED, ends_at=at(60)) for one in firing]
    notifier = server.notifier()
    await notifier.send(grouped(firing[:1]))
    assert server.lines == ["create"]
    await notifier.send(grouped(firing))
    await notifier.send(grouped([firing[0], over[1]]))
    ((key, notes),) = server.notes.items()
    assert notes[0] == "[FIRING sev3] A (and 1 more)\n[FIRING sev3] B"
    assert notes[1] == "[FIRING sev3] A (and 1 more)\n[RESOLVED] B"
    assert server.alerts[key]["details"] == {"cluster": "a"}
    assert server.opened == 1
    await notifier.send(grouped(over))
    await notifier.close()
    assert server.alerts == {}
    assert server.lines == ["create", "create", "notes", "create", "notes", "close"]


async def test_an_update_of_what_somebody_closed_opens_it_again(server: Opsgenie) -> None:
    notifier = server.notifier()
    fired, worse, _ = life()
    await notifier.send(fired)
    server.alerts.clear()
    await notifier.send(worse)
    await notifier.close()
    (said,) = server.alerts.values()
    assert (server.opened, said["priority"]) == (2, "P1")


async def test_a_refused_note_is_tried_again_with_its_alert(server: Opsgenie) -> None:
    notifier = server.notifier()
    created = answer("202 Accepted")
    server.answers = [created, answer("429 Slow", "Retry-After: 17")]
    with pytest.raises(TransientError) as raised:
        await notifier.send(life()[1])
    assert raised.value.retry_after == 17
    await notifier.send(life()[1])
    await notifier.close()
    assert server.lines == ["create", "notes"] * 2
    assert server.requests[0].body == server.requests[2].body


async def test_a_note_is_not_added_where_the_alert_was_refused(server: Opsgenie) -> None:
    notifier = server.notifier()
    server.answers = [answer("503 Busy")]
    with pytest.raises(TransientError):
        await notifier.send(life()[1])
    await notifier.close()
    assert server.lines == ["create"]


async def test_closing_what_is_not_there_is_accepted(server: Opsgenie) -> None:
    notifier = server.notifier()
    await notifier.send(life()[-1])
    await notifier.close()
    assert (server.lines, server.opened) == (["close"], 0)


async def test_a_path_before_the_api_is_kept(server: Opsgenie) -> None:
    notifier = server.notifier(api_url=f"http://127.0.0.1:{server.port}/jsm/ops/integration/")
    server.answers = [answer("202 Accepted")]
    await notifier.send(life()[0])
    await notifier.close()
    assert server.requests[0].headers[":line"] == "POST /jsm/ops/integration/v2/alerts HTTP/1.1"


def test_aliases_differ_by_receiver_and_subject_and_stay() -> None:
    def key(receiver: str, group: str) -> str:
        one = posted((("alertname", "Down"),))
        found = alias(replace(grouped([one], (("g", group),)), receiver=receiver))
        assert re.fullmatch(r"dos-[0-9a-f]{64}", found)
        return found

    cases = [
        ("a", "1"), ("b", "1"), ("a", "2"), ("a/b", "1"), ("a%2Fb", "1"), ("a", "x" * 900),
        ("a", "x" * 899 + "y"), ("a", "é"), ("a", "\n"), ("a", "\ud800"), ("a", "?"),
    ]  # fmt: skip
    assert len({key(*case) for case in cases}) == len(cases)
    fired, worse, over = life()
    assert alias(fired) == alias(worse) == alias(over)
    # Alerts that are open in Opsgenie can only be closed while this stays as it is.
    expected = "dos-00c92a1b1f3367739a6f0af0b840b94582eb4ba0fb4aa847a805cb274cbccb17"
    assert key("a", "1") == expected


def test_what_others_wrote_forges_no_link() -> None:
    hostile = '<a href="https://evil.example">Details</a> a < b <!-- <?x </p>'
    said = sent(alone((("job", hostile),), (("description", hostile), ("summary", hostile))))
    note = noted(alone((), (("description", hostile),)))["note"]
    for shown in (said["message"], said["description"], str(note)):
        assert not re.search(r"<[A-Za-z/!?]", shown)
        assert '< a href="https://evil.example">Details< /a> a < b' in shown


def test_links() -> None:
    def links(link: str, runbook: str, generator: str) -> dict[str, str]:
        details = sent(alone((), (("link", link), ("runbook_url", runbook)), generator))["details"]
        assert isinstance(details, dict)
        return details

    assert links("http://a/", "https://b/", "http://c/g?x=1") == {
        "Details": "http://a/",
        "Runbook": "https://b/",
        "Source": "http://c/g?x=1",
    }
    assert links("javascript:alert(1)", "/wiki/runbook", "http://a/" + "x" * 2000) == {}
    taken = sent(alone((("Details", "http://evil/"),), (("link", "http://a/"),)))["details"]
    assert taken == {"Details": "http://a/"}


def test_ten_thousand_labels() -> None:
    labels = tuple((f"label_{one:05}", f"value {one}") for one in range(10_000))
    details = sent(alone(labels))["details"]
    assert list(details.items())[:2] == [("label_00000", "value 0"), ("label_00001", "value 1")]
    assert 7900 < sum(len(name) + len(value) for name, value in details.items()) <= 8000


def test_a_long_value_leaves_room_for_others() -> None:
    labels = (("", "x"), ("a", "x" * 9000), ("b", ""), *((f"c{one}", "y") for one in range(9)))
    details = sent(alone(labels))["details"]
    assert details["a"] == "x" * 1999 + "…"
    assert set(details) == {"a", *(f"c{one}" for one in range(9))}
    large = tuple((f"{one}", "z" * 1990) for one in range(8))
    assert set(sent(alone((*large, ("small", "y"))))["details"]) == {"0", "1", "2", "3", "small"}
    full = tuple((f"{one}", "z" * 1999) for one in range(3))
    assert len(sent(alone((*full, ("3", "z" * 1999))))["details"]) == 4
    assert len(sent(alone((*full, ("3", "z" * 2000))))["details"]) == 3


@pytest.mark.parametrize("bad", ["\U0001f4a5", "\x00", "\ud800", "<b", "long\n"])
def test_the_worst_there_can_be_still_fits(bad: str) -> None:
    pairs = tuple((f"{one}{bad * 20_000}", bad * 20_000) for one in range(40))
    notes = (("summary", bad * 9000), ("description", bad * 90_000), ("link", "https://a/"))
    labels = (*pairs, ("service", bad * 900))
    said = sent(alone(labels, notes))
    assert len(said["message"]) == 130
    assert len(said["description"]) == 15_000
    assert said["description"].endswith("…")
    assert said["details"]["Details"] == "https://a/"
    assert len(said["details"]) > 3
    assert len(str(noted(alone(labels, notes))["note"])) == 25_000
    sent(grouped(alone(labels, notes).alerts * 40, pairs))


@settings(max_examples=150, deadline=None)
@given(PAIRS, PAIRS, PAIRS, st.integers(0, 40))
def test_whatever_is_in_labels_the_alert_is_valid(
    labels: dict[str, str], notes: dict[str, str], group: dict[str, str], more: int
) -> None:
    one = alone(tuple(sorted(labels.items())), tuple(sorted(notes.items())), notes.get("link", ""))
    sent(one)
    told = replace(grouped(one.alerts, tuple(sorted(group.items()))), others=one.alerts * more)
    assert sent(told) == sent(told)


@pytest.mark.parametrize(
    ("said", "error", "expected"),
    [
        (answer("401 No", body=f"{KEY} is unknown"), PermanentError, r"401: \*\*\* is unknown\."),
        (answer("401 No", body=f"{'-' * 180}{KEY}"), PermanentError, r"-\*\*\*\. Check"),
        (answer("403 No", body="no\n\taccess"), PermanentError, r"403: no access\. Check .*key"),
        (answer("422 Bad", body="Message is empty"), PermanentError, "422: Message is empty"),
        (answer("302 Found", "Location: http://x/"), PermanentError, r"answered 302\."),
        (answer("200 OK"), PermanentError, r"answered 200\."),
        (answer("500 Oops"), TransientError, r"answered 500\."),
        (answer("408 Late"), TransientError, r"answered 408\."),
        (answer("429 Slow Down", "Retry-After: 30"), TransientError, r"answered 429\."),
        (HANG_UP, TransientError, "127.0.0.1:.* failed"),
    ],
)
@pytest.mark.parametrize("state", [0, -1])
async def test_refusals_say_what_to_do_and_no_secret(
    server: Opsgenie,
    said: bytes,
    error: type[Exception],
    expected: str,
    state: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    server.answers.append(said)
    notifier = server.notifier()
    with pytest.raises(error, match=expected) as raised:
        await notifier.send(life()[state])
    await notifier.close()
    assert len(server.requests) == 1
    shown = f"{raised.value}{raised.value!r}{raised.value.__cause__}{notifier!r}{caplog.text}"
    assert KEY[:6].lower() not in shown.lower()
    assert getattr(raised.value, "retry_after", None) == (30.0 if b"429" in said else None)


async def test_silence_is_transient_and_loopback_is_refused(server: Opsgenie) -> None:
    server.delay = 0.5
    notifier = server.notifier(timeout="100ms")
    with pytest.raises(TransientError, match="did not answer in time"):
        await notifier.send(life()[0])
    await notifier.close()
    strict = server.notifier(api_url=f"https://127.0.0.1:{server.port}", allow_hosts=[])
    with pytest.raises(PermanentError, match="not a public address"):
        await strict.send(life()[0])
    await strict.close()
    assert len(server.requests) == 1


async def test_through_the_dispatcher_until_it_works(server: Opsgenie) -> None:
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
    assert server.lines == ["create"] * 4 + ["close"]
    assert len({request.body for request in server.requests[:4]}) == 1
    assert (server.opened, server.alerts) == (1, {})


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"api_key": ""}, "is not an API key"),
        ({"api_key": f"{KEY}\n"}, "is not an API key"),
        ({"api_key": f"{KEY}\r\nX-Evil: 1"}, "is not an API key"),
        ({"api_key": f"{KEY}é"}, "is not an API key"),
        ({"api_url": "api.opsgenie.com"}, "write where the API begins"),
        ({"api_url": "ftp://api.opsgenie.com"}, "write where the API begins"),
        ({"api_url": f"https://{KEY}:x@api.opsgenie.com"}, "write where the API begins"),
        ({"api_url": "https://api.opsgenie.com/?a=b"}, "write where the API begins"),
        ({"api_url": "http://api.opsgenie.com"}, "use https"),
        ({"tags": ["x" * 51]}, "at most 50 characters"),
        ({"tags": [""]}, "at least 1 character"),
        ({"tags": [str(one) for one in range(20)]}, "at most 19 items"),
        ({"responders": [{"type": "team"}]}, "either name or id"),
        ({"responders": [{"type": "team", "name": "a", "id": "b"}]}, "either name or id"),
        ({"responders": [{"type": "group", "name": "a"}]}, "'team', 'user'"),
        ({"responders": [{"type": "team", "id": "a"}] * 51}, "at most 50 items"),
        ({"team": "ops"}, "Extra inputs"),
    ],
)
def test_bad_configurations_are_refused_without_the_key(keys: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as raised:
        Config.model_validate({"api_key": KEY, **keys})
    assert KEY not in str(raised.value)


def test_the_key_is_not_shown() -> None:
    assert CONFIG.api_url == "https://api.opsgenie.com"
    notifier = OpsgenieNotifier(CONFIG, name="oncall", clock=ManualClock(START))
    assert KEY not in f"{CONFIG!r} {CONFIG} {CONFIG.model_dump_json()} {notifier!r}"


def test_the_example_of_the_guide_is_valid(tmp_path: Any) -> None:
    shown = next(
        one.text
        for one in blocks("yaml")
        if one.page == "docs/guides/alerts.md" and "opsgenie" in one.text
    )
    key = tmp_path / "key"
    key.write_text(f"{KEY}\n")
    made = validate(parse(re.sub(r"_file: /\S+", f"_file: {key}", shown).encode(), "alerts.md"), {})
    (receiver,) = made.alerting.receivers
    config = receiver.config
    assert isinstance(config, Config)
    assert config.api_key.reveal() == KEY
    assert config.responders


def test_the_checks_of_these_tests_can_fail() -> None:
    good, create = sent(life()[0]), "POST /v2/alerts HTTP/1.1"
    assert not mistakes(create, json.dumps(good).encode())
    for change in (
        {"message": ""},
        {"message": "x" * 131},
        {"alias": "x" * 513},
        {"description": "x" * 15_001},
        {"responders": [{"type": "team"}]},
        {"responders": [{"type": "user", "name": "ann"}]},
        {"responders": [{"type": "group", "id": "a"}]},
        {"tags": ["x" * 51]},
        {"tags": ["x"] * 21},
        {"details": {"a": 1}},
        {"details": {"a": "x" * 8000}},
        {"entity": "x" * 513},
        {"source": "x" * 101},
        {"priority": "sev1"},
        {"extra": 1},
    ):
        assert mistakes(create, json.dumps({**good, **change}).encode()), change
    note = json.dumps(noted(life()[0])).encode()
    assert not mistakes("POST /v2/alerts/a/notes?identifierType=alias HTTP/1.1", note)
    assert mistakes("POST /v2/alerts/a/notes HTTP/1.1", note)
    assert mistakes("POST /v2/alerts/a/b/notes?identifierType=alias HTTP/1.1", note)
    assert mistakes("POST /v2/alerts/a/notes?identifierType=alias HTTP/1.1", b"{}")
    assert urlsplit(CONFIG.api_url).scheme == "https"
