"""Every detector plugin keeps its contract, and does what its own documentation says."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from dos.detect.base import Scored
from dos.detect.columns import Column, Columns
from dos.kit.plugins import Plugin, load, names
from dos.model.telemetry import Float64Array, Int32Array, Int64Array, Series
from dos.testing.detectors import CALM, ROOM, SPECS, Stream, bytes_of, check_detector, check_hostile

NAMES = names(ROOM)
STRANGE = st.one_of(
    st.floats(),
    st.sampled_from([0.0, -0.0, 5e-324, 1e-308, 1e308, -1e308, float("inf"), float("nan"), 1.0]),
)
GAPS = st.sampled_from([0, 1, 60, 60, 60, 3600, 86_400, 10 * 365 * 86_400, -60, -86_400])
"""Seconds between two samples: none, ten years, and a clock that was set back."""


@pytest.mark.parametrize("name", NAMES)
def test_a_detector_keeps_the_contract(name: str) -> None:
    check_detector(load(ROOM, name))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, suppress_health_check=[HealthCheck.differing_executors], deadline=None)
@given(
    usual=st.integers(0, 150),
    samples=st.lists(st.tuples(GAPS, STRANGE), min_size=1, max_size=40),
)
def test_scores_are_finite_whatever_the_numbers(
    name: str, usual: int, samples: list[tuple[int, float]]
) -> None:
    plugin = load(ROOM, name)
    calm = np.random.default_rng(usual).normal(1.0, 0.1, usual).tolist()
    check_hostile(plugin.build(plugin.config()), [*((60, one) for one in calm), *samples])


@pytest.mark.parametrize("name", NAMES)
@given(value=st.floats(allow_nan=False, allow_infinity=False), count=st.integers(2, 200))
@settings(max_examples=10, deadline=None)
def test_a_constant_is_never_abnormal(name: str, value: float, count: int) -> None:
    plugin = load(ROOM, name)
    stream = Stream(plugin.build(plugin.config()), SPECS)
    for _ in range(count):
        scored = stream.feed(np.full(len(stream.series), value))
        assert np.abs(scored.deviation[scored.ready]).max(initial=0.0) < CALM


@pytest.mark.parametrize("name", NAMES)
def test_the_example_does_what_it_says(name: str) -> None:
    outcome = doctest.testmod(importlib.import_module(f"{ROOM}.{name}"), raise_on_error=True)
    assert outcome.attempted >= 3, "the module's text needs an example that can be run"


@pytest.mark.parametrize("name", NAMES)
def test_the_state_is_as_large_as_it_says(name: str) -> None:
    plugin = load(ROOM, name)
    text = inspect.getdoc(importlib.import_module(f"{ROOM}.{name}")) or ""
    said = re.search(r"State: ([\d.,]+) (bytes|KB) a series", text)
    assert said, "the module's text says how many bytes a series takes: State: N bytes a series"
    size = bytes_of(plugin.build(plugin.config()))
    if said[2] == "KB":
        assert float(said[1]) == pytest.approx(size / 1000, rel=0.05)
    else:
        assert int(said[1].replace(",", "")) == size


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_documented(name: str) -> None:
    config = load(ROOM, name).config
    models = [one for one in config.__mro__ if issubclass(one, BaseModel) and one != BaseModel]
    source = "".join(inspect.getsource(one) for one in models)
    for field in config.model_fields:
        assert re.search(rf"\n    {field}: .*(\n    .*)*?\n    \"\"\"", source), field


# ----------------------------------------------------------- the checks find what they look for


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Right:
    """Mean and deviation with a rate; what is derived from it makes one mistake each."""

    name = "right"
    version = "1"

    def __init__(self, config: Config) -> None:
        self.config = config

    def layout(self) -> dict[str, Column]:
        return {
            "count": Column(dtype="<i8"),
            "level": Column(dtype="<f8"),
            "spread": Column(dtype="<f8"),
        }

    def prepare(self, columns: Columns, first: int, series: Sequence[Series]) -> None:
        pass

    def score(
        self, columns: Columns, row: Int32Array, timestamp: Int64Array, value: Float64Array
    ) -> Scored:
        expected = cast(Float64Array, columns["level"])[row]
        sigma = np.maximum(1.25 * cast(Float64Array, columns["spread"])[row], 1e-3)
        finite = np.isfinite(value)
        ready = finite & (cast(Int64Array, columns["count"])[row] >= 20)
        z = np.clip((np.clip(np.where(finite, value, 0), -1e12, 1e12) - expected) / sigma, -99, 99)
        return Scored(deviation=z, expected=expected, sigma=sigma, ready=ready)

    def learn(
        self,
        columns: Columns,
        row: Int32Array,
        timestamp: Int64Array,
        value: Float64Array,
        weight: Float64Array,
    ) -> None:
        use = np.isfinite(value)
        row, value, weight = row[use], np.clip(value[use], -1e12, 1e12), weight[use]
        count, level = cast(Int64Array, columns["count"]), cast(Float64Array, columns["level"])
        rate = np.maximum(0.01, 1 / (count[row] + 1.0)) * self.weight(weight)
        step = value - level[row]
        level[row] += rate * step
        spread = cast(Float64Array, columns["spread"])
        spread[row] += rate * (np.abs(step) - spread[row])
        count[row] += 1

    def weight(self, weight: Float64Array) -> Float64Array:
        return weight

    def to_unit(self, columns: Columns, row: Int32Array, scaled: Float64Array) -> Float64Array:
        return scaled


class CountsWhileScoring(Right):
    def score(
        self, columns: Columns, row: Int32Array, timestamp: Int64Array, value: Float64Array
    ) -> Scored:
        columns["count"][row] += np.int64(1)  # type: ignore[operator]
        return super().score(columns, row, timestamp, value)


class KeepsStateOutside(Right):
    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.seen = 0

    def score(
        self, columns: Columns, row: Int32Array, timestamp: Int64Array, value: Float64Array
    ) -> Scored:
        scored = super().score(columns, row, timestamp, value)
        return replace(scored, deviation=scored.deviation / (1 + self.seen))

    def learn(
        self,
        columns: Columns,
        row: Int32Array,
        timestamp: Int64Array,
        value: Float64Array,
        weight: Float64Array,
    ) -> None:
        self.seen += 1
        super().learn(columns, row, timestamp, value, weight)


class DrawsLots(Right):
    def score(
        self, columns: Columns, row: Int32Array, timestamp: Int64Array, value: Float64Array
    ) -> Scored:
        scored = super().score(columns, row, timestamp, value)
        noise = np.random.default_rng().normal(0, 1, len(row))
        return replace(scored, deviation=scored.deviation + noise)


class MixesEntities(Right):
    def score(
        self, columns: Columns, row: Int32Array, timestamp: Int64Array, value: Float64Array
    ) -> Scored:
        scored = super().score(columns, row, timestamp, value)
        return replace(scored, deviation=scored.deviation - scored.deviation.mean())


class LearnsIncidents(Right):
    def weight(self, weight: Float64Array) -> Float64Array:
        return np.ones(len(weight))


class DividesByZero(Right):
    def score(
        self, columns: Columns, row: Int32Array, timestamp: Int64Array, value: Float64Array
    ) -> Scored:
        scored = super().score(columns, row, timestamp, value)
        with np.errstate(all="ignore"):
            z = (value - scored.expected) / cast(Float64Array, columns["spread"])[row]
        return replace(scored, deviation=z)


class TakesAnyKey(BaseModel):
    pass


def test_the_checks_let_a_right_one_pass() -> None:
    check_detector(Plugin(Config, Right))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (CountsWhileScoring, "changed the columns"),
        (KeepsStateOutside, "state is kept elsewhere"),
        (DrawsLots, "scored differently"),
        (MixesEntities, "other entities"),
        (LearnsIncidents, "weight 0 changed"),
        (DividesByZero, "not finite"),
    ],
)
def test_the_checks_find_mistakes(wrong: type[Right], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_detector(Plugin(Config, wrong))


def test_a_configuration_that_takes_any_key_is_refused() -> None:
    with pytest.raises(AssertionError, match="unknown keys"):
        check_detector(Plugin(TakesAnyKey, lambda _: Right(Config())))
