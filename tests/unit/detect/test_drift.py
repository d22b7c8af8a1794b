"""The drift watch: quiet while the model fits, loud when it does not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dos.detect.drift import DriftConfig, DriftWatch, group_of, places, stability
from dos.kit.clock import HOUR, MINUTE, Millis
from dos.kit.errors import CorruptDataError
from dos.model.drift import DriftReading, Fit
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array, Role, SeriesSpec

CONFIG = DriftConfig(every=60.0, reference=3600.0, half_life=3600.0)
SERIES = 20


def watched(
    watch: DriftWatch, rng: np.random.Generator, minutes: range, shift: float = 0.0, wide: float = 1
) -> None:
    """A look a minute at two groups; the first one is shifted and widened."""
    member = np.repeat(np.arange(2, dtype=np.int32), SERIES)
    for minute in minutes:
        place: Float64Array = rng.normal(0.0, 0.2, 2 * SERIES)
        place[:SERIES] = wide * place[:SERIES] + shift
        watch.look(Millis(minute * MINUTE), ["a/latency", "b/errors"], place, member)


def by_group(watch: DriftWatch) -> dict[str, DriftReading]:
    return {one.group: one for one in watch.readings()}


def test_what_stays_as_it_was_fits() -> None:
    watch = DriftWatch(CONFIG)
    rng = np.random.default_rng(1)
    watched(watch, rng, range(1, 50))
    assert {one.fit for one in watch.readings()} == {Fit.LEARNING}
    watched(watch, rng, range(50, 400))
    for one in watch.readings():
        assert one.fit is Fit.FITS
        assert one.stability is not None
        assert one.stability < 0.05
        assert one.hint == ""
        assert one.series == SERIES


@pytest.mark.parametrize(("shift", "wide"), [(0.3, 1.0), (0.0, 2.5), (0.0, 0.2)])
def test_a_shift_or_another_width_is_named_for_its_group_only(shift: float, wide: float) -> None:
    watch = DriftWatch(CONFIG)
    rng = np.random.default_rng(2)
    watched(watch, rng, range(1, 120))
    watched(watch, rng, range(120, 400), shift, wide)
    readings = by_group(watch)
    assert readings["a/latency"].fit is Fit.GONE
    assert "dos train detect" in readings["a/latency"].hint
    assert readings["b/errors"].fit is Fit.FITS
    assert readings["a/latency"].bias == pytest.approx(shift, abs=0.05)


def test_what_returns_to_what_it_was_fits_again() -> None:
    watch = DriftWatch(CONFIG)
    rng = np.random.default_rng(3)
    watched(watch, rng, range(1, 120))
    watched(watch, rng, range(120, 240), 0.4)
    assert by_group(watch)["a/latency"].fit is Fit.GONE
    watched(watch, rng, range(240, 900))
    assert by_group(watch)["a/latency"].fit is Fit.FITS


def test_the_state_comes_back_whole() -> None:
    watch = DriftWatch(CONFIG)
    rng = np.random.default_rng(4)
    watched(watch, rng, range(1, 200), 0.1)
    again = DriftWatch(CONFIG)
    again.load(watch.dump())
    assert list(again.readings()) == list(watch.readings())
    assert again.dump() == watch.dump()
    for damaged in (b"", b"{}", b'{"looked": 1, "groups": {"a": 3}}'):
        with pytest.raises(CorruptDataError):
            again.load(damaged)
    again.forget()
    assert list(again.readings()) == []


def test_a_look_is_due_after_a_time_and_when_the_clock_is_set_back() -> None:
    watch = DriftWatch(CONFIG)
    one = np.zeros(1), np.zeros(1, np.int32)
    watch.look(Millis(HOUR), ["a"], *one)
    assert not watch.due(Millis(HOUR + 59_000))
    assert watch.due(Millis(HOUR + 60_000))
    assert watch.due(Millis(HOUR - 1))


def test_places_are_relative_to_the_side_of_the_band() -> None:
    value = np.array([1.0, 3.0, 0.5, 1.0, np.nan, 5.0])
    lower = np.array([0.0, 0.0, 0.0, 1.0, 0.0, np.nan])
    expected = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    upper = np.array([2.0, 2.0, 3.0, 1.0, 2.0, np.nan])
    place, known = places(value, lower, expected, upper)
    assert known.tolist() == [True, True, True, False, False, False]
    assert place[:3].tolist() == [0.0, 2.0, -0.5]


@given(
    st.lists(st.floats(0, 1e9), min_size=4, max_size=4),
    st.lists(st.floats(0, 1e9), min_size=4, max_size=4),
)
def test_stability_is_symmetric_finite_and_zero_for_equals(
    before: list[float], recent: list[float]
) -> None:
    assert stability(before, before) == 0.0
    index = stability(before, recent)
    assert 0.0 <= index < 1e3
    assert index == pytest.approx(stability(recent, before))


def test_a_group_is_a_namespace_and_a_role() -> None:
    def spec(entity: str) -> SeriesSpec:
        return SeriesSpec(entity=EntityId(entity), metric="m", role=Role.LATENCY)

    assert group_of(spec("shop/cart")) == "shop/latency"
    assert group_of(spec("cart")) == "latency"
