"""Clean series in great variety, for networks to learn from what usual telemetry looks like.

Two sources: the synthetic families of `dos.evaluate.series.families`, and healthy metrics of
simulated worlds. Each series then gets a character of its own: another sampling step, a curved
scale, a grid, noise, a second series on top, upside down. Seeds are drawn from a range that no
development set and no bench uses (`_SEEDS`), so that what a network is tried on it has never seen.
Nothing of any labelled series is in it.

A corpus is a function of its arguments. Cost: about 3 ms a synthetic series, 2 s a simulated world.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from dos.evaluate.healthy import simulated
from dos.evaluate.series.families import FAMILIES
from dos.model.telemetry import Float64Array
from dos.simulate.worlds import world

_SEEDS = 7_300_000
"""Added to every seed: far from those of development sets (thousands) and benches."""
_WORLDS: tuple[tuple[str, float, int], ...] = (
    ("shop", 15.0, 3_000),
    ("generated", 60.0, 5_000),
    ("sketch", 5.0, 3_000),
    ("generated", 15.0, 3_000),
    ("shop", 60.0, 5_000),
    ("generated", 300.0, 3_000),
    ("online-boutique", 30.0, 3_000),
)
"""World, seconds between samples, points; taken in turn."""
_SHORTEST = 300
"""Points of a series that can be learned from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusOptions:
    """What to make."""

    seed: int = 0
    families: int = 300
    """Series of each synthetic family."""
    worlds: int = 14
    """Simulated worlds; each gives some sixty to a hundred series."""


def corpus(
    options: CorpusOptions, progress: Callable[[float], None] | None = None
) -> list[Float64Array]:
    """All series, each `[n]`, finite, not constant, evenly spaced.

    Args:
        options: What to make.
        progress: Told the share that is done, 0 to 1.
    """
    made: list[Float64Array] = []
    total = options.worlds * 10 + options.families * len(FAMILIES) / 50
    done = 0.0
    for number, series in enumerate(_synthetic(options)):
        made.append(series)
        if progress is not None and number % 50 == 0:
            done += 1
            progress(min(1.0, done / total))
    for number in range(options.worlds):
        made += _simulated(options, number)
        if progress is not None:
            done += 10
            progress(min(1.0, done / total))
    varied: list[Float64Array] = []
    for place, series in enumerate(made):
        rng = np.random.default_rng([_SEEDS + options.seed, 1, place])
        other = made[int(rng.integers(len(made)))]
        changed = vary(rng, series, other)
        if len(changed) >= _SHORTEST and np.isfinite(changed).all() and np.ptp(changed) > 0:
            varied.append(changed)
    return varied


def vary(rng: np.random.Generator, values: Float64Array, other: Float64Array) -> Float64Array:
    """A series with a character of its own; about a third stay as they are.

    Args:
        rng: Draws what changes.
        values: `[n]`.
        other: Another series, which may come on top.
    """
    if rng.random() < 0.35:
        return values
    changed = _resampled(rng, values)
    spread = float(np.std(changed)) or 1.0
    unit = (changed - float(np.mean(changed))) / spread
    draw = rng.random()
    if draw < 0.15 and len(other) >= len(unit):
        extra = other[: len(unit)]
        unit = unit + rng.uniform(0.1, 1.0) * (extra - extra.mean()) / (float(np.std(extra)) or 1.0)
    elif draw < 0.25:
        unit = np.exp(np.clip(rng.uniform(0.2, 1.0) * unit, -8.0, 8.0))
    elif draw < 0.35:
        unit = np.abs(unit) ** rng.uniform(0.5, 2.0) * np.sign(unit)
    if rng.random() < 0.2:
        unit = unit + rng.uniform(0.005, 0.3) * rng.standard_normal(len(unit))
    if rng.random() < 0.15:
        grid = rng.uniform(0.02, 0.6)
        unit = np.round(unit / grid) * grid
    if rng.random() < 0.1:
        unit = np.clip(unit, *np.quantile(unit, [rng.uniform(0, 0.2), rng.uniform(0.8, 1.0)]))
    sign = -1.0 if rng.random() < 0.3 else 1.0
    size, offset = 10.0 ** rng.uniform(-3, 6), rng.choice([0.0, 10.0]) * rng.standard_normal()
    varied: Float64Array = size * (sign * unit + offset)
    return varied


def _resampled(rng: np.random.Generator, values: Float64Array) -> Float64Array:
    """Another step: means of a few points, every so-many-th point, or points in between."""
    draw, factor = rng.random(), int(rng.integers(2, 7))
    if draw < 0.25 and len(values) // factor >= _SHORTEST:
        whole = len(values) // factor * factor
        means: Float64Array = values[:whole].reshape(-1, factor).mean(axis=1)
        return means
    if draw < 0.4 and len(values) // factor >= _SHORTEST:
        return values[::factor]
    if draw < 0.5:
        place = np.arange(0.0, len(values) - 1, 1.0 / rng.uniform(1.2, 4.0))[: len(values)]
        between: Float64Array = np.interp(place, np.arange(len(values)), values)
        return between
    return values


def _synthetic(options: CorpusOptions) -> Iterator[Float64Array]:
    """Series of each family, at many steps."""
    for number in range(options.families):
        for place, family in enumerate(FAMILIES.values()):
            rng = np.random.default_rng([_SEEDS + options.seed, 0, place, number])
            step_s = float(rng.choice([5.0, 15.0, 30.0, 60.0, 300.0, 900.0]))
            yield family(rng, int(rng.integers(1_500, 8_000)), step_s)


def _simulated(options: CorpusOptions, number: int) -> list[Float64Array]:
    """Every usable metric of one healthy world."""
    name, step_s, count = _WORLDS[number % len(_WORLDS)]
    seed = _SEEDS + 1_000 * options.seed + number
    healthy = simulated(
        world(name, services=8, seed=seed), seed=seed, step_s=step_s, lengths=[count]
    )
    table = healthy.pieces[0]
    usable = np.isfinite(table).all(axis=0) & (np.ptp(table, axis=0) > 0)
    return list(np.ascontiguousarray(table[:, usable].T))
