from __future__ import annotations

import io
from dataclasses import replace

import pytest

from dos.alerting.base import AlertingConfig, Receiver
from dos.alerting.book import AlertBook
from dos.alerting.notifiers.console import Config, ConsoleNotifier
from dos.kit.clock import ManualClock
from dos.kit.errors import TransientError
from dos.model.alert import Notification
from tests.unit.alerting.builders import START, at, incident, notifications


def firing() -> Notification:
    book = AlertBook(AlertingConfig(receivers=(Receiver(name="console"),)))
    return notifications(book.observe(replace(incident(), title="Slow"), at(15)))[0]


def console(to: io.StringIO | None, **keys: object) -> ConsoleNotifier:
    config = Config.model_validate(keys)
    return ConsoleNotifier(config, name="console", clock=ManualClock(START), stream=to)


async def test_a_notification_is_a_block() -> None:
    stream = io.StringIO()
    await console(stream).send(firing())
    first, second = stream.getvalue().splitlines()[:2]
    assert first == "2026-05-28T20:26:55.000Z console: [FIRING sev2] Slow"
    assert second.startswith("    Severity: sev2. ")


async def test_without_details_it_is_one_line() -> None:
    stream = io.StringIO()
    await console(stream, details=False).send(firing())
    assert len(stream.getvalue().splitlines()) == 1


async def test_it_writes_to_the_chosen_stream(capsys: pytest.CaptureFixture[str]) -> None:
    await console(None, stream="stdout").send(firing())
    await console(None, stream="stderr").send(firing())
    captured = capsys.readouterr()
    assert captured.out == captured.err != ""


async def test_a_closed_stream_is_transient() -> None:
    stream = io.StringIO()
    stream.close()
    with pytest.raises(TransientError, match="stderr cannot be written"):
        await console(stream).send(firing())
