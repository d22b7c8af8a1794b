"""What the vote of the committee learns from: series with anomalies that were put in, and samples.

Two sources: the *develop* half of the development set (`dos.evaluate.series.develop`) with three
seeds, and `kinds` (`dos.evaluate.series.kinds`). All of it is synthetic or simulated, nothing is of
any labelled series, not even a clean prefix. The *validate* half and the seed of `kinds` that is
left out are for choosing between trained votes.

Of each series some samples are drawn. Each series counts the same, each anomaly in it nearly the
same, and healthy samples count by their number and not by how hard they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dos.detect.committee import inputs_of
from dos.evaluate.series.develop import DevelopOptions, Half, development_set
from dos.evaluate.series.files import LabelledSeries
from dos.evaluate.series.kinds import series_of_kinds
from dos.evaluate.series.scorers.product import MONDAY
from dos.evaluate.series.vus import main_period, stretches
from dos.kit.clock import SECOND
from dos.ml.dataset import Examples
from dos.model.telemetry import BoolArray, Float32Array, Int64Array

_SEEDS = 10
"""Seeds of series that one seed of training stands for."""
_DEVELOP_SEEDS = (0, 1, 2)
_KINDS_SEEDS = (0, 2, 3)
"""Seed 1 of `kinds` is left out."""
_HEALTHY = 5.0
"""Weight of all healthy samples of a series against all abnormal ones."""
_SKIPPED = 50
"""Samples at the beginning of a series from which nothing is learned."""
_LENGTH_POWER = 0.7
"""An anomaly of n samples weighs n to the power of 0.3: long ones more, but not in proportion."""
_HELD_OUT = 8
"""Every so-many-th series is held out of the training, to see when it should end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonOptions:
    """What to learn from."""

    seed: int = 0
    size: float = 1.0
    """Share of the usual series, at most 1."""
    each: int = 600
    """Samples of each kind (abnormal, hardest healthy, other healthy) drawn from a series."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lesson:
    """One series, and what was drawn of it."""

    series: LabelledSeries
    drawn: Examples
    """`inputs`, `label` and `weight`."""
    held_out: bool


def lessons(
    series: Sequence[LabelledSeries],
    options: LessonOptions,
    progress: Callable[[float], None] | None = None,
) -> list[Lesson]:
    """Draw samples of each series.

    Args:
        series: With anomalies whose place is known.
        options: How many samples, and the seed.
        progress: Told the share that is done, 0 to 1.
    """
    rng = np.random.default_rng(options.seed)
    made: list[Lesson] = []
    for place, one in enumerate(series):
        drawn = draw_samples(rng, one, inputs_of(one.values, times_of(one)), options.each)
        made.append(Lesson(series=one, drawn=drawn, held_out=place % _HELD_OUT == _HELD_OUT // 2))
        if progress is not None:
            progress((place + 1) / len(series))
    return made


def series_to_learn_from(options: LessonOptions, cache: Path | None = None) -> list[LabelledSeries]:
    """Some 480 series at the usual size; a function of the arguments alone.

    Args:
        options: Seed and size.
        cache: Folder in which the development sets are kept.

    Raises:
        PermanentError: The cache cannot be written.
    """
    made: list[LabelledSeries] = []
    first = _SEEDS * options.seed
    for number in _some(_DEVELOP_SEEDS, options.size):
        wanted = DevelopOptions(
            seed=first + number, half=Half.DEVELOP, size=min(1.0, 3 * options.size)
        )
        made += development_set(wanted, (), cache)
    for number in _some(_KINDS_SEEDS, options.size):
        kinds = series_of_kinds(first + number)
        made += kinds[:: max(1, round(1 / min(1.0, 3 * options.size)))]
    return made


def _some(seeds: Sequence[int], size: float) -> Iterator[int]:
    yield from seeds[: max(1, round(len(seeds) * size))]


def times_of(series: LabelledSeries) -> Int64Array:
    """Times of the samples in milliseconds since the epoch, as the bench gives them."""
    return MONDAY + np.arange(len(series), dtype=np.int64) * round(series.step_s * SECOND)


def draw_samples(
    rng: np.random.Generator, series: LabelledSeries, inputs: Float32Array, each: int
) -> Examples:
    """Some samples of one series, the hardest healthy ones all among them.

    Args:
        rng: Draws.
        series: With its labels.
        inputs: `[n, input]` of its samples.
        each: Samples of each kind at most.
    """
    labels = series.labels
    first, last = stretches(labels)
    weight = np.zeros(len(series))
    for begin, end in zip(first.tolist(), last.tolist(), strict=True):
        weight[begin : end + 1] = (end - begin + 1) ** -_LENGTH_POWER / len(first)
    near = close_to(labels, 3) | _behind(labels, min(30, main_period(series.values) // 2))
    near[:_SKIPPED] = True
    abnormal = rng.permutation(np.flatnonzero(labels))[:each]
    healthy = np.flatnonzero(~near & ~labels)
    hardest = healthy[np.argsort(-inputs[healthy].mean(axis=1), kind="stable")][: each // 3]
    others = np.setdiff1d(healthy, hardest)
    some = rng.permutation(others)[:each]
    unit = _HEALTHY / max(1, len(healthy))
    share = weight[abnormal]
    weights = np.concatenate(
        [
            share / max(share.sum(), 1e-9),
            np.full(len(hardest), unit),
            np.full(len(some), unit * len(others) / max(1, len(some))),
        ]
    )
    at = np.concatenate([abnormal, hardest, some])
    return Examples(
        columns={
            "inputs": inputs[at],
            "label": labels[at].astype(np.float32),
            "weight": weights.astype(np.float32),
        }
    )


def close_to(labels: BoolArray, reach: int) -> BoolArray:
    """Labelled, or at most `reach` samples away from a label."""
    counted = np.concatenate([[0], np.cumsum(labels)])
    at = np.arange(len(labels))
    near: BoolArray = (
        counted[np.minimum(at + reach + 1, len(labels))] > counted[np.maximum(at - reach, 0)]
    )
    return near


def _behind(labels: BoolArray, reach: int) -> BoolArray:
    """At most `reach` samples after a label."""
    counted = np.concatenate([[0], np.cumsum(labels)])
    at = np.arange(len(labels))
    behind: BoolArray = counted[at + 1] > counted[np.maximum(at + 1 - reach, 0)]
    return behind
