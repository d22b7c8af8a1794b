"""Examples for the temporal networks: windows of clean series, many with an anomaly put in.

An example is a window as it would be seen at a moment, the memory as it would be then, and what is
true: the clean window, the clean next sample, and whether the newest sample is abnormal. A third
has nothing put in, and another part an anomaly that is over, so that what follows an anomaly is not
one. A validation series gives no training example.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dos.detect.temporal_corrupt import Place, corrupt, unit_of
from dos.detect.temporal_window import MEMORY, WINDOW, describe
from dos.ml.dataset import Examples
from dos.model.telemetry import Float64Array, Int64Array

_CLEAN = 0.4
"""Share of the windows with nothing put in."""
_OVER = 0.25
"""Share of the anomalies that are over before the newest sample."""
_NO_MEMORY = 0.1
"""Share of the windows of a series that has just begun."""
_STRENGTH = (2.5, 40.0)
"""Least and largest, drawn evenly by the logarithm."""
_LONGEST = 600
"""Samples that an anomaly has lasted at most."""
_PAST = 8_192
"""Samples of the past that memory covers at most."""
_VALIDATION = 0.08
"""Share of the series that are for validation."""
_SHORTEST = 2 * WINDOW + MEMORY
"""Samples of a series that can be used."""
_RECENT = 0.5
"""Share of the running anomalies that began a moment ago: these have to be found quickly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowOptions:
    """What to make."""

    windows: int = 300_000
    """Over all series."""
    seed: int = 0


@dataclass(slots=True, kw_only=True, eq=False)
class _Drawn:
    """Columns that are filled example by example."""

    seen: Float64Array
    clean: Float64Array
    after: Float64Array
    abnormal: Float64Array
    values: Float64Array
    changes: Float64Array
    filled: Int64Array


def window_examples(
    series: Sequence[Float64Array],
    options: WindowOptions,
    progress: Callable[[float], None] | None = None,
) -> tuple[Examples, Examples]:
    """Examples for training and for validation, from different series.

    Columns: `window` `[example, WINDOW]` and `memory` `[example, FEATURES]` are the input, `clean`
    `[example, WINDOW]`, `after` `[example]` and `abnormal` `[example]` 0 or 1 the truth.

    Args:
        series: Clean, each `[n]`; those too short for a window and a memory are passed over.
        options: What to make.
        progress: Told the share that is done.

    Raises:
        ValueError: No series is long enough.
    """
    there = usable(series)
    if len(there) < 2:
        msg = f"fewer than two series of {_SHORTEST} samples that change"
        raise ValueError(msg)
    validation = held_out(series, options)
    chosen = set(validation)
    training = [place for place in there if place not in chosen]
    each = max(1, round(options.windows / len(there)))
    made: list[Examples] = []
    for which in (training, validation):
        drawn = _empty(len(which) * each)
        for number, place in enumerate(which):
            own = np.random.default_rng([options.seed, 12, place])
            _draw_series(own, series[place], drawn, slice(number * each, (number + 1) * each))
            if progress is not None and which is training and number % 64 == 0:
                progress(number / len(which))
        made.append(_examples(drawn))
    return made[0], made[1]


def held_out(series: Sequence[Float64Array], options: WindowOptions) -> list[int]:
    """Places of the series that are for validation; the same for equal arguments."""
    there = np.array(usable(series))
    order = np.random.default_rng([options.seed, 11]).permutation(len(there))
    return sorted(there[order[: max(1, round(_VALIDATION * len(there)))]].tolist())


def usable(series: Sequence[Float64Array]) -> list[int]:
    """Places of the series that are long enough, and not constant."""
    return [
        place
        for place, one in enumerate(series)
        if len(one) >= _SHORTEST and float(np.ptp(one)) > 0
    ]


def _empty(count: int) -> _Drawn:
    return _Drawn(
        seen=np.zeros((count, WINDOW)),
        clean=np.zeros((count, WINDOW)),
        after=np.zeros(count),
        abnormal=np.zeros(count),
        values=np.zeros((count, MEMORY)),
        changes=np.zeros((count, MEMORY)),
        filled=np.zeros(count, np.int64),
    )


def _draw_series(
    rng: np.random.Generator, values: Float64Array, drawn: _Drawn, rows: slice
) -> None:
    """Fill `rows` with windows of one series."""
    unit = unit_of(values)
    steps = np.abs(np.diff(values, prepend=values[0]))
    low, high = np.log(_STRENGTH)
    for row in range(rows.start, rows.stop):
        start = int(rng.integers(MEMORY, len(values) - WINDOW - 1))
        window = values[start : start + WINDOW]
        drawn.clean[row], drawn.seen[row] = window, window
        drawn.after[row] = values[start + WINDOW]
        if rng.random() >= _NO_MEMORY:
            _remember(rng, values, steps, start, drawn, row)
        if rng.random() < _CLEAN:
            continue
        first, last = _stretch(rng)
        place = Place(
            values=values,
            start=start,
            first=first,
            last=last,
            unit=unit,
            strength=float(np.exp(rng.uniform(low, high))),
        )
        changed = corrupt(rng, window, place)
        if changed is not None:
            drawn.seen[row] = changed
            drawn.abnormal[row] = float(last == WINDOW)


def _remember(
    rng: np.random.Generator,
    values: Float64Array,
    steps: Float64Array,
    start: int,
    drawn: _Drawn,
    row: int,
) -> None:
    """The memory before `start`, thinned out over a past of some length."""
    past = min(start, round(float(np.exp(rng.uniform(np.log(MEMORY), np.log(_PAST))))))
    at = start - 1 - (np.arange(MEMORY) * past) // MEMORY
    drawn.values[row], drawn.changes[row] = values[at], steps[at]
    drawn.filled[row] = MEMORY if rng.random() < 0.9 else int(rng.integers(8, MEMORY))


def _stretch(rng: np.random.Generator) -> tuple[int, int]:
    """First and last of an anomaly, counted from the window's start."""
    if rng.random() < _OVER:
        last = int(rng.integers(2, WINDOW))
        return last - int(rng.integers(1, last + 1)), last
    if rng.random() < _RECENT:
        return WINDOW - int(rng.integers(1, 11)), WINDOW
    lasted = round(float(np.exp(rng.uniform(np.log(10), np.log(_LONGEST)))))
    return WINDOW - lasted, WINDOW


def _examples(drawn: _Drawn) -> Examples:
    described = describe(drawn.seen, drawn.values, drawn.changes, drawn.filled)
    location, scale = described.location, described.scale
    clean = np.arcsinh((drawn.clean - location[:, None]) / scale[:, None])
    after = np.arcsinh((drawn.after - location) / scale)
    return Examples(
        columns={
            "window": described.window,
            "memory": described.memory,
            "clean": clean.astype(np.float32),
            "after": after.astype(np.float32),
            "abnormal": drawn.abnormal.astype(np.float32),
        }
    )
