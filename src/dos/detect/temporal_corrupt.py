"""Anomalies put into windows, for the temporal network to learn what does not belong.

Each kind changes the samples from `first` on, which may lie before the window: then all of it is
abnormal. Strength is in units of the series' own noise (`unit`). The kinds are written apart from
those of the development set (`dos.evaluate.series.shapes`), so that the set tells whether what was
learned holds for anomalies that come about in another way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dos.model.telemetry import Float64Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """Where an anomaly comes into a window."""

    values: Float64Array
    """`[n]` the whole clean series."""
    start: int
    """Of the window in the series."""
    first: int
    """Of the anomaly, counted from the window's start; may be negative."""
    last: int
    """Behind its last sample; at most the window's length."""
    unit: float
    """The series' own noise, in its unit, positive."""
    strength: float
    """In `unit`s."""


Kind = Callable[[np.random.Generator, Float64Array, Place], Float64Array]
"""`(rng, clean samples of the anomaly inside the window, place)` to the samples instead."""


def unit_of(values: Float64Array) -> float:
    """What strength is counted in: robust sigma of changes, or a part of the usual range."""
    changes = np.diff(values)
    noise = 1.05 * float(np.median(np.abs(changes - np.median(changes))))
    low, high = (float(one) for one in np.quantile(values, [0.03, 0.97]))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    return max(noise, (high - low) / 20.0)


def corrupt(rng: np.random.Generator, window: Float64Array, place: Place) -> Float64Array | None:
    """The window with an anomaly; None where it can hardly be seen.

    Args:
        rng: Draws the kind.
        window: `[time]` clean.
        place: Where, and how strong.
    """
    inside = slice(max(0, place.first), place.last)
    clean = window[inside]
    kind = KINDS[int(rng.integers(len(KINDS)))]
    changed = kind(rng, clean, place)
    if place.values.min() >= 0:
        changed = np.maximum(changed, 0.0)
    away = np.abs(changed - clean) / place.unit
    if len(away) == 0 or away.max() < 2.5 or float(np.sqrt(np.mean(away**2))) < 1.0:
        return None
    corrupted = window.copy()
    corrupted[inside] = changed
    return corrupted


def _sign(rng: np.random.Generator) -> float:
    return 1.0 if rng.random() < 0.5 else -1.0


def _age(clean: Float64Array, place: Place) -> Float64Array:
    """Samples since the anomaly began, for each of those inside the window."""
    return np.arange(len(clean), dtype=np.float64) + max(0, -place.first)


def _offset(rng: np.random.Generator, clean: Float64Array, place: Place) -> Float64Array:
    """Another level at once."""
    return clean + _sign(rng) * place.strength * place.unit


def _uneven(rng: np.random.Generator, clean: Float64Array, place: Place) -> Float64Array:
    """Far to one side, each sample by another amount."""
    return clean + _sign(rng) * place.strength * place.unit * rng.uniform(0.4, 1.0, len(clean))


def _climb(rng: np.random.Generator, clean: Float64Array, place: Place) -> Float64Array:
    """Away little by little."""
    share = np.minimum(_age(clean, place) / rng.uniform(10.0, 80.0), 3.0)
    return clean + _sign(rng) * place.strength * place.unit * share


def _saturating(rng: np.random.Generator, clean: Float64Array, place: Place) -> Float64Array:
    """Away quickly, then slower and slower."""
    reach = 1.0 - np.exp(-_age(clean, place) / rng.uniform(2.0, 30.0))
    return clean + _sign(rng) * place.strength * place.unit * reach


def _fading(rng: np.random.Generator, clean: Float64Array, place: Place) -> Float64Array:
    """A blow that fades."""
    blow = np.exp(-_age(clean, place) / rng.uniform(3.0, 30.0))
    return clean + _sign(rng) * place.strength * place.unit * blow


def _noisy(rng: np.random.Generator, clean: Float64Array, place: Place) -> Float64Array:
    """Noise on top, of one kind or another."""
    heavy = rng.random() < 0.3
    draws = rng.standard_t(3.0, len(clean)) if heavy else rng.standard_normal(len(clean))
    return clean + 0.5 * place.strength * place.unit * draws


def _swinging(rng: np.random.Generator, clean: Float64Array, place: Place) -> Float64Array:
    """A wave on top."""
    turn = 2 * np.pi * _age(clean, place) / rng.uniform(4.0, 60.0) + rng.uniform(0, 2 * np.pi)
    return clean + 0.7 * place.strength * place.unit * np.sin(turn)


def _stretched(rng: np.random.Generator, clean: Float64Array, place: Place) -> Float64Array:
    """Its own ups and downs, larger or smaller."""
    middle = float(np.median(place.values)) if rng.random() < 0.3 else float(np.median(clean))
    factor = rng.uniform(0.0, 0.5) if rng.random() < 0.5 else 1.0 + place.strength / 4.0
    return middle + factor * (clean - middle)


def _stuck(rng: np.random.Generator, clean: Float64Array, place: Place) -> Float64Array:
    """One value again and again: the last, the mean, or any that occurs."""
    before = place.values[max(0, place.start + place.first - 1)]
    draw = rng.random()
    value = before if draw < 0.6 else clean.mean() if draw < 0.8 else rng.choice(place.values)
    return np.full(len(clean), value)


def _nothing(rng: np.random.Generator, clean: Float64Array, place: Place) -> Float64Array:
    """Zero, or a little below what ever was."""
    del rng
    lowest = float(place.values.min())
    value = 0.0 if lowest > 0 else lowest - place.strength * place.unit
    return np.full(len(clean), value)


def _elsewhere(rng: np.random.Generator, clean: Float64Array, place: Place) -> Float64Array:
    """What is usual at another time, as it is or at the level of what it replaces."""
    begin = int(rng.integers(0, len(place.values) - len(clean) + 1))
    source = place.values[begin : begin + len(clean)]
    draw = rng.random()
    if draw < 0.3:
        source = source[::-1]
    elif draw < 0.5:
        source = 2 * source.mean() - source
    levelled: Float64Array = source - source.mean() + clean.mean()
    return levelled if rng.random() < 0.5 else source


def _hurried(rng: np.random.Generator, clean: Float64Array, place: Place) -> Float64Array:
    """Its own course, too fast or too slowly."""
    factor = rng.uniform(0.3, 0.7) if rng.random() < 0.5 else rng.uniform(1.5, 3.0)
    begin = max(0, place.start + max(0, place.first))
    where = begin + factor * np.arange(len(clean))
    warped: Float64Array = np.interp(
        where % (len(place.values) - 1), np.arange(len(place.values)), place.values
    )
    return warped


def _cut(rng: np.random.Generator, clean: Float64Array, place: Place) -> Float64Array:
    """Nothing above, or below, a bound that is usually passed."""
    whole = clean if rng.random() < 0.5 else place.values
    low, high = (float(one) for one in np.quantile(whole, [0.25, 0.75]))
    return np.minimum(clean, low) if rng.random() < 0.5 else np.maximum(clean, high)


KINDS: tuple[Kind, ...] = (
    _offset,
    _offset,
    _uneven,
    _uneven,
    _climb,
    _saturating,
    _fading,
    _noisy,
    _swinging,
    _stretched,
    _stuck,
    _nothing,
    _elsewhere,
    _hurried,
    _cut,
)
"""All kinds; twice those that telemetry shows most."""
