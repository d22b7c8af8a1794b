"""The newest samples of every series, so that who begins to look closely has a past to look at.

Kept without their times: those are taken to be as far apart as the series' samples usually are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np

from dos.detect.columns import Columns
from dos.detect.state import RECENT, EngineState
from dos.kit.clock import MINUTE
from dos.kit.compiled import compiled
from dos.model.telemetry import Float32Array, Float64Array, Int32Array, Int64Array


def keep(state: EngineState, row: Int32Array, value: Float64Array) -> None:
    """One sample of each of `row`, or `[time, series]` many; NaN where there is none."""
    if len(row) and "recent" in state.past.names:
        table = np.ascontiguousarray(value.reshape(-1, len(row)))
        recent = cast(Float32Array, state.past["recent"])
        _keep(recent, cast(Int32Array, state.past["seen"]), row, table)


def keep_all(state: EngineState, row: Int32Array, value: Float64Array) -> None:
    """Any number of samples of each series, `[sample]`; those of one series in order of time."""
    if len(row) and "recent" in state.past.names:
        recent = cast(Float32Array, state.past["recent"])
        _keep_all(recent, cast(Int32Array, state.past["seen"]), row, value)


@compiled
def _keep_all(recent: Float32Array, seen: Int32Array, row: Int32Array, value: Float64Array) -> None:
    width = recent.shape[1]
    for k in range(len(row)):
        i = row[k]
        if not np.isnan(value[k]):
            recent[i, seen[i] % width] = value[k]
            seen[i] = seen[i] + 1 if seen[i] < 2 * width - 1 else width


@compiled
def _keep(recent: Float32Array, seen: Int32Array, row: Int32Array, value: Float64Array) -> None:
    width = recent.shape[1]
    for k in range(value.shape[0]):
        for place in range(len(row)):
            x = value[k, place]
            if not np.isnan(x):
                i = row[place]
                recent[i, seen[i] % width] = x
                seen[i] = seen[i] + 1 if seen[i] < 2 * width - 1 else width


def replay(
    state: EngineState, row: Int32Array
) -> Iterator[tuple[Int32Array, Int64Array, Float64Array]]:
    """The kept samples of `row`, oldest first: slots, times and values of one sample of each."""
    if "recent" not in state.past.names:
        return
    seen = cast(Int32Array, state.past["seen"])[row]
    last = cast(Int64Array, state.engine["last"])[row]
    step = _step(state.detector, row)
    for back in range(min(RECENT, int(seen.max(initial=0))), 0, -1):
        has = np.flatnonzero(seen >= back)
        chosen = row[has]
        value = cast(Float32Array, state.past["recent"])[chosen, (seen[has] - back) % RECENT]
        at = last[has] - (back - 1) * step[has]
        yield state.slot[chosen], at, value.astype(np.float64)


def _step(everyday: Columns, row: Int32Array) -> Int64Array:
    """The usual time between samples of `row`, ms; a minute where nobody knows it."""
    if "step" not in everyday.names:
        return np.full(len(row), MINUTE)
    step = everyday["step"][row].astype(np.int64)
    return np.where(step > 0, step, MINUTE)
