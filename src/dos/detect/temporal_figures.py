"""How a trained temporal network does on series that it was not trained on; and its calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dos.detect.temporal_window import LEVELS, MEMORY, WINDOW, Described, describe
from dos.ml.dataset import Examples
from dos.ml.runtime import Served
from dos.model.telemetry import BoolArray, Float32Array, Float64Array

RISE, FALL = 1.0, 10.0
"""Samples in which suspicion rises, and falls, half the way, where the calibration holds: quickly
up, so that a spike counts, and slowly down, so that one calm sample does not end an anomaly."""
_RARITIES = (
    *(0.9, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001),
    *(0.0005, 0.0002, 0.0001),
)
"""Shares of clean samples at which the line of the calibration has a point."""
_LEAST = 20
"""Samples beyond the last point."""
_SAMPLES = 3_000
"""Of each series, at most."""
_SERIES = 120
_PAST = 8_192


def calibration(
    served: Served,
    series: Sequence[Float64Array],
    progress: Callable[[float], None] | None = None,
) -> list[tuple[float, float]]:
    """Points `(suspicion, -ln share)`: how rare so much suspicion is in clean series.

    Args:
        served: The network.
        series: Clean, not trained on; evenly spread over what there is if there are many.
        progress: Told the share that is done.

    Returns:
        Rising in both; the first has a rarity of 0.
    """
    chosen = series[:: max(1, len(series) // _SERIES)][:_SERIES]
    said: list[Float64Array] = []
    for number, one in enumerate(chosen):
        described = windows_of(one[: _SAMPLES + WINDOW + MEMORY])
        answer = served.run({"window": described.window, "memory": described.memory})
        said.append(smoothed(answer["anomaly"].astype(np.float64), RISE, FALL))
        if progress is not None:
            progress(number / len(chosen))
    suspicion = np.sort(np.concatenate(said))
    points = [(float(suspicion[0]), 0.0)]
    for share in _RARITIES:
        beyond = round(share * len(suspicion))
        if beyond < _LEAST:
            break
        at = float(suspicion[-beyond])
        if at > points[-1][0]:
            points.append((at, -float(np.log(share))))
    return [(round(at, 4), round(rarity, 4)) for at, rarity in points]


def smoothed(values: Float64Array, rise: float, fall: float) -> Float64Array:
    """What the detector keeps of log odds `[n]`: see `RISE`."""
    up, down = (1.0 - 0.5 ** (1.0 / half_life) for half_life in (rise, fall))
    out = np.empty(len(values))
    state = float(values[0])
    for place, value in enumerate(values.tolist()):
        state += (up if value > state else down) * (value - state)
        out[place] = state
    return out


def windows_of(values: Float64Array) -> Described:
    """Every window of a series in turn, each with an even memory of all that was before it."""
    windows = np.lib.stride_tricks.sliding_window_view(values, WINDOW)
    start = np.arange(len(windows))
    past = np.minimum(start, _PAST)
    back = (np.arange(MEMORY)[None] * np.maximum(past, 1)[:, None]) // MEMORY
    at = np.maximum(start[:, None] - 1 - back, 0)
    changes = np.abs(np.diff(values, prepend=values[0]))
    filled = np.where(past >= MEMORY, MEMORY, 0)
    return describe(np.ascontiguousarray(windows), values[at], changes[at], filled)


def figures_of(served: Served, examples: Examples) -> dict[str, float]:
    """Figures on held-out examples.

    `auc` and `average_precision` are of the judgement; `forecast_skill` is 1 minus the error of the
    median forecast over that of repeating the last value, on clean windows; `coverage_90` the share
    of next samples between the 5 % and 95 % quantile; `rebuilt` the mean error of the
    reconstruction of what anomalies hid, over that of leaving them as they are.
    """
    columns = examples.columns
    answer = served.run({name: columns[name] for name in served.inputs})
    abnormal = columns["abnormal"] > 0
    changed = np.abs(columns["window"] - columns["clean"])
    clean = changed.max(axis=1) < 1e-4
    after, quantiles = columns["after"][clean], answer["quantiles"][clean]
    middle = len(LEVELS) // 2
    naive = float(np.abs(after - columns["window"][clean, -1]).mean())
    missed = float(np.abs(after - quantiles[:, middle]).mean())
    hidden = changed > 0.5
    left = changed[hidden].mean()
    rebuilt = np.abs(answer["reconstruction"] - columns["clean"])[hidden].mean()
    return {
        "auc": _auc(answer["anomaly"], abnormal),
        "average_precision": _precision(answer["anomaly"], abnormal),
        "share_abnormal": round(float(abnormal.mean()), 4),
        "forecast_skill": round(1.0 - missed / naive, 4),
        "coverage_90": round(
            float(((after >= quantiles[:, 1]) & (after <= quantiles[:, -2])).mean()), 4
        ),
        "rebuilt": round(float(rebuilt / left), 4),
    }


def _auc(score: Float32Array, truth: BoolArray) -> float:
    """Chance that an abnormal example scores above a normal one (Mann & Whitney, 1947)."""
    rank = np.empty(len(score))
    rank[np.argsort(score, kind="stable")] = np.arange(len(score))
    positive = int(truth.sum())
    above = rank[truth].sum() - positive * (positive - 1) / 2
    return round(float(above / max(1, positive * (len(score) - positive))), 4)


def _precision(score: Float32Array, truth: BoolArray) -> float:
    """Average precision."""
    hits = truth[np.argsort(-score, kind="stable")]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return round(float(precision[hits].mean()), 4) if hits.any() else 0.0
