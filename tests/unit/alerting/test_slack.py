"""Slack against a server on loopback that takes what incoming webhooks are published to take."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dos.alerting.notifiers.slack import Config, SlackNotifier, message
from dos.kit.clock import ManualClock
from dos.kit.errors import PermanentError, TransientError
from dos.kit.secret import Secret
from dos.model.alert import AlertState, Notification
from dos.model.impact import Severity
from tests.unit.alerting import hooks
from tests.unit.alerting.builders import START
from tests.unit.alerting.hooks import HANG_UP, answer
from tests.unit.alerting.test_pagerduty import grouped, life, posted

PATH = "/services/T0000/B0000/s3cr3ts3cr3t"
CONFIG = Config(webhook_url=Secret(f"https://hooks.slack.com{PATH}"))


def text_of(kind: str, most: int) -> dict[str, Any]:
    extra = {"emoji": {"type": "boolean"}} if kind == "plain_text" else {"verbatim": {}}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["type", "text"],
        "properties": {
            "type": {"const": kind},
            "text": {"type": "string", "minLength": 1, "maxLength": most},
            **extra,
        },
    }


def block(kind: str, **properties: object) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["type", *properties],
        "properties": {"type": {"const": kind}, **properties},
    }


# From https://docs.slack.dev/reference/block-kit/blocks/ (limits) and
# https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks/.
# Stricter where they say nothing: unknown fields are mistakes of ours.
ELEMENTS = {"type": "array", "minItems": 1, "maxItems": 10, "items": text_of("mrkdwn", 3000)}
BLOCKS = {
    "type": "array",
    "maxItems": 50,
    "items": {
        "oneOf": [
            block("header", text=text_of("plain_text", 150)),
            block("section", text=text_of("mrkdwn", 3000)),
            block("context", elements=ELEMENTS),
        ]
    },
}
ATTACHMENT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["color", "blocks"],
    "properties": {"color": {"pattern": "^#[0-9a-f]{6}$"}, "blocks": BLOCKS},
}
CHECK = jsonschema.Draft202012Validator(
    {
        "type": "object",
        "additionalProperties": False,
        "required": ["text", "attachments"],
        "properties": {
            "text": {"type": "string", "minLength": 1, "maxLength": 4000},
            "attachments": {"type": "array", "maxItems": 20, "items": ATTACHMENT},
        },
    }
)


def mistakes(body: bytes) -> list[str]:
    return [one.message[:200] for one in CHECK.iter_errors(json.loads(body))]


class Slack(hooks.HookServer):
    def reply(self, request: hooks.Request) -> bytes:
        if mistakes(request.body):
            return answer("400 Bad Request", body="invalid_blocks")
        return answer("200 OK", body="ok")

    def notifier(self, **keys: object) -> SlackNotifier:
        url = f"http://127.0.0.1:{self.port}{PATH}"
        config = Config.model_validate({"webhook_url": url, "allow_hosts": ["127.0.0.1"], **keys})
        return SlackNotifier(config, name="ops", clock=ManualClock(START))


@pytest.fixture
async def server() -> AsyncIterator[Slack]:
    async with hooks.serving(Slack()) as one:
        yield one


def sent(notification: Notification, config: Config = CONFIG) -> dict[str, Any]:
    body = json.dumps(message(notification, config)).encode()
    assert not mistakes(body)
    said: dict[str, Any] = json.loads(body)
    return said


def blocks_of(said: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = said["attachments"][0]["blocks"]
    return found


async def test_an_incident_is_told_gets_worse_and_is_over(server: Slack) -> None:
    notifier = server.notifier()
    for notification in life():
        await notifier.send(notification)
    await notifier.close()
    said = [json.loads(request.body) for request in server.requests]
    assert [one["text"] for one in said] == [
        "[FIRING sev2] Latency in payment",
        "[UPDATE sev1] Latency in payment",
        "[RESOLVED] Latency in payment, after 1m",
    ]
    colours = [one["attachments"][0]["color"] for one in said]
    assert colours == ["#e8590c", "#b00020", "#2eb67d"]
    assert server.requests[0].headers[":line"] == f"POST {PATH} HTTP/1.1"


def test_the_blocks_of_an_incident() -> None:
    kinds = {"header": "[FIRING sev2] Latency in payment"}
    header, labels, text, links = blocks_of(sent(life()[0]))
    assert header["text"] == {"type": "plain_text", "text": kinds["header"], "emoji": False}
    assert "service=payment" in labels["elements"][0]["text"]
    assert "payment latency_p95 rose 9 times." in text["text"]["text"]
    assert links["text"]["text"] == "<https://dos.example.com/incidents/inc-1|Details>"


def test_paths_are_no_links() -> None:
    assert [one["type"] for one in blocks_of(sent(life(external_url="")[0]))] == [
        "header",
        "context",
        "section",
    ]


def test_what_others_wrote_notifies_nobody_and_forges_no_link() -> None:
    hostile = "<!channel> <https://evil.example|Details> & more"
    alert = posted(
        (("alertname", "X"), ("job", hostile)),
        (("description", hostile), ("link", "https://a.example/|x"), ("summary", hostile)),
    )
    said = sent(grouped([alert], group=(("job", hostile),)))
    whole = json.dumps([said["text"], blocks_of(said)[1:]])
    assert "<" not in whole
    assert ">" not in whole
    assert "&lt;!channel&gt;" in whole


def test_somebody_is_mentioned_while_it_is_grave() -> None:
    config = CONFIG.model_copy(update={"mention": "<!here>"})
    fired, worse, over = life()
    mentioned = ["<!here>" in json.dumps(sent(one, config)) for one in (fired, worse, over)]
    assert mentioned == [True, True, False]
    small = grouped([posted((("alertname", "X"),), severity=Severity.SEV3)])
    assert "<!here>" not in json.dumps(sent(small, config))


def test_a_group_with_something_over_has_the_colour_of_what_still_fires() -> None:
    over = posted((("alertname", "A"),), state=AlertState.RESOLVED, severity=Severity.SEV1)
    fires = posted((("alertname", "B"),), severity=Severity.SEV4)
    said = sent(grouped([over, fires]))
    assert said["attachments"][0]["color"] == "#5b8def"


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["alertname", "summary", "description", "link", "runbook_url"]),
            st.one_of(st.text(max_size=300), st.sampled_from(["<&>" * 2000, "x" * 9000, "\ud800"])),
        ),
        unique_by=lambda pair: pair[0],
    ),
    st.integers(0, 60),
)
def test_no_alert_is_too_much_for_slack(pairs: list[tuple[str, str]], more: int) -> None:
    facts = tuple(sorted(pairs))
    name = (("alertname", "many"),)
    labels = name if any("\ud800" in value for _, value in facts) else facts or name
    alert = posted(labels, facts, generator_url=dict(facts).get("link", ""))
    sent(grouped([alert] * (more + 1), group=labels))


@pytest.mark.parametrize(
    ("said", "error", "expected"),
    [
        (answer("404 Not Found", body="no_service"), PermanentError, "answered 404: no_service."),
        (answer("403 Forbidden", body="action_prohibited"), PermanentError, "action_prohibited"),
        (answer("302 Found", "Location: http://x/"), PermanentError, "answered 302."),
        (answer("500 Oops", body="rollup_error"), TransientError, "rollup_error"),
        (answer("429 Slow Down", "Retry-After: 30"), TransientError, "answered 429."),
        (answer("400 Bad", body=f"no such {PATH}"), PermanentError, "answered 400."),
        (HANG_UP, TransientError, "127.0.0.1"),
    ],
)
async def test_refusals_say_what_to_do_and_no_secret(
    server: Slack, said: bytes, error: type[Exception], expected: str
) -> None:
    server.answers.append(said)
    notifier = server.notifier()
    with pytest.raises(error) as raised:
        await notifier.send(life()[0])
    await notifier.close()
    assert expected in str(raised.value)
    assert "s3cr3t" not in f"{raised.value}{raised.value!r}{raised.value.__cause__}"
    assert getattr(raised.value, "retry_after", None) == (30.0 if b"429" in said else None)


@pytest.mark.parametrize(
    "keys",
    [
        {"webhook_url": "hooks.slack.com/services/s3cr3t"},
        {"webhook_url": "http://hooks.slack.com/services/s3cr3t"},
        {"webhook_url": "https://[s3cr3t"},
        {"webhook_url": "https://hooks.slack.com/services/s3cr3t", "mention": "@here"},
        {"webhook_url": "https://hooks.slack.com/services/s3cr3t", "channel": "#ops"},
    ],
)
def test_bad_configurations_are_refused_without_the_secret(keys: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as raised:
        Config.model_validate(keys)
    assert "s3cr3t" not in str(raised.value)


def test_the_address_is_secret() -> None:
    assert "s3cr3t" not in f"{CONFIG!r} {CONFIG.model_dump_json()}"
