from __future__ import annotations

import numpy as np
import pytest

from dos.detect.temporal_corrupt import KINDS, Place, corrupt, unit_of
from dos.detect.temporal_examples import WindowOptions, held_out, window_examples
from dos.detect.temporal_figures import smoothed
from dos.detect.temporal_sequences import LENGTH, sequence_examples
from dos.detect.temporal_window import WINDOW
from dos.evaluate.corpus import CorpusOptions, corpus
from dos.model.telemetry import Float64Array


def series(count: int = 30, length: int = 900) -> list[Float64Array]:
    rng = np.random.default_rng(1)
    time = np.arange(length)
    return [
        rng.uniform(1, 50)
        + rng.uniform(0.5, 5) * np.sin(time / rng.uniform(5, 60))
        + rng.normal(0, 0.3, length)
        for _ in range(count)
    ]


@pytest.mark.parametrize("kind", sorted({kind.__name__ for kind in KINDS}))
def test_each_kind_of_anomaly_is_finite_and_as_long_as_what_it_replaces(kind: str) -> None:
    make = next(one for one in KINDS if one.__name__ == kind)
    values = series(1)[0]
    for seed in range(30):
        rng = np.random.default_rng(seed)
        first = int(rng.integers(-300, WINDOW - 1))
        place = Place(
            values=values, start=400, first=first, last=WINDOW, unit=unit_of(values), strength=8.0
        )
        clean = values[400 + max(0, first) : 400 + WINDOW]
        changed = make(rng, clean, place)
        assert changed.shape == clean.shape
        assert np.isfinite(changed).all()


def test_an_anomaly_changes_its_stretch_only_and_visibly() -> None:
    values = series(1)[0]
    window, unit = values[400 : 400 + WINDOW], unit_of(values)
    seen = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        place = Place(values=values, start=400, first=20, last=40, unit=unit, strength=10.0)
        changed = corrupt(rng, window, place)
        if changed is None:
            continue
        seen += 1
        assert np.array_equal(changed[:20], window[:20])
        assert np.array_equal(changed[40:], window[40:])
        assert np.abs(changed - window).max() >= 2.5 * unit
    assert seen > 100


def test_examples_are_a_function_of_their_options_and_share_no_series() -> None:
    data, options = series(), WindowOptions(windows=900, seed=4)
    train, validate = window_examples(data, options)
    again, _ = window_examples(data, options)
    other, _ = window_examples(data, WindowOptions(windows=900, seed=5))
    for name, column in train.columns.items():
        assert column.tobytes() == again.columns[name].tobytes()
        assert np.isfinite(column).all()
    assert train.columns["window"].tobytes() != other.columns["window"].tobytes()
    assert len(train) + len(validate) == 900
    assert len(validate) == 30 * len(held_out(data, options))
    share = float(train.columns["abnormal"].mean())
    assert 0.25 < share < 0.45


def test_what_is_abnormal_differs_from_the_truth_and_what_is_not_follows_it() -> None:
    train, _ = window_examples(series(), WindowOptions(windows=1500, seed=2))
    window, clean = train.columns["window"], train.columns["clean"]
    changed = np.abs(window - clean).max(axis=1) > 1e-3
    abnormal = train.columns["abnormal"] > 0
    assert changed[abnormal].all()
    assert 0.1 < float((changed & ~abnormal).mean()) < 0.3, "anomalies that are over are normal"
    untouched = ~changed
    step = np.abs(train.columns["after"] - clean[:, -1])[untouched]
    assert np.median(step) < 1.0, "the next sample is near the last of a clean window"


def test_sequences_tell_every_step_and_where_it_is_abnormal() -> None:
    train, validate = sequence_examples(series(20), WindowOptions(windows=120, seed=3))
    steps, abnormal = train.columns["steps"], train.columns["abnormal"]
    assert steps.shape[1] == abnormal.shape[1] == train.columns["after"].shape[1] == LENGTH
    assert all(np.isfinite(column).all() for column in train.columns.values())
    assert len(train) + len(validate) == 120
    assert 0.02 < float(abnormal.mean()) < 0.4
    loud = np.abs(steps[:, 50:, :3]).max(axis=2)
    assert loud[abnormal[:, 50:] > 0].mean() > 1.3 * loud[abnormal[:, 50:] == 0].mean()


def test_too_little_to_learn_from_is_said() -> None:
    with pytest.raises(ValueError, match="fewer than two"):
        window_examples([np.ones(900), np.arange(20.0)], WindowOptions(windows=10))
    with pytest.raises(ValueError, match="too few series"):
        sequence_examples([np.arange(200.0)], WindowOptions(windows=10))


def test_suspicion_rises_quickly_and_falls_slowly() -> None:
    said = smoothed(np.array([0.0, 8.0, 8.0, 8.0, 0.0, 0.0]), 1.0, 10.0)
    assert said[1:4].tolist() == [4.0, 6.0, 7.0]
    assert said[5] > 6.0


def test_the_corpus_is_varied_and_a_function_of_its_seed() -> None:
    made = corpus(CorpusOptions(seed=1, families=2, worlds=1))
    again = corpus(CorpusOptions(seed=1, families=2, worlds=1))
    assert len(made) > 60
    assert all(np.array_equal(a, b) for a, b in zip(made, again, strict=True))
    assert all(np.isfinite(one).all() and np.ptp(one) > 0 for one in made)
    other = corpus(CorpusOptions(seed=2, families=2, worlds=0))
    assert not np.array_equal(made[0][:100], other[0][:100])
