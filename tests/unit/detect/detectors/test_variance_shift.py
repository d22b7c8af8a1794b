"""A series that becomes restless, or stiff, is found; its level may go where it likes."""

from __future__ import annotations

import numpy as np
import pytest

from dos.model.telemetry import Float64Array
from dos.testing.detectors import deviations


def noise(count: int, seed: int) -> Float64Array:
    return np.random.default_rng(seed).normal(20.0, 2.0, count)


@pytest.mark.parametrize("factor", [0.05, 8.0])
def test_a_change_of_the_spread_is_found(factor: float) -> None:
    delays = []
    for seed in range(10):
        values = noise(500, seed)
        values[400:] = 20 + factor * (values[400:] - 20)
        z = deviations("variance_shift", values)
        assert z[:400].max() < 6
        assert (z[400:450] > 6).any(), seed
        delays.append(int(np.argmax(z[400:] > 6)))
    assert np.median(delays) <= 16


def test_healthy_series_hardly_ever_reach_the_threshold() -> None:
    values = np.column_stack([noise(1500, seed) for seed in range(40)])
    assert (deviations("variance_shift", values) > 6).mean() < 1e-4


def test_shifts_ramps_and_spikes_are_no_change_of_the_spread() -> None:
    values = noise(900, 1)
    values[300:] += 50.0
    values[500] += 500.0
    values[600:700] += np.linspace(0, 60, 100)
    values[700:] += 60.0
    assert deviations("variance_shift", values).max() < 6


def test_noise_below_what_means_anything_is_no_noise() -> None:
    values = np.full(500, 100.0)
    values[400:] += np.random.default_rng(2).normal(0.0, 1e-4, 100)
    assert deviations("variance_shift", values).max() < 6
