"""Teams against a server on loopback that takes what its webhooks are published to take."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from pydantic import ValidationError

from dos.alerting.notifiers.msteams import Config, MSTeamsNotifier, message
from dos.kit.clock import ManualClock
from dos.kit.errors import PermanentError, TransientError
from dos.kit.secret import Secret
from dos.model.alert import AlertState, LabelPairs, Notification
from dos.model.impact import Severity
from tests.unit.alerting import hooks
from tests.unit.alerting.builders import START
from tests.unit.alerting.hooks import HANG_UP, answer
from tests.unit.alerting.test_pagerduty import grouped, life, posted

SIGNATURE = "s3cr3tS3CR3Ts3cr3t"
PATH = f"/workflows/0a1b/triggers/manual/paths/invoke?api-version=2016-06-01&sig={SIGNATURE}"
CONFIG = Config(webhook_url=Secret(f"https://prod-00.westeurope.logic.azure.com:443{PATH}"))
LIMIT = 28 * 1024


def thing(kind: str, required: dict[str, object], **optional: object) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["type", *required],
        "properties": {"type": {"const": kind}, **required, **optional},
    }


# From https://adaptivecards.io/explorer/ (elements of version 1.4, what is required, enumerations)
# and https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/ (the envelope).
# Stricter where they say nothing: unknown fields and empty texts are mistakes of ours.
WORDS = {"type": "string", "minLength": 1}
TEXT_BLOCK = thing(
    "TextBlock",
    {"text": WORDS},
    wrap={"type": "boolean"},
    weight={"enum": ["default", "lighter", "bolder"]},
    size={"enum": ["default", "small", "medium", "large", "extraLarge"]},
)
FACT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["title", "value"],
    "properties": {"title": WORDS, "value": WORDS},
}
CONTAINER = thing(
    "Container",
    {"items": {"type": "array", "minItems": 1, "items": TEXT_BLOCK}},
    style={"enum": ["default", "emphasis", "good", "attention", "warning", "accent"]},
    bleed={"type": "boolean"},
)
FACTS = thing("FactSet", {"facts": {"type": "array", "minItems": 1, "items": FACT}})
OPEN = thing("Action.OpenUrl", {"url": {"type": "string", "format": "url"}}, title=WORDS)
CARD = thing(
    "AdaptiveCard",
    {
        "version": {"const": "1.4"},
        "body": {"type": "array", "items": {"oneOf": [TEXT_BLOCK, CONTAINER, FACTS]}},
    },
    **{"$schema": {"const": "http://adaptivecards.io/schemas/adaptive-card.json"}},
    actions={"type": "array", "minItems": 1, "maxItems": 6, "items": OPEN},
    msteams={"const": {"width": "Full"}},
)
ATTACHMENT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["contentType", "contentUrl", "content"],
    "properties": {
        "contentType": {"const": "application/vnd.microsoft.card.adaptive"},
        "contentUrl": {"type": "null"},
        "content": CARD,
    },
}
ONE = {"type": "array", "minItems": 1, "maxItems": 1, "items": ATTACHMENT}
FORMATS = jsonschema.FormatChecker(())


@FORMATS.checks("url")
def is_url(value: object) -> bool:
    parts = urlsplit(str(value))
    plain = re.fullmatch(r"[A-Za-z0-9%:/?#\[\]@!$&'()*+,;=\-._~]+", str(value))
    return bool(plain) and parts.scheme in {"http", "https"} and bool(parts.hostname)


CHECK = jsonschema.Draft202012Validator(
    thing("message", {"attachments": ONE}), format_checker=FORMATS
)


def mistakes(body: bytes) -> list[str]:
    """What Teams would refuse in `body`; it keeps the card as a text in another JSON."""
    said = json.loads(body)
    found = [one.message[:200] for one in CHECK.iter_errors(said)]
    kept = len(json.dumps(json.dumps(said)))
    return [*found, f"the message has {kept} bytes"] if kept > LIMIT else found


class Teams(hooks.HookServer):
    def reply(self, request: hooks.Request) -> bytes:
        if errors := mistakes(request.body):
            return answer("400 Bad Request", body=json.dumps(errors))
        return answer("202 Accepted")

    def notifier(self, **keys: object) -> MSTeamsNotifier:
        url = f"http://127.0.0.1:{self.port}{PATH}"
        config = Config.model_validate({"webhook_url": url, "allow_hosts": ["127.0.0.1"], **keys})
        return MSTeamsNotifier(config, name="ops", clock=ManualClock(START))


@pytest.fixture
async def server() -> AsyncIterator[Teams]:
    async with hooks.serving(Teams()) as one:
        yield one


def sent(notification: Notification) -> dict[str, Any]:
    """The card for `notification`, after it was checked."""
    body = message(notification)
    assert not mistakes(body)
    card: dict[str, Any] = json.loads(body)["attachments"][0]["content"]
    return card


def style_and_title(card: dict[str, Any]) -> tuple[str, str]:
    first = card["body"][0]
    return first["style"], first["items"][0]["text"]


def alone(labels: LabelPairs, notes: LabelPairs = (), url: str = "") -> Notification:
    alert = replace(posted((("alertname", "X"),)), labels=labels, annotations=notes)
    return replace(grouped([replace(alert, generator_url=url)]), route="", group=())


def read(text: str) -> tuple[list[str], list[str]]:
    """The lines that Markdown shows, and the kinds of everything in it that is no plain text."""
    # The most that a renderer of cards may understand.
    lines: list[str] = []
    kinds: list[str] = []
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text):
        if token.type not in {"paragraph_open", "paragraph_close", "inline"}:
            kinds.append(token.type)
        kinds += [one.type for one in token.children or [] if one.type not in PLAIN]
        if token.type == "inline":
            lines.append("".join(one.content for one in token.children or []))
    return lines, kinds


PLAIN = {"text", "text_special"}


async def test_an_incident_is_told_gets_worse_and_is_over(server: Teams) -> None:
    notifier = server.notifier()
    for notification in life():
        await notifier.send(notification)
    await notifier.close()
    cards = [json.loads(one.body)["attachments"][0]["content"] for one in server.requests]
    assert [style_and_title(one) for one in cards] == [
        ("attention", r"\[FIRING sev2\] Latency in payment"),
        ("attention", r"\[UPDATE sev1\] Latency in payment"),
        ("good", r"\[RESOLVED\] Latency in payment, after 1m"),
    ]
    request = server.requests[0]
    assert request.headers[":line"] == f"POST {PATH} HTTP/1.1"
    assert request.headers["content-type"] == "application/json"


def test_the_card_of_an_incident() -> None:
    card = sent(life()[0])
    kinds = [one["type"] for one in card["body"]]
    assert kinds == ["Container", "FactSet", "TextBlock"]
    facts = {one["title"]: one["value"] for one in card["body"][1]["facts"]}
    assert facts == {"incident": "inc-1", "service": "payment", "severity": "sev2"}
    lines, _ = read(card["body"][2]["text"])
    assert any("payment latency_p95 rose 9 times." in one for one in lines)
    assert len(lines) > 3
    link = "https://dos.example.com/incidents/inc-1"
    assert card["actions"] == [{"type": "Action.OpenUrl", "title": "Details", "url": link}]


@pytest.mark.parametrize(
    ("severity", "style"),
    [("sev1", "attention"), ("sev2", "attention"), ("sev3", "warning"), ("sev4", "accent")],
)
def test_the_colour_is_that_of_what_still_fires(severity: str, style: str) -> None:
    over = posted((("alertname", "A"),), state=AlertState.RESOLVED, severity=Severity.SEV1)
    fires = posted((("alertname", "B"),), severity=Severity(severity))
    assert style_and_title(sent(grouped([over, fires])))[0] == style
    assert style_and_title(sent(grouped([over, over])))[0] == "good"


def test_a_group_has_its_labels_and_a_line_for_each() -> None:
    alerts = [posted((("alertname", f"A{one}"),)) for one in range(30)]
    card = sent(grouped(alerts))
    assert style_and_title(card)[1] == r"\[FIRING sev3\] A0 (and 29 more)"
    assert card["body"][1]["facts"] == [{"title": "cluster", "value": "a"}]
    lines, _ = read(card["body"][2]["text"])
    assert (len(lines), lines[0], lines[-1]) == (21, "[FIRING sev3] A1", "… and 9 more")
    assert "actions" not in card


def test_links() -> None:
    def links(link: str, runbook: str, generator: str) -> list[str]:
        card = sent(alone((), (("link", link), ("runbook_url", runbook)), generator))
        return [one["url"] for one in card.get("actions", [])]

    assert links("http://a/", "https://b/?x=1&y", "http://c/#d") == [
        "http://a/",
        "https://b/?x=1&y",
        "http://c/#d",
    ]
    assert links("http://a/", "http://a/", "http://a/") == ["http://a/"]
    assert links("https://wiki/Über<1>", "", "") == ["https://wiki/%C3%9Cber%3C1%3E"]
    assert links("https://wiki/a%20b", "", "") == ["https://wiki/a%20b"]
    assert not links("javascript:alert(1)", "/wiki/runbook", "http://")
    assert not links("http://[", "https://a b/", "http://a/" + "é" * 1000)
    assert not links("ftp://a/", "http://a/" + "x" * 5000, "")


HOSTILE = [
    "[Details](https://evil.example)",
    "[Details][x]",
    "[x]: https://evil.example",
    r"\[Details](https://evil.example)",
    r"\\[Details](https://evil.example)",
    "![Details](https://evil.example/a.png)",
    "<https://evil.example>",
    "<at>everyone</at> <b>bold</b>",
    "&#91;Details&#93;(https://evil.example) &lt;b&gt;",
    "**bold** __bold__ *it* _it_ ***all*** ~~gone~~ `code` ``` code",
    "snake_case __init__ _private a_b_c __a_",
    "# heading",
    "###### heading",
    "> quoted",
    "- item",
    "+ item",
    "* item",
    "1. item",
    "23) item",
    "---",
    "- - -",
    "***",
    "___",
    "    code",
    "\tcode",
    "```",
    "~~~",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "title\n=====",
    "title\n-----",
    "break  \nhere\\\nthere",
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_what_others_wrote_is_shown_as_it_is(hostile: str) -> None:
    card = sent(alone((("job", hostile), (hostile, "x")), (("description", hostile),)))
    facts = card["body"][1]["facts"]
    values = [facts[0]["value"], facts[1]["title"], card["body"][2]["text"]]
    wanted = [" ".join(one.split()) for one in hostile.splitlines()]
    for value in values:
        lines, kinds = read(value)
        assert kinds == []
        assert [" ".join(one.split()) for one in lines] == wanted


def test_names_of_metrics_are_not_full_of_backslashes() -> None:
    card = sent(alone((("metric", "http_requests_total"),), (("summary", "p95 > 0.5 - or so"),)))
    assert card["body"][1]["facts"][0]["value"] == "http_requests_total"
    assert style_and_title(card)[1] == r"\[FIRING sev3\] p95 > 0.5 - or so"


def test_control_characters_and_directions_are_spaces() -> None:
    card = sent(alone((("a", "x\x00\x07\x1b[31m\u202ey\ud800"), ("b", "\x00"), ("c", " "))))
    facts = {one["title"]: one["value"] for one in card["body"][1]["facts"]}
    assert facts == {"a": r"x   \[31m y?", "b": "?"}


def test_ten_thousand_labels() -> None:
    labels = tuple((f"label_{one:05}", f"value {one}") for one in range(10_000))
    card = sent(alone(labels))
    facts = card["body"][1]["facts"]
    assert len(facts) == 41
    assert facts[0] == {"title": "label_00000", "value": "value 0"}
    assert facts[-1] == {"title": "…", "value": "and 9960 more"}


@pytest.mark.parametrize("bad", ["\U0001f4a5", '"', "\\", "*", "é", "\x01", "a\n", "\ud800", "x"])
def test_the_worst_there_can_be_still_fits(bad: str) -> None:
    pairs = tuple((f"{one}{bad * 20_000}", bad * 20_000) for one in range(60))
    urls = [f"https://{host}/" + "\\" * 1900 for host in "abc"]
    notes = (
        ("summary", bad * 100_000),
        ("description", f"{bad}\n" * 50_000),
        ("link", urls[0]),
        ("runbook_url", urls[1]),
    )
    card = sent(alone(pairs, notes, urls[2]))
    assert len(card["body"]) >= 2
    facts = card["body"][1]["facts"]
    assert int(re.findall(r"\d+", facts[-1]["value"])[-1]) == 60 - (len(facts) - 1)


def test_what_fits_is_not_cut_and_what_does_not_says_so() -> None:
    def text(length: int) -> str:
        body = sent(alone((), (("description", "x" * length),)))["body"]
        shown: str = body[-1]["text"]
        return shown

    assert text(12_000) == "x" * 12_000
    assert text(12_001) == "x" * 11_999 + "…"
    assert text(100_000) == "x" * 11_999 + "…"
    # Nothing between two spaces that were cut may make the rest look whole.
    blank = sent(alone((), (("description", "a" + " " * 90_000 + "b"),)))["body"][-1]["text"]
    assert blank == "a…"


def test_no_piece_is_cut_in_two() -> None:
    for length in range(240, 260):
        card = sent(alone((), (("summary", "x" * length + "*" * 20),)))
        title = style_and_title(card)[1]
        assert len(title) <= 250
        assert read(title)[1] == []
        assert not re.search(r"(?<!\\)\\…", title)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["alertname", "summary", "description", "link", "runbook_url"]),
            st.text(max_size=200)
            | st.text("\\*_[]()<>&#-+1.~`! \na", max_size=40)
            | st.sampled_from(["[]" * 9000, "https://a/" + "ü" * 300, "\ud800"]),
        ),
        unique_by=lambda pair: pair[0],
    ),
    st.integers(0, 40),
)
def test_no_alert_is_too_much_for_teams(pairs: list[tuple[str, str]], more: int) -> None:
    facts = tuple(sorted(pairs))
    first = alone(facts, facts, dict(facts).get("link", ""))
    card = sent(replace(first, others=first.alerts * more))
    for element in card["body"]:
        texts = [one["text"] for one in element.get("items", [])]
        texts += [one[key] for one in element.get("facts", []) for key in ("title", "value")]
        for text in [*texts, element.get("text", "")]:
            assert read(text)[1] == []


FAILED = "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error"
NOBODY = "Webhook message delivery failed with error: Error contacting Microsoft Teams endpoint"
CODE = '{"error":{"code":"WorkflowTriggerIsNotEnabled","message":"Could not execute …"}}'


@pytest.mark.parametrize(
    ("said", "error", "expected"),
    [
        (answer("400 Bad", body=CODE), PermanentError, "400: WorkflowTriggerIsNotEnabled. Check"),
        (answer("404 Not Found", body="gone"), PermanentError, "answered 404. Check in Teams"),
        (answer("413 Too Large"), PermanentError, "answered 413."),
        (answer("302 Found", "Location: http://x/"), PermanentError, "answered 302."),
        (answer("201 Created"), PermanentError, "answered 201."),
        (answer("401 No", body=f"{PATH} is wrong"), PermanentError, "answered 401."),
        (answer("401 No", body=f'"code":"{SIGNATURE}"'), PermanentError, "answered 401."),
        (answer("500 Oops"), TransientError, "answered 500."),
        (answer("408 Late"), TransientError, "answered 408."),
        (answer("429 Slow Down", "Retry-After: 30"), TransientError, "answered 429."),
        (answer("200 OK", "Retry-After: 30", body=f"{FAILED} 429 with C"), TransientError, "429"),
        (answer("200 OK", body=f"{FAILED} 503 with ContextId"), TransientError, "answered 503."),
        (answer("202 Accepted", body=f"{FAILED} 413 with"), PermanentError, "answered 413."),
        (answer("200 OK", body=f"{FAILED} 200 with"), TransientError, "answered 502."),
        (answer("200 OK", body=NOBODY), TransientError, "answered 502."),
        (HANG_UP, TransientError, "127.0.0.1"),
    ],
)
async def test_refusals_say_what_to_do_and_no_secret(
    server: Teams,
    said: bytes,
    error: type[Exception],
    expected: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="dos")
    server.answers.append(said)
    notifier = server.notifier()
    with pytest.raises(error) as raised:
        await notifier.send(life()[0])
    await notifier.close()
    assert len(server.requests) == 1
    assert expected in str(raised.value)
    shown = f"{raised.value}{raised.value!r}{raised.value.__cause__}{notifier!r}{caplog.text}"
    assert SIGNATURE.lower() not in shown.lower()
    wait = 30.0 if b"Retry-After" in said else None
    assert getattr(raised.value, "retry_after", None) == wait


@pytest.mark.parametrize("said", ["200 OK", "202 Accepted"])
@pytest.mark.parametrize("body", ["1", "", "queued; error 429 is no reason to worry"])
async def test_other_texts_of_success_are_success(server: Teams, said: str, body: str) -> None:
    server.answers.append(answer(said, body=body))
    notifier = server.notifier()
    await notifier.send(life()[0])
    await notifier.close()


async def test_silence_is_transient_and_loopback_is_refused(server: Teams) -> None:
    server.delay = 0.5
    notifier = server.notifier(timeout="100ms")
    with pytest.raises(TransientError, match="did not answer in time"):
        await notifier.send(life()[0])
    await notifier.close()
    strict = server.notifier(webhook_url=f"https://127.0.0.1:{server.port}{PATH}", allow_hosts=[])
    with pytest.raises(PermanentError, match="not a public address") as raised:
        await strict.send(life()[0])
    await strict.close()
    assert SIGNATURE not in str(raised.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "keys",
    [
        {"webhook_url": f"prod-00.logic.azure.com{PATH}"},
        {"webhook_url": f"http://prod-00.logic.azure.com{PATH}"},
        {"webhook_url": f"https://user:{SIGNATURE}@prod-00.logic.azure.com/"},
        {"webhook_url": f"https://[{SIGNATURE}"},
        {"webhook_url": f"https://prod-00.logic.azure.com{PATH}", "channel": "#ops"},
    ],
)
def test_bad_configurations_are_refused_without_the_secret(keys: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as raised:
        Config.model_validate(keys)
    assert SIGNATURE not in str(raised.value)


def test_the_address_is_secret() -> None:
    assert SIGNATURE not in f"{CONFIG!r} {CONFIG} {CONFIG.model_dump_json()}"


def test_the_checks_of_these_tests_can_fail() -> None:
    good = json.loads(message(life()[0]))
    assert not mistakes(json.dumps(good).encode())

    def broken(**changes: object) -> bytes:
        attachment = good["attachments"][0]
        content = {**attachment["content"], **changes}
        changed = {**good, "attachments": [{**attachment, "content": content}]}
        return json.dumps(changed).encode()

    block = {"type": "TextBlock", "text": "x"}
    for body in (
        broken(version="1.6"),
        broken(body=[{"type": "TextBlock"}]),
        broken(body=[{**block, "text": ""}]),
        broken(body=[{"type": "Container", "items": [block], "style": "red"}]),
        broken(body=[{"type": "FactSet", "facts": [{"title": "x"}]}]),
        broken(actions=[{"type": "Action.OpenUrl", "url": "javascript:x"}]),
        broken(actions=[{"type": "Action.OpenUrl", "url": 'https://a/"'}]),
        broken(actions=[{"type": "Action.OpenUrl", "url": "https://a/"}] * 7),
        broken(body=[{**block, "text": "x" * LIMIT}]),
        json.dumps({**good, "type": "MessageCard"}).encode(),
        json.dumps({**good, "attachments": []}).encode(),
    ):
        assert mistakes(body), body[:300]
    for text in ("**a**", "[a](b)", "- a", "    a", "<https://a>", "# a", "a\n---", "~~a~~"):
        assert read(text)[1], text
