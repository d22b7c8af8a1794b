"""The vote over all statistics, and the statistics' rarity by the series' own past."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dos.detect.aspects.rarity import count_in, rarities
from dos.detect.aspects.state import BINS, COUNT, FAMILIES, STATISTICS
from dos.detect.aspects.vote import INPUTS
from dos.detect.committee import Aspects, inputs_of, load_model, save_model
from dos.kit.errors import CorruptDataError, PermanentError
from dos.kit.plugins import load
from dos.ml.card import find, read_card, write_card
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array, Role, SeriesSpec
from dos.testing.detectors import START, Stream, deviations


def day(count: int = 5_000, seed: int = 5) -> Float64Array:
    """A web service: day and noise."""
    rng = np.random.default_rng(seed)
    daily = 100.0 + 30.0 * np.sin(np.arange(count) / 1440 * 2 * np.pi)
    values: Float64Array = daily * (1.0 + rng.normal(0.0, 0.02, count))
    return values


def test_shapes_of_anomaly_stand_out() -> None:
    table = np.column_stack([day(seed=seed) for seed in range(4)])
    table[4_500:4_503, 0] += 60.0
    table[4_500:4_540, 1] -= 30.0
    table[4_500:4_560, 2] = table[4_499, 2]
    spec = [SeriesSpec(entity=EntityId("web"), metric=f"requests-{i}") for i in range(4)]
    z = np.abs(deviations("committee", table, specs=spec))
    quiet = z[1_500:4_500].max(axis=0)
    assert (quiet < 6.0).all()
    assert z[4_500:4_510, 0].max() > 6.0
    assert z[4_500:4_540, 1].max() > 6.0
    assert z[4_500:4_560, 2].max() > 1.5 * np.quantile(z[1_500:4_500, 2], 0.99)
    assert z[4_500:, 3].max() < 6.0


def test_the_size_of_a_series_does_not_matter() -> None:
    values = day(2_500)
    values[2_200:2_220] += 40.0
    plain = deviations("committee", values)
    small = deviations("committee", values * 2.0**-20)
    np.testing.assert_allclose(small, plain, rtol=1e-4, atol=1e-4)


def test_a_change_too_small_to_matter_for_its_unit_is_no_anomaly() -> None:
    rng = np.random.default_rng(7)
    errors = 0.001 + rng.normal(0.0, 1e-5, 1_500)
    errors[1_200:1_240] = 0.0013
    known = SeriesSpec(entity=EntityId("web"), metric="errors", unit="ratio", role=Role.ERRORS)
    unknown = SeriesSpec(entity=EntityId("web"), metric="something")
    z = deviations("committee", np.column_stack([errors, errors]), specs=[known, unknown])
    assert np.abs(z[1_200:1_240, 0]).max() < 6.0
    assert np.abs(z[1_200:1_240, 1]).max() > 6.0


def test_learning_without_scoring_is_the_same() -> None:
    plugin = load("dos.detect.detectors", "committee")
    spec = [SeriesSpec(entity=EntityId("web"), metric="requests")]
    both, alone = (Stream(plugin.build(plugin.config()), spec, hold=None) for _ in range(2))
    row = np.zeros(1, np.int32)
    for value in day(300):
        both.feed([value])
        alone.now = both.now
        when = np.full(1, alone.now, np.int64)
        alone.detector.learn(alone.columns, row, when, np.array([value]), np.ones(1))
    assert both.columns.dump() == alone.columns.dump()


def test_the_rarest_statistics_give_the_reason() -> None:
    plugin = load("dos.detect.detectors", "committee")
    detector = plugin.build(plugin.config())
    assert isinstance(detector, Aspects)
    stream = Stream(detector, [SeriesSpec(entity=EntityId("web"), metric="requests")])
    for value in day(600):
        stream.feed([value])
    when = np.full(1, stream.now + 60_000, np.int64)
    detector.score(stream.columns, np.zeros(1, np.int32), when, np.array([400.0]))
    reasons = detector.reasons(0)
    assert len(reasons) == 3
    assert reasons[0][1] >= reasons[1][1] >= reasons[2][1] > 2.0
    assert {name for name, _ in reasons} <= {name for name, _ in STATISTICS}


def test_rarity_is_the_share_of_the_past_and_grows_beyond_it() -> None:
    histogram = np.zeros(COUNT * BINS, np.float32)
    total = np.zeros(COUNT, np.float32)
    past = np.random.default_rng(9).exponential(1.0, 20_000)
    for value in past:
        count_in(value, 0.0, 1.0, histogram, total, 0)
    stat, out = np.full(COUNT, np.nan), np.empty(COUNT)
    said: list[float] = []
    for value in (0.7, 2.3, 4.6, 9.2, 20.0, 1e4, 1e6):
        stat[0] = value
        rarities(stat, histogram, total, out)
        said.append(float(out[0]))
    expected = [value / np.log(10.0) for value in (0.7, 2.3, 4.6)]
    np.testing.assert_allclose(said[:3], expected, atol=0.12)
    assert said == sorted(said)
    assert len(set(said)) == len(said)
    assert (out[1:] == 0).all()


def test_inputs_are_those_of_the_past_only() -> None:
    values = day(800)
    times = START + 60_000 * np.arange(len(values))
    whole = inputs_of(values, times)
    part = inputs_of(values[:500], times[:500])
    assert whole.shape == (800, INPUTS)
    np.testing.assert_array_equal(whole[:500], part)


def test_a_folder_that_is_no_vote_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PermanentError):
        load_model(tmp_path)
    for content in (b"nothing", (find("vote") / "vote.npz").read_bytes()[:-100]):
        (tmp_path / "vote.npz").write_bytes(content)
        write_card(tmp_path, read_card(find("vote")), ("vote.npz",))
        with pytest.raises(CorruptDataError, match="not a vote"):
            load_model(tmp_path)
    model = load_model(find("vote"))
    fewer = model.weights._replace(hidden=model.weights.hidden[1:])
    save_model(replace(model, weights=fewer), tmp_path)
    write_card(tmp_path, read_card(find("vote")), ("vote.npz",))
    with pytest.raises(CorruptDataError, match="other statistics"):
        load_model(tmp_path)


def test_a_single_odd_sample_does_not_count_before_the_next_one_does() -> None:
    values = day(2_600)
    values[2_500] += 80.0
    z = np.abs(deviations("committee", values))
    assert z[2_500] <= np.abs(z[2_400:2_500]).max()
    assert z[2_501] > 3 * np.quantile(z[1_500:2_500], 0.99)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_alone_is_a_detector(family: str) -> None:
    detector = Aspects("one", "1", (family,))
    stream = Stream(detector, [SeriesSpec(entity=EntityId("web"), metric="requests")])
    said = [float(stream.feed([value]).deviation[0]) for value in day(200)]
    assert np.isfinite(said).all()
