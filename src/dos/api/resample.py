"""Fewer samples for the eye: mean, least and greatest per step, so that no spike disappears."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dos.api.errors import invalid
from dos.kit.clock import SECOND
from dos.model.telemetry import Float32Array, Float64Array, Int64Array

MAX_POINTS = 11_000
"""Points per series at most, as in Prometheus."""

_SHOWN = 1_000
"""Points when nobody asked for a step: about the pixels of a chart."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Slots:
    """Columns `[slot]`; NaN where a slot has no sample."""

    times: Int64Array
    """Start of the slot, ms; multiples of the step."""
    mean: Float64Array
    low: Float64Array
    high: Float64Array


def choose_step(times: Int64Array, asked: int | None) -> int:
    """The width of a slot in ms: a multiple of the grid's own, at least `asked`.

    Args:
        times: `[time]` an even grid, ms.
        asked: Width wanted in ms; None: as fine as leaves about a thousand points.

    Raises:
        ProblemError: 422, when that would make more than `MAX_POINTS`.
    """
    if len(times) < 2:
        return asked or SECOND
    own, span = int(times[1] - times[0]), int(times[-1] - times[0])
    wanted = span / _SHOWN if asked is None else asked
    step = own * max(1, int(np.ceil(wanted / own)))
    if span // step + 1 > MAX_POINTS:
        enough = int(np.ceil(span / MAX_POINTS / SECOND))
        raise invalid("query.step", f"over {MAX_POINTS} points; a step of {enough}s is enough")
    return step


def resample(times: Int64Array, values: Float32Array, step: int) -> Slots:
    """Mean, least and greatest of `values` `[time]` in each slot of `step` ms.

    Cost: O(times).
    """
    if not len(times):
        empty = np.empty(0)
        return Slots(times=np.empty(0, np.int64), mean=empty, low=empty, high=empty)
    slot = times // step
    starts = np.flatnonzero(np.diff(slot, prepend=slot[0] - 1))  # the first time of each slot
    exact = values.astype(np.float64)
    there = np.isfinite(exact)
    count = np.add.reduceat(there.astype(np.int64), starts)
    total = np.add.reduceat(np.where(there, exact, 0.0), starts)
    return Slots(
        times=slot[starts] * step,
        mean=np.divide(total, count, out=np.full(len(starts), np.nan), where=count > 0),
        # fmin and fmax pass over NaN, and infinities were made NaN.
        low=np.fmin.reduceat(np.where(there, exact, np.nan), starts),
        high=np.fmax.reduceat(np.where(there, exact, np.nan), starts),
    )
