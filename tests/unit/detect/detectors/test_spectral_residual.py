"""Novelties stand out of patterns; the pattern itself, noise and blips of flat lines do not."""

from __future__ import annotations

import numpy as np
import pytest

from dos.kit.plugins import load
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array, Role, SeriesSpec
from dos.testing.detectors import ROOM, Stream, deviations


def wave(count: int, seed: int) -> Float64Array:
    time = np.arange(count)
    noise = np.random.default_rng(seed).normal(0.0, 0.05, count)
    values: Float64Array = 10 + np.sin(time / 5.0) + 0.5 * np.sin(time / 1.7) + noise
    return values


@pytest.mark.parametrize("size", [-2.0, 2.0])
def test_a_point_out_of_the_pattern_is_found_within_the_usual_range(size: float) -> None:
    hit = 0
    for seed in range(12):
        values = wave(500, seed)
        place = 400 + seed
        # The side on which the value stays inside of what the series reaches anyway.
        values[place] += size if (values[place] > 10) == (size < 0) else -size
        z = deviations("spectral_residual", values)
        hit += bool(np.abs(z[place : place + 2]).max() > 6)
    assert hit >= 9


def test_healthy_patterns_and_noise_seldom_reach_the_threshold() -> None:
    rng = np.random.default_rng(1)
    values = np.column_stack(
        [*(wave(1200, seed) for seed in range(20)), *rng.normal(100.0, 2.0, (20, 1200))]
    )
    assert (np.abs(deviations("spectral_residual", values)) > 6).mean() < 2e-3


def test_a_blip_below_what_means_anything_does_not_count() -> None:
    spec = SeriesSpec(entity=EntityId("a"), metric="errors", role=Role.ERRORS, unit="ratio")
    values = np.zeros(300)
    values[250] = 0.001
    assert np.abs(deviations("spectral_residual", values, specs=[spec])).max() < 1
    values[250] = 0.5
    assert np.abs(deviations("spectral_residual", values, specs=[spec])).max() > 6


def test_an_outlier_has_its_direction() -> None:
    for size in (-1.0, 1.0):
        values = wave(300, 3)
        values[280] += 6 * size
        assert size * deviations("spectral_residual", values)[280] > 6


def test_many_series_at_once_give_what_each_gives_alone() -> None:
    values = np.random.default_rng(2).normal(0.0, 1.0, (140, 130))
    together = deviations("spectral_residual", values)
    for column in (0, 1, 77, 129):
        alone = deviations("spectral_residual", values[:, column])
        assert alone.tobytes() == np.ascontiguousarray(together[:, column]).tobytes()


def test_the_window_must_be_full_before_anything_is_said() -> None:
    plugin = load(ROOM, "spectral_residual")
    stream = Stream(plugin.build(plugin.config()), [SeriesSpec(entity=EntityId("a"), metric="m")])
    ready = [bool(stream.feed(value).ready[0]) for value in wave(120, 4)]
    first = ready.index(True)
    assert first == 58 + 32
    assert all(ready[first:])
