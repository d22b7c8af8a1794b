"""Anomalies that are put into clean series: each shape changes a stretch of values.

Strength is in units of the series' own `scale`, the robust sigma of its changes, or a twentieth of
its usual range where that is larger, as in telemetry that switches without noise. What a series
cannot show is not put into it: values stay on its grid and above zero where the clean ones are, and
an anomaly that changed too little to be seen is drawn again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dos.evaluate.series.vus import autocorrelation
from dos.model.telemetry import Float64Array

_PERIODIC = 0.3
"""Autocorrelation from which a series is taken to repeat itself, and by which it has risen."""
_SEEN = 1.0
"""Root mean square change of a stretch, in scales, below which an anomaly is not there."""
_PEAK = 3.0
"""Largest change, in scales, below which an anomaly is not there either."""
_FEW = 0.05
"""Share of different values below which a series is on a grid."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Nature:
    """What is usual for a series, from its clean values."""

    scale: float
    """Unit of strength; positive unless the series is constant."""
    spread: float
    """From the 2nd to the 98th percentile."""
    low: float
    high: float
    """Least and largest value."""
    period: int | None
    """Points after which it resembles itself; None where it does not."""
    grid: float
    """Distance between values that occur; 0 where they are continuous."""
    positive: bool
    """Whether no value is below 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One kind of anomaly."""

    name: str
    make: Callable[[np.random.Generator, Float64Array, slice, Nature, float], Float64Array]
    """`(rng, clean series, stretch, nature, strength)` to the new values of the stretch."""
    shortest: int
    longest: int
    """Points."""
    periods: float = 0.0
    """Needs a periodic series, and lasts at least so many periods."""
    lasting: bool = False
    """Whether the change stays for good; only the stretch is labelled."""


def nature_of(values: Float64Array) -> Nature:
    """Read the nature of a series from clean values `[n]`."""
    changes = np.diff(values)
    noise = 1.4826 * float(np.median(np.abs(changes - np.median(changes)))) / np.sqrt(2.0)
    low, high = (float(one) for one in np.quantile(values, [0.02, 0.98]))
    spread = high - low if high > low else float(values.max() - values.min())
    different = np.unique(values)
    on_grid = 1 < len(different) < max(2.0, _FEW * len(values))
    return Nature(
        scale=max(noise, spread / 20.0),
        spread=spread,
        low=float(values.min()),
        high=float(values.max()),
        period=_period(values),
        grid=float(np.diff(different).min()) if on_grid else 0.0,
        positive=bool(values.min() >= 0),
    )


def inject(
    rng: np.random.Generator,
    values: Float64Array,
    stretch: slice,
    shape: Shape,
    nature: Nature,
    strength: float,
) -> Float64Array | None:
    """`values` with an anomaly in `stretch`; None where it would not be seen."""
    changed = values.copy()
    changed[stretch] = shape.make(rng, values, stretch, nature, strength)
    if shape.lasting:
        changed[stretch.stop :] += changed[stretch.stop - 1] - values[stretch.stop - 1]
    if nature.positive:
        changed = np.maximum(changed, 0.0)
    if nature.grid > 0:
        snapped = nature.low + np.round((changed - nature.low) / nature.grid) * nature.grid
        changed = np.where(changed == values, values, snapped)
    away = np.abs(changed[stretch] - values[stretch]) / nature.scale
    seen = float(np.sqrt(np.mean(away**2))) >= _SEEN and float(away.max()) >= _PEAK
    return changed if seen else None


def effect_of(before: Float64Array, after: Float64Array, nature: Nature) -> float:
    """Largest change in scales."""
    return float(np.abs(after - before).max() / nature.scale)


def length_of(rng: np.random.Generator, shape: Shape, nature: Nature, most: int) -> int | None:
    """A length for an anomaly of that shape, at most `most`; None where none fits."""
    if shape.periods and nature.period is None:
        return None
    shortest = max(shape.shortest, round(shape.periods * (nature.period or 0)))
    longest = min(max(shape.longest, 2 * shortest if shape.periods else 0), most)
    if shortest > longest:
        return None
    return round(float(np.exp(rng.uniform(np.log(shortest), np.log(longest)))))


def _sign(rng: np.random.Generator) -> float:
    return -1.0 if rng.random() < 0.5 else 1.0


def _spike(
    rng: np.random.Generator, x: Float64Array, at: slice, nature: Nature, strength: float
) -> Float64Array:
    """A few samples far up, uneven."""
    part = x[at]
    height = strength * nature.scale * rng.uniform(0.6, 1.0, len(part))
    return part + height


def _dip(
    rng: np.random.Generator, x: Float64Array, at: slice, nature: Nature, strength: float
) -> Float64Array:
    """A few samples far down."""
    part = x[at]
    return part - strength * nature.scale * rng.uniform(0.6, 1.0, len(part))


def _shift(
    rng: np.random.Generator, x: Float64Array, at: slice, nature: Nature, strength: float
) -> Float64Array:
    """Another level for a while."""
    return x[at] + _sign(rng) * strength * nature.scale


def _variance(
    rng: np.random.Generator, x: Float64Array, at: slice, nature: Nature, strength: float
) -> Float64Array:
    """Its own noise, several times as strong."""
    part = x[at]
    width = max(3, min(15, len(part) // 4))
    smooth = np.convolve(np.pad(part, width, mode="edge"), np.ones(width) / width, mode="same")
    middle = smooth[width:-width]
    factor = 1.0 + strength / 5.0
    moved: Float64Array = middle + factor * (part - middle)
    del rng, nature
    return moved


def _noise(
    rng: np.random.Generator, x: Float64Array, at: slice, nature: Nature, strength: float
) -> Float64Array:
    """Noise on top."""
    part = x[at]
    return part + strength / 2.0 * nature.scale * rng.standard_normal(len(part))


def _amplitude(
    rng: np.random.Generator, x: Float64Array, at: slice, nature: Nature, strength: float
) -> Float64Array:
    """The same cycle, smaller or larger."""
    part, middle = x[at], float(np.median(x[at]))
    weak = rng.random() < 0.5
    factor = rng.uniform(0.1, 0.6) if weak else 1.0 + min(2.0, strength / 8.0)
    del nature
    return middle + factor * (part - middle)


def _phase(
    rng: np.random.Generator, x: Float64Array, at: slice, nature: Nature, strength: float
) -> Float64Array:
    """The cycle comes too late, or one is missed: values from a part of a period before."""
    period = nature.period or 1
    back = min(at.start, max(1, round(rng.uniform(0.2, 0.6) * period)))
    del strength
    return x[at.start - back : at.stop - back]


def _frequency(
    rng: np.random.Generator, x: Float64Array, at: slice, nature: Nature, strength: float
) -> Float64Array:
    """The cycle runs too fast or too slowly."""
    length = at.stop - at.start
    factor = rng.uniform(0.4, 0.75) if rng.random() < 0.5 else rng.uniform(1.4, 2.2)
    begin = max(0, at.stop - round(factor * length)) if factor > 1 else at.start
    place = begin + np.arange(length) * factor
    del nature, strength
    warped: Float64Array = np.interp(place, np.arange(at.stop), x[: at.stop])
    return warped


def _flat(
    rng: np.random.Generator, x: Float64Array, at: slice, nature: Nature, strength: float
) -> Float64Array:
    """The last value again and again."""
    del rng, nature, strength
    return np.full(at.stop - at.start, x[at.start - 1])


def _ramp(
    rng: np.random.Generator, x: Float64Array, at: slice, nature: Nature, strength: float
) -> Float64Array:
    """A slow climb or fall, and back at once: a leak and a restart."""
    part = x[at]
    moved: Float64Array = part + _sign(rng) * strength * nature.scale * np.linspace(
        0.0, 1.0, len(part)
    )
    return moved


def _contextual(
    rng: np.random.Generator, x: Float64Array, at: slice, nature: Nature, strength: float
) -> Float64Array:
    """Values that are usual at another time: from half a period before."""
    half = min(at.start, max(1, (nature.period or 2) // 2))
    source = x[at.start - half : at.stop - half]
    del rng, strength
    fading = np.exp(-np.arange(len(source)) / 3.0)  # no jump at the beginning
    moved: Float64Array = source + (x[at.start - 1] - source[0]) * fading
    return moved


def _replaced(
    rng: np.random.Generator, x: Float64Array, at: slice, nature: Nature, strength: float
) -> Float64Array:
    """An earlier stretch, backwards or upside down, at the level of the one it replaces."""
    length = at.stop - at.start
    begin = int(rng.integers(0, at.start - length + 1))
    source = x[begin : begin + length]
    turned = source[::-1] if rng.random() < 0.5 else 2.0 * source.mean() - source
    del nature, strength
    levelled: Float64Array = turned - turned.mean() + x[at].mean()
    return levelled


def _truncation(
    rng: np.random.Generator, x: Float64Array, at: slice, nature: Nature, strength: float
) -> Float64Array:
    """Nothing above (or below) a bound that is usually passed: a pool or a queue is full."""
    part = x[at]
    low, high = (float(bound) for bound in np.quantile(part, [0.3, 0.7]))
    del nature, strength
    return np.minimum(part, low) if rng.random() < 0.5 else np.maximum(part, high)


def _dropout(
    rng: np.random.Generator, x: Float64Array, at: slice, nature: Nature, strength: float
) -> Float64Array:
    """Nothing: 0, or less than ever where 0 is usual."""
    del rng
    nothing = 0.0 if nature.low > 0 else nature.low - strength * nature.scale
    return np.full(at.stop - at.start, nothing)


SHAPES: tuple[Shape, ...] = (
    Shape(name="spike", make=_spike, shortest=1, longest=4),
    Shape(name="dip", make=_dip, shortest=1, longest=12),
    Shape(name="dropout", make=_dropout, shortest=2, longest=60),
    Shape(name="temporary shift", make=_shift, shortest=8, longest=600),
    Shape(name="level shift", make=_shift, shortest=8, longest=80, lasting=True),
    Shape(name="variance", make=_variance, shortest=20, longest=600),
    Shape(name="noise burst", make=_noise, shortest=5, longest=60),
    Shape(name="amplitude", make=_amplitude, shortest=20, longest=600, periods=1.0),
    Shape(name="phase", make=_phase, shortest=20, longest=600, periods=0.5),
    Shape(name="frequency", make=_frequency, shortest=20, longest=600, periods=1.0),
    Shape(name="flat line", make=_flat, shortest=15, longest=600),
    Shape(name="ramp", make=_ramp, shortest=20, longest=600),
    Shape(name="contextual", make=_contextual, shortest=10, longest=200, periods=0.1),
    Shape(name="replaced", make=_replaced, shortest=20, longest=600),
    Shape(name="truncation", make=_truncation, shortest=30, longest=600),
)


def _period(values: Float64Array) -> int | None:
    """Lag of the highest peak of the autocorrelation, up to a third of the series.

    A peak counts only if the correlation was clearly lower before it: a slow series resembles
    itself at every small lag, and noise makes little peaks there.
    """
    place = np.arange(len(values))
    straight = values - np.polyval(np.polyfit(place, values, 1), place)
    correlation = autocorrelation(straight, len(values) // 3)
    if len(correlation) < 5:
        return None
    middle = correlation[1:-1]
    peaks = np.flatnonzero((middle > correlation[:-2]) & (middle >= correlation[2:])) + 1
    lowest = np.minimum.accumulate(correlation)[peaks]
    height = correlation[peaks]
    peaks = peaks[(height >= _PERIODIC) & (height - lowest >= _PERIODIC) & (peaks >= 4)]
    return int(peaks[np.argmax(correlation[peaks])]) if len(peaks) else None
