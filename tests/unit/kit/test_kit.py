"""Mailbox, errors, secrets, plugins, log lines."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
import structlog
from pydantic import BaseModel

from dos.kit import log, plugins
from dos.kit.aio import Mailbox
from dos.kit.errors import ConfigError, DosError, PermanentError, TransientError
from dos.kit.secret import Secret
from dos.kit.telemetry import stage


async def test_a_mailbox_is_bounded_both_ways() -> None:
    box: Mailbox[int] = Mailbox(2)
    assert box.get_nowait() is None
    await box.put(1)
    assert box.offer(2)
    assert not box.offer(3)
    assert (len(box), box.refused) == (2, 1)
    waiting = asyncio.create_task(box.put(4))
    await asyncio.sleep(0)
    assert not waiting.done(), "put waits for room"
    assert await box.get() == 1
    await waiting
    assert [box.get_nowait(), box.get_nowait(), box.get_nowait()] == [2, 4, None]


def test_errors_say_what_to_do() -> None:
    assert str(DosError("It broke.")) == "It broke."
    error = TransientError("It is busy.", remedy="Wait.", retry_after=3.0)
    assert str(error) == "It is busy. Wait."
    assert (error.message, error.remedy, error.retry_after) == ("It is busy.", "Wait.", 3.0)
    assert issubclass(ConfigError, PermanentError)


class Login(BaseModel):
    password: Secret


def test_a_secret_never_shows() -> None:
    login = Login.model_validate({"password": "hunter2"})
    shown = f"{login} {login!r} {login.password} {login.model_dump()} {login.model_dump_json()}"
    assert "hunter2" not in shown
    assert "***" in shown
    assert login.password.reveal() == "hunter2"
    assert login.password == Secret("hunter2")
    assert login.password != "hunter2"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert not Secret("")
    assert Login(password=Secret("x")).password.reveal() == "x"
    with pytest.raises(ValueError, match="a secret must be text"):
        Login.model_validate({"password": 5})


def test_plugins_are_found_by_name() -> None:
    room = "dos.detect.detectors"
    found = plugins.names(room)
    assert found == sorted(found)
    assert {"flat_line", "missing_data", "seasonal_ewma"} <= set(found)
    assert "__init__" not in found
    plugin = plugins.load(room, "seasonal_ewma")
    assert plugin.build(plugin.config()).name == "seasonal_ewma"
    elsewhere = plugins.load(room, "simulator", {"simulator": "dos.simulate.source"})
    assert elsewhere.build.__name__ == "SimulatorSource"
    assert plugins.resolve("dos.kit.plugins:load") is plugins.load


@pytest.mark.parametrize("name", ["median", "../etc", "os.path", "", "Seasonal_EWMA", "base"])
def test_an_unknown_plugin_is_answered_with_those_there_are(name: str) -> None:
    with pytest.raises(ConfigError, match=r"there is no type .*Use one of: .*seasonal_ewma"):
        plugins.load("dos.detect.detectors", name)


@pytest.fixture
def room() -> Iterator[ModuleType]:
    """A package with a plugin that needs something, and a module that is no plugin."""
    made = ModuleType("fake_room")
    made.__path__ = []  # a package
    sys.modules["fake_room"] = made
    sys.modules["fake_room.plain"] = ModuleType("fake_room.plain")
    yield made
    for name in ("fake_room", "fake_room.plain"):
        del sys.modules[name]


def test_a_module_that_is_no_plugin_is_refused(room: ModuleType) -> None:
    with pytest.raises(ConfigError, match=r"fake_room\.plain is not a DOS plugin"):
        plugins.load(room.__name__, "plain")


def test_a_plugin_without_its_library_names_it(
    room: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_: str) -> ModuleType:
        raise ModuleNotFoundError(name="boto")

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(ConfigError, match=r"needs the Python package 'boto'.*Install the"):
        plugins.load(room.__name__, "cloud")


@pytest.fixture
def unconfigured() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("unconfigured")
def test_log_lines_are_json_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", "json")
    logger = log.get("detect")
    logger.debug("too quiet")
    logger.info("found", series=3, token=Secret("hunter2"))
    try:
        raise DosError("It broke.")
    except DosError as error:
        logger.warning("failed", exc_info=error)
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["event"], first["room"], first["series"]) == ("found", "detect", 3)
    assert first["level"] == "info"
    assert first["timestamp"].endswith("Z")
    assert first["token"] == "***"
    assert "It broke." in json.dumps(second)


@pytest.mark.usefixtures("unconfigured")
def test_log_lines_are_for_people_on_a_console(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("debug", "console")
    log.get("rca").debug("ranked", entity="cart")
    line = capsys.readouterr().err
    assert "ranked" in line
    assert "entity=cart" in line


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(KeyError):
        log.configure("loud")


def test_a_stage_without_an_sdk_costs_nothing() -> None:
    with stage("detect") as span:
        assert not span.is_recording()
