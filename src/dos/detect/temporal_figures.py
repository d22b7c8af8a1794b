"""How a trained temporal network does on series that it was not trained on; and its calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dos.detect import temporal_pace
from dos.detect.columns import Columns
from dos.detect.temporal_sequences import SETTLING
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
_SETTLING = 100
"""Samples of a series before a carried network's judgement counts."""


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
    chosen = _chosen(series)
    said: list[Float64Array] = []
    for number, one in enumerate(chosen):
        described = windows_of(one[: _SAMPLES + WINDOW + MEMORY])
        answer = served.run({"window": described.window, "memory": described.memory})
        said.append(smoothed(answer["anomaly"].astype(np.float64), RISE, FALL))
        if progress is not None:
            progress(number / len(chosen))
    return _line(np.concatenate(said))


def carried_calibration(
    served: Served,
    series: Sequence[Float64Array],
    progress: Callable[[float], None] | None = None,
) -> list[tuple[float, float]]:
    """The same for a carried network, which reads all the series side by side."""
    chosen = [one[: _SAMPLES + _SETTLING] for one in _chosen(series)]
    columns = Columns(temporal_pace.LAYOUT)
    columns.grow(len(chosen))
    hidden, cell = (np.zeros((len(chosen), hidden_of(served)), np.float32) for _ in range(2))
    length = np.array([len(one) for one in chosen])
    odds = np.zeros((int(length.max()), len(chosen)))
    for time in range(len(odds)):
        row = np.flatnonzero(time < length).astype(np.int32)
        values = np.array([chosen[place][time] for place in row.tolist()])
        sample = temporal_pace.inputs(columns, row, values)
        said = served.run({"sample": sample, "hidden": hidden[row], "cell": cell[row]})
        temporal_pace.learn(columns, row, values, np.ones(len(row)))
        odds[time, row] = said["anomaly"]
        hidden[row], cell[row] = said["hidden_out"], said["cell_out"]
        if progress is not None and time % 50 == 0:
            progress(time / len(odds))
    return _line(
        np.concatenate(
            [
                smoothed(odds[_SETTLING:count, place], RISE, FALL)
                for place, count in enumerate(length.tolist())
            ]
        )
    )


def hidden_of(served: Served) -> int:
    """Size of the state of a carried network."""
    return served.card.shape["hidden_dim"]


def _chosen(series: Sequence[Float64Array]) -> list[Float64Array]:
    return list(series[:: max(1, len(series) // _SERIES)][:_SERIES])


def _line(suspicion: Float64Array) -> list[tuple[float, float]]:
    """Points of the calibration from the suspicion of clean samples."""
    suspicion = np.sort(suspicion)
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


def carried_figures(served: Served, examples: Examples) -> dict[str, float]:
    """The same for a carried network; no reconstruction."""
    steps, after = examples.columns["steps"], examples.columns["after"]
    count, length = after.shape
    hidden, cell = (np.zeros((count, hidden_of(served)), np.float32) for _ in range(2))
    odds = np.zeros((count, length), np.float32)
    quantiles = np.zeros((count, length, len(LEVELS)), np.float32)
    for time in range(length):
        sample = np.ascontiguousarray(steps[:, time])
        said = served.run({"sample": sample, "hidden": hidden, "cell": cell})
        odds[:, time], quantiles[:, time] = said["anomaly"], said["quantiles"]
        hidden, cell = said["hidden_out"], said["cell_out"]
    abnormal = examples.columns["abnormal"][:, SETTLING:] > 0
    clean = ~abnormal
    after, quantiles = after[:, SETTLING:][clean], quantiles[:, SETTLING:][clean]
    naive = float(np.abs(after).mean())
    missed = float(np.abs(after - quantiles[:, len(LEVELS) // 2]).mean())
    inside = (after >= quantiles[:, 1]) & (after <= quantiles[:, -2])
    judged = odds[:, SETTLING:].ravel()
    return {
        "auc": _auc(judged, abnormal.ravel()),
        "average_precision": _precision(judged, abnormal.ravel()),
        "share_abnormal": round(float(abnormal.mean()), 4),
        "forecast_skill": round(1.0 - missed / naive, 4),
        "coverage_90": round(float(inside.mean()), 4),
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
