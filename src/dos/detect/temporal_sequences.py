"""Examples for the carried temporal network: stretches of clean series, most with anomalies put in.

The statistics a sample is told by (`dos.detect.temporal_pace`) begin long before each stretch, as
they do in serving; the network's own state begins with it. In half of the stretches what is
abnormal is learned with the small weight that the engine gives it, in the others fully.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dos.detect import temporal_pace
from dos.detect.columns import Columns
from dos.detect.temporal_corrupt import Place, corrupt, unit_of
from dos.detect.temporal_examples import WindowOptions, held_out, usable
from dos.ml.dataset import Examples
from dos.model.telemetry import Float64Array

LENGTH = 320
"""Samples of a stretch."""
SETTLING = 32
"""Samples at its beginning that are not judged."""
_BEFORE = 512
"""Samples before it that the statistics know, at most."""
_CLEAN = 0.25
"""Share of the stretches with nothing put in."""
_STRENGTH = (2.5, 40.0)
_LONGEST = 200
_WEIGHT = 0.05


@dataclass(slots=True, kw_only=True, eq=False)
class _Stretches:
    """`[stretch, time]` each; `before` is NaN where a series had not begun."""

    before: Float64Array
    seen: Float64Array
    clean: Float64Array
    """One sample longer than `seen`."""
    abnormal: Float64Array


def sequence_examples(
    series: Sequence[Float64Array],
    options: WindowOptions,
    progress: Callable[[float], None] | None = None,
) -> tuple[Examples, Examples]:
    """Examples for training and for validation, from different series.

    Columns: `steps` `[example, LENGTH, INPUTS]` is the input, `after` and `abnormal`
    `[example, LENGTH]` the truth.

    Args:
        series: Clean, each `[n]`; those that are too short are passed over.
        options: `windows` is how many stretches.
        progress: Told the share that is done.

    Raises:
        ValueError: No series is long enough.
    """
    long = [place for place in usable(series) if len(series[place]) > LENGTH + 1]
    validation = set(held_out(series, options))
    each = max(1, round(options.windows / max(1, len(long))))
    made: list[Examples] = []
    for held in (False, True):
        which = [place for place in long if (place in validation) is held]
        if not which:
            msg = f"too few series of more than {LENGTH} samples that change"
            raise ValueError(msg)
        drawn = _empty(len(which) * each)
        for number, place in enumerate(which):
            rng = np.random.default_rng([options.seed, 13, place])
            for row in range(number * each, (number + 1) * each):
                _draw(rng, series[place], drawn, row)
            if progress is not None and not held and number % 64 == 0:
                progress(number / len(which))
        told = np.random.default_rng([options.seed, 14, int(held)]).random(len(drawn.seen)) < 0.5
        made.append(_told(drawn, np.where(told, _WEIGHT, 1.0)))
    return made[0], made[1]


def _empty(count: int) -> _Stretches:
    return _Stretches(
        before=np.full((count, _BEFORE), np.nan),
        seen=np.zeros((count, LENGTH)),
        clean=np.zeros((count, LENGTH + 1)),
        abnormal=np.zeros((count, LENGTH)),
    )


def _draw(rng: np.random.Generator, values: Float64Array, drawn: _Stretches, row: int) -> None:
    """Fill `row` with a stretch of `values`, and put up to two anomalies into it."""
    start = int(rng.integers(0, len(values) - LENGTH))
    past = values[max(0, start - _BEFORE) : start]
    drawn.before[row, _BEFORE - len(past) :] = past
    drawn.clean[row] = values[start : start + LENGTH + 1]
    window = drawn.clean[row, :LENGTH].copy()
    drawn.seen[row] = window
    if rng.random() < _CLEAN:
        return
    unit, low, high = unit_of(values), *np.log(_STRENGTH)
    half = LENGTH // 2
    for begin in (0, half) if rng.random() < 0.6 else (int(rng.integers(0, half)),):
        length = round(float(np.exp(rng.uniform(0.0, np.log(_LONGEST)))))
        first = begin + int(rng.integers(SETTLING, half))
        last = min(first + length, begin + half if begin == 0 else LENGTH)
        place = Place(
            values=values,
            start=start,
            first=first,
            last=last,
            unit=unit,
            strength=float(np.exp(rng.uniform(low, high))),
        )
        changed = corrupt(rng, drawn.seen[row], place)
        if changed is not None:
            drawn.seen[row] = changed
            drawn.abnormal[row, first:last] = 1.0


def _told(drawn: _Stretches, weight: Float64Array) -> Examples:
    """The stretches as the network is shown them, step by step, all at once."""
    count = len(drawn.seen)
    columns = Columns(temporal_pace.LAYOUT)
    columns.grow(count)
    row = np.arange(count, dtype=np.int32)
    ones = np.ones(count)
    for values in drawn.before.T:
        known = np.isfinite(values)
        temporal_pace.learn(columns, row[known], values[known], ones[known])
    steps = np.zeros((count, LENGTH, temporal_pace.INPUTS), np.float32)
    after = np.zeros((count, LENGTH), np.float32)
    for time in range(LENGTH):
        seen = np.ascontiguousarray(drawn.seen[:, time])
        steps[:, time] = temporal_pace.inputs(columns, row, seen)
        abnormal = drawn.abnormal[:, time] > 0
        temporal_pace.learn(columns, row, seen, np.where(abnormal, weight, 1.0))
        location, scale = temporal_pace.frame(columns, row)
        way = np.clip((drawn.clean[:, time + 1] - location) / scale, -1e6, 1e6)
        after[:, time] = np.arcsinh(way)
    return Examples(
        columns={
            "steps": steps,
            "after": after,
            "abnormal": drawn.abnormal.astype(np.float32),
        }
    )
