"""Anomalies put into clean series."""

from __future__ import annotations

import numpy as np
import pytest

from dos.evaluate.series.families import FAMILIES
from dos.evaluate.series.shapes import SHAPES, Shape, inject, length_of, nature_of
from dos.model.telemetry import Float64Array

AT = slice(900, 960)


def cycle(seed: int = 0, noise: float = 0.05) -> Float64Array:
    """A cycle of 50 points."""
    rng = np.random.default_rng(seed)
    return 5 + np.sin(2 * np.pi * np.arange(1_500) / 50) + noise * rng.standard_normal(1_500)


def injected(shape: Shape, values: Float64Array, strength: float = 20.0) -> Float64Array:
    """The first draw that can be seen."""
    nature = nature_of(values)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        changed = inject(rng, values, AT, shape, nature, strength)
        if changed is not None:
            return changed
    pytest.fail(f"{shape.name} cannot be seen")


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_shape_changes_its_stretch_and_nothing_else(shape: Shape) -> None:
    values = cycle()
    changed = injected(shape, values)
    assert np.isfinite(changed).all()
    assert (changed[: AT.start] == values[: AT.start]).all()
    assert np.abs(changed[AT] - values[AT]).max() > 3 * nature_of(values).scale
    assert (changed[AT.stop :] != values[AT.stop :]).any() == shape.lasting


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_shape_keeps_to_what_the_series_can_show(shape: Shape) -> None:
    counts = np.round(np.maximum(20 + 15 * (cycle(1) - 5), 0.0))
    changed = injected(shape, counts)
    assert (changed >= 0).all()
    assert (changed == np.round(changed)).all()


def by_name(name: str) -> Shape:
    return next(shape for shape in SHAPES if shape.name == name)


def test_what_the_shapes_are() -> None:
    values = cycle(2, noise=0.02)
    spike = injected(by_name("spike"), values)
    assert (spike[AT] > values[AT]).all()
    flat = injected(by_name("flat line"), values)
    assert np.unique(flat[AT]).tolist() == [values[AT.start - 1]]
    assert not injected(by_name("dropout"), values)[AT].any()
    noisy = injected(by_name("variance"), cycle(3, noise=0.2))
    assert np.diff(noisy[AT]).std() > 2 * np.diff(cycle(3, noise=0.2)[AT]).std()
    shift = injected(by_name("level shift"), values)
    away = shift[AT.start :] - values[AT.start :]
    assert np.ptp(away) < 1e-9
    ramp = injected(by_name("ramp"), values)[AT] - values[AT]
    assert np.abs(np.diff(ramp, n=2)).max() < 1e-9
    assert ramp[0] == 0.0
    late = injected(by_name("phase"), values)[AT]
    assert min(np.abs(late - np.roll(values, by)[AT]).max() for by in range(1, 50)) == 0.0


def test_the_nature_of_a_series() -> None:
    nature = nature_of(cycle())
    assert nature.period == 50
    assert nature.positive
    assert nature.grid == 0.0
    # Noise of 0.05 on a slope of at most 0.13 a point.
    assert 0.05 < nature.scale < 0.2
    assert nature_of(np.random.default_rng(0).standard_normal(2_000)).period is None
    assert nature_of(np.round(100 * np.random.default_rng(0).random(5_000)) / 4).grid == 0.25
    assert nature_of(np.full(100, 7.0)).scale == 0.0


def test_a_slow_series_has_no_period_because_of_its_noise() -> None:
    rng = np.random.default_rng(4)
    slow = np.cumsum(rng.standard_normal(3_000)) * 0.1 + rng.standard_normal(3_000)
    period = nature_of(slow).period
    assert period is None or period > 100


def test_lengths_fit() -> None:
    rng = np.random.default_rng(0)
    nature = nature_of(cycle())
    for shape in SHAPES:
        lengths = [length_of(rng, shape, nature, 300) for _ in range(200)]
        least = max(shape.shortest, round(50 * shape.periods))
        assert all(length is not None and least <= length <= 300 for length in lengths)
        assert length_of(rng, shape, nature, least - 1) is None
    restless = nature_of(rng.standard_normal(1_000))
    assert length_of(rng, by_name("phase"), restless, 300) is None


def test_what_cannot_be_seen_is_not_put_in() -> None:
    values = np.zeros(1_500)
    values[::7] = 1.0
    values[AT.start - 1 : AT.stop] = 0.0
    rng = np.random.default_rng(0)
    assert inject(rng, values, AT, by_name("flat line"), nature_of(values), 20.0) is None


@pytest.mark.parametrize("name", FAMILIES)
def test_families_are_finite_varied_and_repeatable(name: str) -> None:
    family = FAMILIES[name]
    made = [family(np.random.default_rng(seed), 3_000, 60.0) for seed in (1, 1, 2)]
    assert all(one.shape == (3_000,) and np.isfinite(one).all() for one in made)
    assert (made[0] == made[1]).all()
    assert (made[0] != made[2]).any()
    assert nature_of(made[0]).scale > 0
