"""Checks that a source keeps its lifecycle contract (`dos.ingest.base`).

    async def test_my_source_keeps_the_contract():
        await check_source(load("dos.ingest.sources", "mine"), {"url": "http://127.0.0.1:1"})

Each check raises `AssertionError` that says what is wrong. They run the source against whatever
its configuration names, on virtual time that they push forward themselves.
"""

from __future__ import annotations

import asyncio
import builtins
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from random import Random
from typing import Any, NoReturn
from unittest import mock

import numpy as np

from dos.ingest.base import Delivery, Source
from dos.kit.clock import SECOND, ManualClock, Millis, SystemClock
from dos.kit.plugins import Plugin
from dos.model.telemetry import SampleFrame
from dos.testing.sinks import RecordingSink

START = Millis(1_760_000_400_000)
"""The virtual time at which checks start."""
_PATIENCE = 30.0
"""Real seconds a source may take for its first delivery or its end."""
_PLAUSIBLE = (946_684_800_000, 4_102_444_800_000)
"""2000 to 2100: a timestamp outside is one in seconds or nanoseconds."""


async def check_source(
    plugin: Plugin[Any, Any],
    keys: Mapping[str, object],
    *,
    stimulate: Callable[[Source], None] | None = None,
) -> RecordingSink:
    """Run all checks on the source that `keys` configure; returns what it delivered.

    Args:
        plugin: The plugin.
        keys: Its configuration, as in YAML.
        stimulate: Called again and again while it runs; for sources that are pushed to.
    """
    check_config(plugin, keys)
    clock = ManualClock(START)
    with _no_io():
        source: Source = plugin.build(
            plugin.config.model_validate(keys),
            name="checked",
            clock=clock,
            rng=Random(1),  # noqa: S311  a source's jitter
        )
    sink = RecordingSink()
    await check_cancels(source, clock, sink, stimulate)
    await check_cancels(source, clock, sink, stimulate)  # the same object may be run again
    for delivery in sink.deliveries:
        check_delivery(delivery)
    return sink


def check_config(plugin: Plugin[Any, Any], keys: Mapping[str, object]) -> None:
    """The configuration accepts `keys` and refuses what it does not know."""
    plugin.config.model_validate(keys)
    forbids = plugin.config.model_config.get("extra") == "forbid"
    _need(forbids, 'Config must refuse unknown keys: model_config = ConfigDict(extra="forbid")')


async def check_cancels(
    source: Source,
    clock: ManualClock,
    sink: RecordingSink,
    stimulate: Callable[[Source], None] | None = None,
) -> None:
    """`run` delivers, then ends at once when it is cancelled, or ends by itself."""
    real = SystemClock()
    before = len(sink.deliveries)
    task = asyncio.create_task(source.run(sink))
    deadline = real.monotonic() + _PATIENCE
    while not task.done() and len(sink.deliveries) == before:
        _need(
            real.monotonic() < deadline,
            "run() delivered nothing: a source without news delivers an empty Delivery()",
        )
        await real.sleep(0.002)
        if stimulate is not None:
            stimulate(source)
        clock.advance(1)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=_PATIENCE)
    _need(bool(done), "run() goes on although it was cancelled")
    if not task.cancelled():
        error = task.exception()
        _need(error is None, f"run() raised {error!r}")


def check_delivery(delivery: Delivery) -> None:
    """Everything in `delivery` is well formed."""
    if delivery.frame is not None:
        check_frame(delivery.frame)
    ids = [entity.id for entity in delivery.entities]
    _need(all(ids), "an entity has no id")
    _need(len(ids) == len(set(ids)), "an entity is described twice in one delivery")
    for edge in delivery.edges:
        _need(all((edge.caller, edge.callee)), f"an edge lacks an end: {edge}")
        _need(edge.caller != edge.callee, f"an edge to itself: {edge}")
        _need(bool(edge.source), f"an edge does not say who saw it: {edge}")
        _need(0 < edge.confidence <= 1, f"a confidence outside (0, 1]: {edge}")
        _check_time(edge.seen_at)
    for change in delivery.changes:
        _check_time(change.at)


def check_frame(frame: SampleFrame) -> None:
    """Columns have their types and bounds; series are described in full, once."""
    _need(frame.index.dtype == np.int32, f"index is {frame.index.dtype}, must be int32")
    _need(frame.timestamp.dtype == np.int64, f"timestamp is {frame.timestamp.dtype}, not int64")
    _need(frame.value.dtype == np.float64, f"value is {frame.value.dtype}, must be float64")
    _need(len(set(frame.series)) == len(frame.series), "a series stands twice in the table")
    for spec in frame.series:
        _need(all((spec.entity, spec.metric)), f"a series without entity or metric: {spec}")
        _need(list(spec.labels) == sorted(spec.labels), f"labels are not sorted: {spec}")
    if len(frame):
        _need(int(frame.index.min()) >= 0, "an index is negative")
        _need(
            int(frame.index.max()) < len(frame.series), "an index lies outside the table of series"
        )
        _check_time(int(frame.timestamp.min()))
        _check_time(int(frame.timestamp.max()))


def _need(met: bool, otherwise: str) -> None:
    """Like `assert`, but also where Python runs with -O."""
    if not met:
        raise AssertionError(otherwise)


def _check_time(at: int) -> None:
    low, high = _PLAUSIBLE
    _need(low <= at < high, f"{at} is not milliseconds since the epoch ({at / SECOND:g} s)")


@contextmanager
def _no_io() -> Iterator[None]:
    """Whoever opens a file or a connection inside is told not to."""

    def refuse(*what: object, **_: object) -> NoReturn:
        msg = f"building a source must do no I/O, but it opened {what[-1]!r}"
        raise AssertionError(msg)

    with (
        mock.patch.object(builtins, "open", refuse),
        mock.patch("io.open", refuse),
        mock.patch.object(socket.socket, "connect", refuse),
        mock.patch.object(socket, "getaddrinfo", refuse),
    ):
        yield
