"""Every source plugin keeps the lifecycle contract."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict

from dos.ingest.base import Delivery, Sink, Source
from dos.kit.plugins import Plugin, load, names
from dos.model.ids import EntityId
from dos.model.telemetry import SampleFrame, SeriesSpec
from dos.testing.sinks import RecordingSink
from dos.testing.sources import START, check_frame, check_source
from tests.conftest import Server

ROOM = "dos.ingest.sources"
ALSO = {"simulator": "dos.simulate.source"}
SERIES = (SeriesSpec(entity=EntityId("checkout"), metric="latency_p95"),)


@dataclass(frozen=True)
class Setup:
    keys: dict[str, object]
    stimulate: Callable[[Source], None] | None = None


def _file(folder: Path) -> Setup:
    start = START // 1000
    rows = [f"{start + 15 * n},{0.1 + n / 1000},{2.0}" for n in range(40)]
    (folder / "metrics.csv").write_text("time,a|latency_p95,b|rps\n" + "\n".join(rows) + "\n")
    (folder / "edges.csv").write_text("caller,callee\na,b\n")
    (folder / "case.json").write_text(json.dumps({"inject_time": start + 300}))
    return Setup({"path": str(folder)})


def _push(source: Source) -> None:
    frame = SampleFrame.at(SERIES, START, np.array([0.2]))
    source.offer(Delivery(frame=frame))  # type: ignore[attr-defined]


SETUPS: dict[str, Callable[[Path, Callable[..., Server]], Setup]] = {
    "file": lambda folder, _: _file(folder),
    "prometheus": lambda _, start: Setup(
        {
            "url": start("").url,
            "queries": [
                {"metric": "sevens", "promql": 'label_replace(vector(7), "job", "x", "", "")'}
            ],
            "lookback": "1m",
        }
    ),
    "push": lambda *_: Setup({}, _push),
    "simulator": lambda *_: Setup({"history": "10m"}),
}
"""How to configure each plugin so that it delivers; a new plugin needs an entry here."""


@pytest.mark.parametrize("name", names(ROOM, ALSO))
async def test_a_source_keeps_the_contract(
    name: str, tmp_path: Path, prometheus_server: Callable[..., Server]
) -> None:
    assert name in SETUPS, f"tell this test how to configure {name}"
    setup = SETUPS[name](tmp_path, prometheus_server)
    sink = await check_source(load(ROOM, name, ALSO), setup.keys, stimulate=setup.stimulate)
    assert any(one.frame is not None and len(one.frame) for one in sink.deliveries)


# ----------------------------------------------------------- the checks find what they look for


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Deaf:
    """Goes on after it was cancelled."""

    def __init__(self, *_: object, **__: object) -> None: ...

    async def run(self, sink: Sink) -> None:
        await sink.deliver(Delivery())
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise RuntimeError("not now") from None


class Eager:
    """Reads a file when it is built."""

    def __init__(self, *_: object, **__: object) -> None:
        Path(__file__).read_text()


class Careless:
    """Delivers seconds for milliseconds."""

    def __init__(self, *_: object, **__: object) -> None: ...

    async def run(self, sink: Sink) -> None:
        await sink.deliver(Delivery(frame=SampleFrame.at(SERIES, START // 1000, np.array([1.0]))))


class Loose(BaseModel):
    """Takes any key."""


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (Plugin(Config, Deaf), "run\\(\\) raised RuntimeError"),
        (Plugin(Config, Eager), "must do no I/O, but it opened"),
        (Plugin(Config, Careless), "is not milliseconds since the epoch"),
        (Plugin(Loose, Careless), "must refuse unknown keys"),
    ],
)
async def test_a_breach_is_found(plugin: Plugin[BaseModel, object], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        await check_source(plugin, {})


def test_a_frame_is_checked() -> None:
    good = SampleFrame.at(SERIES, START, np.array([1.0]))
    check_frame(good)
    for wrong, message in [
        (SampleFrame.at((*SERIES, *SERIES), START, np.zeros(2)), "stands twice"),
        (
            SampleFrame(
                series=SERIES,
                index=np.array([1], np.int32),
                timestamp=good.timestamp,
                value=good.value,
            ),
            "outside the table",
        ),
        (
            SampleFrame(
                series=SERIES,
                index=good.index,
                timestamp=good.timestamp,
                value=good.value.astype(np.float32),  # type: ignore[arg-type]
            ),
            "must be float64",
        ),
    ]:
        with pytest.raises(AssertionError, match=message):
            check_frame(wrong)


async def test_the_recording_sink_refuses_and_waits_when_full() -> None:
    sink = RecordingSink(capacity=1)
    assert sink.offer(Delivery())
    assert not sink.offer(Delivery())
    waiting = asyncio.create_task(sink.deliver(Delivery()))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert len(sink.drain()) == 1
    await waiting
    assert len(sink.drain()) == 1


@pytest.fixture(autouse=True)
async def _no_task_left() -> AsyncIterator[None]:
    """Whatever a source started ends with it."""
    yield
    assert {task for task in asyncio.all_tasks() if not task.done()} <= {asyncio.current_task()}
