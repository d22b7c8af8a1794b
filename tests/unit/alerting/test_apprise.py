"""Apprise against a server on loopback, by its service for JSON."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from dos.alerting.notifiers.apprise import AppriseNotifier, Config
from dos.kit.clock import ManualClock
from dos.kit.errors import ConfigError, TransientError
from dos.model.alert import AlertState
from dos.model.impact import Severity
from tests.unit.alerting import hooks
from tests.unit.alerting.builders import START
from tests.unit.alerting.hooks import HANG_UP, answer
from tests.unit.alerting.test_pagerduty import grouped, life, posted

SECRET = "s3cr3ts3cr3t"


class Json(hooks.HookServer):
    def url(self, path: str = SECRET) -> str:
        return f"json://user:{SECRET}@127.0.0.1:{self.port}/{path}"

    def notifier(self, *urls: str, **keys: object) -> AppriseNotifier:
        config = Config.model_validate({"urls": urls or [self.url()], **keys})
        return AppriseNotifier(config, name="many", clock=ManualClock(START))

    @property
    def said(self) -> list[dict[str, Any]]:
        return [json.loads(one.body) for one in self.requests]


@pytest.fixture
async def server() -> AsyncIterator[Json]:
    async with hooks.serving(Json()) as one:
        yield one


async def test_title_text_and_type_arrive(server: Json) -> None:
    notifier = server.notifier()
    for notification in life():
        await notifier.send(notification)
    await notifier.close()
    assert [(one["title"], one["type"]) for one in server.said] == [
        ("[FIRING sev2] Latency in payment", "failure"),
        ("[UPDATE sev1] Latency in payment", "failure"),
        ("[RESOLVED] Latency in payment, after 1m", "success"),
    ]
    assert "payment latency_p95 rose 9 times." in server.said[0]["message"]
    assert server.requests[0].headers[":line"] == f"POST /{SECRET} HTTP/1.1"


@pytest.mark.parametrize(
    ("severity", "expected"),
    [(Severity.SEV1, "failure"), (Severity.SEV3, "warning"), (Severity.SEV4, "info")],
)
async def test_a_group_is_as_grave_as_what_fires(
    server: Json, severity: Severity, expected: str
) -> None:
    over = posted((("alertname", "A"),), state=AlertState.RESOLVED, severity=Severity.SEV1)
    fires = posted((("alertname", "B"),), severity=severity)
    await server.notifier().send(grouped([over, fires]))
    assert server.said[0]["type"] == expected
    assert server.said[0]["title"].endswith("(and 1 more)")


async def test_what_is_too_long_or_broken_is_told_all_the_same(server: Json) -> None:
    facts = (("description", "long \ud800" + "x" * 100_000), ("summary", "a\nb\ud800"))
    await server.notifier().send(grouped([posted((("alertname", "A"),), facts)]))
    await server.notifier().send(grouped([posted((("alertname", "A"),))]))
    first, bare = server.said
    assert first["title"].endswith("a b?")
    assert first["message"].startswith("long ?xxx")
    assert len(first["message"]) <= 32768
    assert bare["message"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (answer("500 Oops", body=SECRET), "did not take it"),
        (answer("404 Gone"), "did not take it"),
        (answer("302 Found", f"Location: http://127.0.0.1:1/{SECRET}"), "did not take it"),
        (HANG_UP, "did not take it"),
    ],
)
async def test_failures_are_transient_and_hold_no_secret(
    server: Json, said: bytes, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(1)
    server.answers = [said]
    notifier = server.notifier()
    with pytest.raises(TransientError, match=f"Receiver many: jsons?:// {expected}") as raised:
        await notifier.send(life()[0])
    assert len(server.requests) == 1
    await notifier.send(life()[0])
    assert len(server.requests) == 2
    assert SECRET not in f"{raised.value}{raised.value!r}{raised.value.__cause__}{vars(notifier)}"
    assert SECRET not in caplog.text
    assert not [one for one in caplog.records if one.name.startswith(("apprise", "urllib3"))]


async def test_nobody_listening_is_transient(
    free_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    config = Config.model_validate({"urls": [f"json://127.0.0.1:{free_port}/{SECRET}"]})
    notifier = AppriseNotifier(config, name="many", clock=ManualClock(START))
    with pytest.raises(TransientError) as raised:
        await notifier.send(life()[0])
    assert SECRET not in str(raised.value) + caplog.text


async def test_silence_is_transient(server: Json) -> None:
    server.delay = 0.5
    notifier = server.notifier(timeout="100ms")
    with pytest.raises(TransientError, match="did not answer in time"):
        await notifier.send(life()[0])
    await asyncio.sleep(0.6)  # the thread of Apprise gets its answer


async def test_what_a_service_raises_is_not_shown(
    server: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    import apprise

    async def breaks(*_: object, **__: object) -> bool:
        msg = f"cannot reach {server.url()}"
        raise RuntimeError(msg)

    monkeypatch.setattr(apprise.Apprise, "async_notify", breaks)
    with pytest.raises(TransientError, match=r"failed \(RuntimeError\)") as raised:
        await server.notifier().send(life()[0])
    assert SECRET not in f"{raised.value!r}{raised.value.__cause__}{raised.value.__context__}"


async def test_only_what_failed_is_tried_again(server: Json) -> None:
    class Choosy(Json):
        def reply(self, request: hooks.Request) -> bytes:
            refuses = "/b " in request.headers[":line"] and len(self.requests) < 3
            return answer("500 Oops" if refuses else "200 OK")

    async with hooks.serving(Choosy()) as choosy:
        notifier = choosy.notifier(choosy.url("a"), choosy.url("b"))
        notification = life()[0]
        with pytest.raises(TransientError):
            await notifier.send(notification)
        await notifier.send(notification)
        paths = [one.headers[":line"].split()[1] for one in choosy.requests]
        assert sorted(paths[:2]) == ["/a", "/b"]
        assert paths[2:] == ["/b"]
        await notifier.send(replace(notification, id="ntf-other"))
        assert len(choosy.requests) == 5


@pytest.mark.parametrize(
    "schema",
    ["syslog", "dbus", "kde", "qt", "glib", "gio", "gnome", "macosx", "windows", "blink1", "VAPID"],
)
def test_what_reaches_only_the_own_machine_is_refused(schema: str) -> None:
    with pytest.raises(ValidationError, match=f"{schema.lower()}:// reaches only the own machine"):
        Config.model_validate({"urls": ["json://127.0.0.1/", f"{schema}://{SECRET}"]})


async def test_one_entry_is_one_url(server: Json) -> None:
    # Apprise's own list of URLs in one text would let the second one in unseen.
    try:
        notifier = server.notifier(f"json://127.0.0.1:{server.port}/a,syslog://")
    except ConfigError:
        return
    assert len(notifier._targets) == 1
    await notifier.send(life()[0])
    assert len(server.requests) == 1


@pytest.mark.parametrize("urls", [[], [SECRET], ["://x"], "json://127.0.0.1/", [f"/{SECRET}://x"]])
def test_urls_that_are_none_are_refused_without_showing_them(urls: object) -> None:
    with pytest.raises(ValidationError) as raised:
        Config.model_validate({"urls": urls})
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize("url", [f"nosuch://{SECRET}", f"tgram://{SECRET}", f"slack://{SECRET}"])
def test_urls_that_apprise_does_not_understand_are_refused_at_the_start(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(1)
    with pytest.raises(ConfigError, match="urls, number 1: Apprise does not understand") as raised:
        AppriseNotifier.of(urls=[url])
    assert SECRET not in str(raised.value) + caplog.text


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ConfigError, match=r"pip install 'dependency-ops-sentinel\[apprise\]'"):
        AppriseNotifier.of(urls=["json://127.0.0.1/"])


def test_the_urls_are_secret() -> None:
    config = Config.model_validate({"urls": [f"json://{SECRET}@127.0.0.1/"]})
    assert SECRET not in f"{config!r} {config.model_dump_json()}"
