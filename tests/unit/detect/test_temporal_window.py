from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dos.detect import temporal_state
from dos.detect.columns import Columns
from dos.detect.temporal_state import LAYOUT, keep
from dos.detect.temporal_window import MEMORY, WINDOW, Described, describe
from dos.kit.clock import MINUTE
from dos.model.telemetry import Float64Array

ROW = np.zeros(1, np.int32)


def told(window: Float64Array, past: Float64Array, filled: int = MEMORY) -> Described:
    changes = np.abs(np.diff(past, prepend=past[0]))
    return describe(window[None], past[None], changes[None], np.array([filled]))


def samples(seed: int) -> tuple[Float64Array, Float64Array]:
    rng = np.random.default_rng(seed)
    return rng.normal(10.0, 2.0, WINDOW), rng.normal(10.0, 2.0, MEMORY)


@pytest.mark.parametrize(("size", "offset"), [(1e-6, 0.0), (1e9, 0.0), (3.0, 500.0), (0.5, -4.0)])
def test_unit_and_offset_do_not_matter(size: float, offset: float) -> None:
    window, past = samples(1)
    one, other = told(window, past), told(size * window + offset, size * past + offset)
    assert np.allclose(one.window, other.window, atol=1e-4)
    assert np.allclose(one.memory, other.memory, atol=1e-3)


def test_a_window_comes_back_in_its_unit() -> None:
    window, past = samples(2)
    described = told(window, past)
    assert np.allclose(described.to_unit(described.window.astype(np.float64))[0], window)


def test_memory_tells_another_level_other_noise_and_stillness() -> None:
    window, past = samples(3)
    usual = told(window, past).memory[0]
    assert np.abs(usual[2]) < 0.5
    assert told(window + 20.0, past).memory[0][2] < -2.0, "the usual median lies far below"
    noisy = window.mean() + 6.0 * (window - window.mean())
    assert told(noisy, past).memory[0][5] > 1.0
    still = told(np.full(WINDOW, 10.0), past).memory[0]
    assert still[5] < -2.0
    assert still[6] < -2.0
    assert not told(window, past, filled=3).memory.any(), "too little is no memory"


NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=64)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(NUMBERS, min_size=2, max_size=WINDOW),
    st.lists(NUMBERS, min_size=MEMORY, max_size=MEMORY),
    st.integers(0, MEMORY),
)
def test_whatever_the_numbers_what_the_network_is_shown_is_finite(
    window: list[float], past: list[float], filled: int
) -> None:
    with np.errstate(over="ignore"):
        described = told(np.array(window), np.clip(np.array(past), -1e307, 1e307), filled)
    for column in (described.window, described.memory, described.location, described.scale):
        assert np.isfinite(column).all()
    assert (described.scale > 0).all()
    assert np.abs(described.window).max() < 10
    assert np.abs(described.memory).max() < 50


def fed(values: Float64Array, weight: Float64Array | None = None, sparsest: int = 128) -> Columns:
    columns = Columns(LAYOUT)
    columns.grow(1)
    weights = np.ones(len(values)) if weight is None else weight
    for place, value in enumerate(values):
        when = np.array([place * MINUTE], np.int64)
        keep(columns, ROW, when, np.array([value]), weights[place : place + 1], sparsest)
    return columns


def test_the_window_holds_the_newest_and_memory_what_left_it_thinned_out() -> None:
    count = 1_000
    columns = fed(np.arange(count, dtype=np.float64))
    window = temporal_state.described(columns, ROW, np.array([float(count)]))
    assert np.allclose(
        window.to_unit(window.window.astype(np.float64))[0],
        np.arange(count - WINDOW + 1, count + 1),
    )
    filled = int(columns["filled"][0])
    past = np.sort(columns["past"][0, :filled])
    assert past[0] == 0.0
    assert count - WINDOW - 32 <= past[-1] < count - WINDOW
    assert (np.diff(past) == int(columns["stride"][0])).all()
    assert (columns["moves"][0, :filled] == 1.0).all()


def test_once_memory_is_as_sparse_as_it_may_be_the_oldest_gives_way() -> None:
    columns = fed(np.arange(2_000, dtype=np.float64), sparsest=4)
    assert int(columns["stride"][0]) == 4
    assert columns["past"][0].min() >= 2_000 - WINDOW - 4 * (MEMORY + 1)


def test_what_was_abnormal_stays_out_of_memory() -> None:
    values, weight = np.ones(400), np.ones(400)
    values[200:240], weight[200:240] = 50.0, 0.05
    columns = fed(values, weight)
    assert columns["past"][0, : int(columns["filled"][0])].max() == 1.0


def test_after_a_long_gap_the_window_is_not_full_but_memory_stays() -> None:
    columns = fed(np.arange(200, dtype=np.float64))
    soon, late = (np.array([at * MINUTE], np.int64) for at in (200, 200 + 60 * 24))
    assert temporal_state.full(columns, ROW, soon)
    assert not temporal_state.full(columns, ROW, late)
    filled = int(columns["filled"][0])
    keep(columns, ROW, late, np.array([5.0]), np.ones(1), 128)
    assert int(columns["held"][0]) == 1
    assert int(columns["filled"][0]) == filled


def test_a_baseline_that_was_taken_back_begins_anew() -> None:
    columns = fed(np.arange(300, dtype=np.float64))
    columns["count"][0] = 0
    keep(columns, ROW, np.array([300 * MINUTE], np.int64), np.array([1.0]), np.ones(1), 128)
    assert [int(columns[name][0]) for name in ("count", "held", "filled")] == [1, 1, 0]
