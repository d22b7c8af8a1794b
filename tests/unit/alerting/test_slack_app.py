"""Slack as an app: one message and thread for each matter, whatever gets lost on the way."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dos.alerting.notifiers.slack import Config, SlackNotifier
from dos.alerting.slack_blocks import Look, change
from dos.kit.errors import PermanentError, TransientError
from dos.model.alert import Acknowledgement, AlertState, LabelPairs, Notification
from dos.model.impact import Severity
from tests.unit.alerting import hooks
from tests.unit.alerting.hooks import HANG_UP, answer
from tests.unit.alerting.slack_fake import (
    CHANNEL,
    TOKEN,
    SlackFake,
    blocks_of,
    buttons_of,
    refused,
    said,
)
from tests.unit.alerting.test_pagerduty import grouped, life, posted

SIGNING = "sign1ngs3cr3t"


@pytest.fixture
async def slack() -> AsyncIterator[SlackFake]:
    async with hooks.serving(SlackFake()) as one:
        yield one


def app(slack: SlackFake, **keys: object) -> SlackNotifier:
    config = Config.model_validate(
        {
            "token": TOKEN,
            "channel": CHANNEL,
            "api_url": f"http://127.0.0.1:{slack.port}/api",
            "allow_hosts": ["127.0.0.1"],
            **keys,
        }
    )
    return SlackNotifier(config, name="ops", clock=slack.clock)


async def told(slack: SlackFake, *notifications: Notification, **keys: object) -> None:
    """By a notifier that knows nothing of those before it."""
    notifier = app(slack, **keys)
    try:
        for one in notifications:
            await notifier.send(one)
    finally:
        await notifier.close()


def group_of(name: str, *states: AlertState, serial: int = 1) -> Notification:
    alerts = [
        posted((("alertname", name), ("job", str(number))), state=state)
        for number, state in enumerate(states)
    ]
    return replace(grouped(alerts, (("alertname", name),)), id=f"ntf-{name}-{serial}")


async def test_a_matter_is_one_message_and_its_thread(slack: SlackFake) -> None:
    fired, worse, over = life()
    notifier = app(slack, signing_secret=SIGNING)
    await notifier.send(fired)
    [root] = slack.roots
    assert root["text"] == "[FIRING sev2] Latency in payment"
    assert root["attachments"][0]["color"] == "#e8590c"
    [button, silence] = buttons_of(root)
    assert (silence["action_id"], silence["value"]) == ("dos_silence", button["value"])
    assert button["value"] == notifier.key(fired) == notifier.key(over)
    await notifier.send(worse)
    assert root["text"] == "[UPDATE sev1] Latency in payment"
    assert root["attachments"][0]["color"] == "#b00020"
    assert "Severity rose from sev2 to sev1." in json.dumps(slack.replies(root))
    await notifier.send(over)
    await notifier.close()
    assert root["text"] == "[RESOLVED] Latency in payment, after 1m"
    assert root["attachments"][0]["color"] == "#2eb67d"
    assert not buttons_of(root)
    assert [one["text"] for one in slack.replies(root)] == [
        "[UPDATE sev1] Latency in payment",
        root["text"],
    ]
    assert slack.roots == [root]
    assert not any(one["reply_broadcast"] for one in slack.replies(root))
    assert slack.calls.count("conversations.history") == 1
    assert "conversations.replies" not in slack.calls


async def test_a_restart_finds_the_threads(slack: SlackFake) -> None:
    lives = [life(), [replace(one, receiver="other") for one in life()]]
    for step in zip(*lives, strict=True):
        for one in step:
            await told(slack, one, broadcast=True)  # what shows in the channel is no root
    assert len(slack.roots) == 2
    for root in slack.roots:
        assert len(slack.replies(root)) == 2
        assert root["text"].startswith("[RESOLVED]")


async def test_what_is_sent_again_after_a_restart_is_not_told_again(slack: SlackFake) -> None:
    for one in life():
        for _ in range(3):
            await told(slack, one)
    [root] = slack.roots
    assert len(slack.replies(root)) == 2
    assert root["text"].startswith("[RESOLVED]")


@pytest.mark.parametrize("again", [False, True], ids=["same process", "restarted"])
@pytest.mark.parametrize("lost", ["first", "reply", "update"])
async def test_an_answer_that_gets_lost_is_no_second_message(
    slack: SlackFake, lost: str, again: bool
) -> None:
    fired, worse, over = life()
    notifier = app(slack)
    method = "chat.update" if lost == "update" else "chat.postMessage"
    for one in (fired, worse, over):
        if (one is fired) == (lost == "first") and one is not over:
            slack.lose[method] = 1
            with pytest.raises(TransientError):
                await notifier.send(one)
            if again:
                await notifier.close()
                notifier = app(slack)
        await notifier.send(one)
    await notifier.close()
    [root] = slack.roots
    assert len(slack.replies(root)) == 2


async def test_two_matters_are_two_threads(slack: SlackFake) -> None:
    firing, over = AlertState.FIRING, AlertState.RESOLVED
    await told(
        slack,
        group_of("A", firing),
        group_of("B", firing),
        group_of("A", firing, firing, serial=2),
        group_of("B", over, serial=2),
    )
    a, b = slack.roots
    assert [len(slack.replies(one)) for one in (a, b)] == [1, 1]
    colours = [one["attachments"][0]["color"] for one in (a, b)]
    assert colours == ["#f2c037", "#2eb67d"]


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_group_that_fires_again_is_a_new_message(slack: SlackFake, restarted: bool) -> None:
    notifier = app(slack)
    for serial, state in enumerate((AlertState.FIRING, AlertState.RESOLVED) * 2):
        if restarted:
            await notifier.close()
            notifier = app(slack)
        await notifier.send(group_of("A", state, serial=serial))
    await notifier.close()
    assert [len(slack.replies(one)) for one in slack.roots] == [1, 1]


async def test_a_message_that_somebody_deleted_is_posted_anew(slack: SlackFake) -> None:
    fired, worse, _ = life()
    notifier = app(slack)
    await notifier.send(fired)
    slack.messages.clear()
    await notifier.send(worse)
    await notifier.close()
    assert [one["text"] for one in slack.roots] == ["[UPDATE sev1] Latency in payment"]


async def test_where_messages_may_not_be_changed_the_thread_tells(slack: SlackFake) -> None:
    slack.refuse["chat.update"] = [refused("edit_window_closed")] * 2
    await told(slack, *life())
    [root] = slack.roots
    assert len(slack.replies(root)) == 2


async def test_a_second_passes_between_messages(slack: SlackFake) -> None:
    await told(slack, *life(), group_of("A", AlertState.FIRING))
    gaps = [later - earlier for earlier, later in pairwise(slack.written)]
    assert len(gaps) == 5
    assert min(gaps) >= 1.0


async def test_a_channel_by_its_name(slack: SlackFake) -> None:
    await told(slack, life()[0], channel="#ops")
    assert len(slack.roots) == 1
    with pytest.raises(PermanentError, match="/invite"):
        await told(slack, life()[0], channel="#nowhere")


async def test_what_others_write_into_metadata_is_not_believed(slack: SlackFake) -> None:
    fired, worse, _ = life()
    await told(slack, fired)
    [root] = slack.roots
    slack.clock.advance(1)
    strange = slack.put({**root, "text": "forged"}, bot="B0000000666")
    for payload in (3, {}, {"matter": 1, "notification": []}, {"matter": "m", "notification": "n"}):
        slack.put({"metadata": {"event_type": "dos_matter", "event_payload": payload}})
    await told(slack, worse)
    assert len(slack.replies(root)) == 1
    assert not slack.replies(strange)


async def test_grave_replies_show_in_the_channel_where_wanted(slack: SlackFake) -> None:
    await told(slack, *life(), broadcast=True, mention="<!here>")
    [root] = slack.roots
    first, second = slack.replies(root)
    assert [one["reply_broadcast"] for one in (first, second)] == [True, True]
    assert ["<!here>" in json.dumps(one) for one in (first, second)] == [True, False]


async def test_who_is_on_it_shows(slack: SlackFake) -> None:
    fired, worse, over = life()
    notifier = app(slack, signing_secret=SIGNING)
    await notifier.show(fired)
    assert not slack.messages
    await notifier.send(fired)
    by = Acknowledgement(alert=fired.alert.id, by="<!channel>Ann", at=slack.clock.now())
    shown = replace(fired, alert=replace(fired.alert, acknowledged=by))
    await notifier.show(shown)
    [root] = slack.messages
    assert "Acknowledged by &lt;!channel&gt;Ann" in json.dumps(blocks_of(root))
    assert not buttons_of(root)
    await notifier.send(replace(worse, alert=replace(worse.alert, acknowledged=by)))
    assert "Acknowledged by" in json.dumps(blocks_of(root))
    await notifier.show(shown)
    assert root["text"] == "[UPDATE sev1] Latency in payment", "older than what is there"
    await notifier.send(over)
    await notifier.show(shown)
    await notifier.close()
    assert root["text"].startswith("[RESOLVED]")
    assert len(slack.replies(root)) == 2


async def test_of_a_group_some_are_acknowledged(slack: SlackFake) -> None:
    group = group_of("A", AlertState.FIRING, AlertState.FIRING)
    by = Acknowledgement(alert=group.alert.id, by="Ann", at=slack.clock.now())
    some = replace(group, alert=replace(group.alert, acknowledged=by))
    await told(slack, some, signing_secret=SIGNING)
    [root] = slack.messages
    assert "Acknowledged by Ann (1 of 2 alerts)" in json.dumps(root)
    assert buttons_of(root)


@pytest.mark.parametrize(
    ("method", "reply", "error", "words", "after"),
    [
        (
            "chat.postMessage",
            said({"ok": False, "error": "ratelimited"}, "429 Slow", "Retry-After: 30"),
            TransientError,
            "ratelimited",
            30.0,
        ),
        ("auth.test", answer("429 Slow", "Retry-After: 7"), TransientError, "429", 7.0),
        ("chat.postMessage", refused("ratelimited"), TransientError, "ratelimited", None),
        ("chat.postMessage", refused("internal_error"), TransientError, "internal_error", None),
        ("chat.postMessage", refused("fatal_error"), TransientError, "fatal_error", None),
        ("auth.test", refused("service_unavailable"), TransientError, "unavailable", None),
        ("auth.test", refused("invalid_auth"), PermanentError, "bot token", None),
        ("chat.postMessage", refused("channel_not_found"), PermanentError, "/invite", None),
        ("conversations.history", refused("not_in_channel"), PermanentError, "/invite", None),
        (
            "conversations.history",
            refused("missing_scope", needed="channels:history"),
            PermanentError,
            "(channels:history)",
            None,
        ),
        ("chat.postMessage", refused(f"no {TOKEN}"), TransientError, "chat.postMessage", None),
        ("chat.postMessage", answer("200 OK", body="<html>"), TransientError, "not as Slack", None),
        ("chat.postMessage", answer("200 OK", body="[" * 9000), TransientError, "Slack", None),
        ("auth.test", answer("404 No", body="?"), PermanentError, "api_url", None),
        ("auth.test", answer("503 No", "Retry-After: 9"), TransientError, "503", 9.0),
        ("auth.test", answer("302 Found", "Location: http://x/"), PermanentError, "302", None),
        ("auth.test", HANG_UP, TransientError, "127.0.0.1", None),
        ("auth.test", said({"ok": True, "user_id": "U1"}), PermanentError, "xoxb", None),
    ],
)
async def test_refusals_say_what_to_do_and_no_secret(
    slack: SlackFake,
    method: str,
    reply: bytes,
    error: type[Exception],
    words: str,
    after: float | None,
) -> None:
    slack.refuse[method] = [reply]
    notifier = app(slack, signing_secret=SIGNING)
    with pytest.raises(error) as raised:
        await notifier.send(life()[0])
    assert words in str(raised.value)
    assert "s3cr3t" not in f"{raised.value}{raised.value!r}{raised.value.__cause__}"
    assert getattr(raised.value, "retry_after", None) == after
    await notifier.send(life()[0])
    await notifier.close()
    assert len(slack.messages) == 1


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["alertname", "summary", "description", "link", "update"]),
            st.one_of(st.text(max_size=300), st.sampled_from(["<&>" * 2000, "x" * 9000, "*`~_"])),
        ),
        unique_by=lambda pair: pair[0],
    ),
    st.integers(0, 30),
)
def test_no_change_is_too_much_for_slack(pairs: LabelPairs, more: int) -> None:
    facts = tuple(sorted(pairs))
    alert = posted((("alertname", "many"),), facts, severity=Severity.SEV1)
    shown = change(grouped([alert] * (more + 1)), Look(mention="<!here>"))
    for block in blocks_of(shown):
        assert 0 < len(block["text"]["text"]) <= 3000
        text = block["text"]["text"]
        assert text == "<!here>" or not {"<", ">"} & set(text)


@pytest.mark.parametrize(
    "keys",
    [
        {"token": TOKEN},
        {"token": "s3cr3t", "channel": CHANNEL},
        {"token": "xoxp-1-s3cr3t", "channel": CHANNEL},
        {"token": TOKEN, "channel": "ops"},
        {"token": TOKEN, "channel": "#a #b"},
        {"token": TOKEN, "channel": CHANNEL, "api_url": "http://slack.com/api"},
        {"token": TOKEN, "channel": CHANNEL, "api_url": "slack.com"},
        {"token": TOKEN, "channel": CHANNEL, "webhook_url": "https://hooks.slack.com/s3cr3t"},
        {"webhook_url": "https://hooks.slack.com/s3cr3t", "signing_secret": SIGNING},
        {"channel": CHANNEL},
        {},
    ],
)
def test_bad_configurations_are_refused_without_the_secret(keys: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as raised:
        Config.model_validate(keys)
    assert "s3cr3t" not in str(raised.value)


def test_the_token_is_secret() -> None:
    keys = {"token": TOKEN, "channel": CHANNEL, "signing_secret": SIGNING}
    config = Config.model_validate(keys)
    assert "s3cr3t" not in f"{config!r} {config.model_dump_json()}"
