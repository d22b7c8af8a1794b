"""The contract of `dos.alerting.base`, checked on every notifier there is."""

from __future__ import annotations

import inspect
import json

import pytest
from pydantic import BaseModel

from dos.alerting.base import ROOM, AlertingConfig, Notifier, Receiver
from dos.alerting.book import AlertBook
from dos.kit import plugins
from dos.kit.clock import ManualClock
from dos.kit.errors import PermanentError, TransientError
from dos.kit.secret import Secret
from dos.model.alert import Notification
from tests.unit.alerting.builders import START, at, incident, notifications, resolved

SAMPLE_KEYS: dict[str, dict[str, object]] = {
    "apprise": {"urls": ["json://127.0.0.1:9/"]},
    "console": {},
    "email": {
        "smarthost": "127.0.0.1",
        "port": 9,
        "from": "dos@example.com",
        "to": ["oncall@example.com"],
    },
    "msteams": {
        "webhook_url": "http://127.0.0.1:9/workflows/0/triggers/manual/paths/invoke?sig=x",
        "allow_hosts": ["127.0.0.1"],
    },
    "opsgenie": {
        "api_key": "0" * 36,
        "api_url": "http://127.0.0.1:9",
        "allow_hosts": ["127.0.0.1"],
    },
    "pagerduty": {
        "routing_key": "0" * 32,
        "url": "http://127.0.0.1:9/v2/enqueue",
        "allow_hosts": ["127.0.0.1"],
    },
    "slack": {
        "webhook_url": "http://127.0.0.1:9/services/T0/B0/x",
        "allow_hosts": ["127.0.0.1"],
    },
    "webhook": {"url": "http://127.0.0.1:9/hook", "allow_hosts": ["127.0.0.1"]},
}
"""Least keys of each; where they lead, nobody answers."""

ALL = plugins.names(ROOM)


def build(name: str) -> Notifier:
    plugin = plugins.load(ROOM, name)
    config = plugin.config.model_validate(SAMPLE_KEYS[name])
    notifier: Notifier = plugin.build(config, name="somebody", clock=ManualClock(START))
    return notifier


def life_of_an_alert() -> list[Notification]:
    book = AlertBook(AlertingConfig(receivers=(Receiver(name="somebody"),)))
    bare = book.observe(incident("inc-2", severity=None, root=None), at(0))
    full = book.observe(incident(), at(0))
    return notifications([*bare, *full, *book.observe(resolved(incident(), at(60)), at(60))])


def test_every_notifier_is_checked() -> None:
    assert sorted(SAMPLE_KEYS) == ALL


@pytest.mark.parametrize("name", ALL)
def test_its_keys_are_described_and_closed(name: str) -> None:
    config: type[BaseModel] = plugins.load(ROOM, name).config
    assert config.model_config.get("extra") == "forbid"
    assert config.model_config.get("frozen")
    for key, field in config.model_fields.items():
        assert field.description, f"{name}.{key} has no description"
        assert key not in {"type", "name", "min_severity"}, f"{key} belongs to every receiver"
    json.dumps(config.model_json_schema())


@pytest.mark.parametrize("name", ALL)
def test_what_looks_like_a_secret_is_one(name: str) -> None:
    config: type[BaseModel] = plugins.load(ROOM, name).config
    for key, field in config.model_fields.items():
        if any(word in key for word in ("secret", "token", "password", "authorization")):
            assert Secret.__name__ in str(field.annotation), f"{name}.{key} would be shown"


@pytest.mark.parametrize("name", ALL)
def test_it_says_what_it_is_and_does(name: str) -> None:
    notifier = build(name)
    assert inspect.iscoroutinefunction(notifier.send)
    assert (inspect.getdoc(type(notifier)) or "").strip()
    assert "Raises" in (inspect.getdoc(notifier.send) or "")


@pytest.mark.parametrize("name", ALL)
async def test_it_is_built_without_io_and_closed_twice(name: str) -> None:
    notifier = build(name)
    await notifier.close()
    await notifier.close()


@pytest.mark.parametrize("name", ALL)
async def test_it_delivers_or_raises_one_of_our_errors(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    notifier = build(name)
    failures = []
    for notification in life_of_an_alert():
        try:
            await notifier.send(notification)
        except (TransientError, PermanentError) as error:
            failures.append(str(error))
    await notifier.close()
    assert all("somebody" in one or "127.0.0.1" in one for one in failures), "says where"
    capsys.readouterr()
