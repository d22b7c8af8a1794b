"""Fewer samples for the eye, none of them made up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dos.api.errors import ProblemError
from dos.api.resample import MAX_POINTS, choose_step, resample

TIMES = np.arange(0, 60_000, 5_000, dtype=np.int64)


def test_mean_least_and_greatest_per_step() -> None:
    values = np.array([1, 2, 3, np.nan, 5, 9, *[np.nan] * 6], dtype=np.float32)
    slots = resample(TIMES, values, 15_000)
    assert slots.times.tolist() == [0, 15_000, 30_000, 45_000]
    np.testing.assert_equal(slots.mean, [2, 7, np.nan, np.nan])
    np.testing.assert_equal(slots.low, [1, 5, np.nan, np.nan])
    np.testing.assert_equal(slots.high, [3, 9, np.nan, np.nan])


def test_infinities_count_as_no_sample() -> None:
    values = np.array([np.inf, 1, -np.inf], dtype=np.float32)
    slots = resample(TIMES[:3], values, 15_000)
    assert (slots.mean[0], slots.low[0], slots.high[0]) == (1, 1, 1)


def test_nothing_gives_nothing() -> None:
    assert len(resample(TIMES[:0], np.empty(0, np.float32), 1000).times) == 0


floats = st.floats(-1e6, 1e6, width=32) | st.just(float("nan"))


@given(
    values=hnp.arrays(np.float32, st.integers(1, 200), elements=floats),
    start=st.integers(0, 10**6),
    factor=st.integers(1, 50),
)
def test_like_the_naive_way(values: np.ndarray, start: int, factor: int) -> None:
    times = (start + np.arange(len(values), dtype=np.int64)) * 5_000
    step = 5_000 * factor
    slots = resample(times, values, step)
    assert slots.times.tolist() == sorted({t // step * step for t in times.tolist()})
    for at, mean, low, high in zip(slots.times, slots.mean, slots.low, slots.high, strict=True):
        inside = values[(times >= at) & (times < at + step)].astype(np.float64)
        inside = inside[np.isfinite(inside)]
        if len(inside):
            assert mean == pytest.approx(inside.mean(), rel=1e-9, abs=1e-6)
            assert (low, high) == (inside.min(), inside.max())
        else:
            assert np.isnan([mean, low, high]).all()


def grid(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.int64) * 5_000


@pytest.mark.parametrize(
    ("count", "asked", "step"),
    [
        (0, None, 1_000),
        (1, 15_000, 15_000),
        (100, None, 5_000),
        (100, 1_000, 5_000),  # finer than the history
        (100, 12_000, 15_000),  # a multiple of the history's
        (17_280, None, 90_000),  # a day
    ],
)
def test_the_step(count: int, asked: int | None, step: int) -> None:
    assert choose_step(grid(count), asked) == step


def test_too_many_points_says_which_step_is_enough() -> None:
    times = grid(3 * MAX_POINTS)
    with pytest.raises(ProblemError, match="a step of 15s is enough"):
        choose_step(times, 5_000)
    assert choose_step(times, 15_000) == 15_000
