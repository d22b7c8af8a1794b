"""The committee's vote: what it learns from, and that equal arguments train equal votes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dos.detect.aspects.vote import INPUTS
from dos.detect.committee import load_model
from dos.evaluate.lessons import LessonOptions, close_to, draw_samples, series_to_learn_from
from dos.evaluate.series.files import Event, LabelledSeries
from dos.kit.errors import CorruptDataError, PermanentError
from dos.ml.card import read_card
from dos.testing.detectors import deviations


def labelled(seed: int, count: int = 700) -> LabelledSeries:
    """Noise around a level, with one shift."""
    rng = np.random.default_rng(seed)
    values = 50.0 + rng.normal(0.0, 1.0, count)
    first = int(rng.integers(300, 600))
    labels = np.zeros(count, np.bool_)
    labels[first : first + 30] = True
    values[labels] += 8.0
    return LabelledSeries(
        name=f"one-{seed}",
        group="made",
        values=values,
        labels=labels,
        prefix=200,
        step_s=60.0,
        row=np.arange(count),
        rows=count,
        events=(Event(shape="shift", first=first, last=first + 29, effect=8.0),),
    )


def test_near_a_label_is_so_far_on_both_sides() -> None:
    labels = np.zeros(12, np.bool_)
    labels[[0, 7, 8]] = True
    assert np.flatnonzero(close_to(labels, 2)).tolist() == [0, 1, 2, 5, 6, 7, 8, 9, 10]
    np.testing.assert_array_equal(close_to(labels, 0), labels)
    assert not close_to(np.zeros(5, np.bool_), 3).any()


def test_series_count_the_same_and_healthy_samples_by_their_number() -> None:
    rng = np.random.default_rng(0)
    one = labelled(1)
    inputs = rng.normal(0.0, 1.0, (len(one), INPUTS)).astype(np.float32)
    for each in (30, 1_000):
        drawn = draw_samples(np.random.default_rng(1), one, inputs, each).columns
        abnormal = drawn["label"] > 0
        assert drawn["weight"][abnormal].sum() == pytest.approx(1.0, rel=1e-5)
        assert drawn["weight"][~abnormal].sum() == pytest.approx(5.0, rel=1e-5)
        assert abnormal.sum() == 30
    hardest = inputs.mean(axis=1)
    hardest[close_to(one.labels, 40)] = -9.0
    hardest[:50] = -9.0
    drawn = draw_samples(np.random.default_rng(1), one, inputs, 30).columns
    said = drawn["inputs"].mean(axis=1)[drawn["label"] == 0]
    assert said.max() == pytest.approx(float(hardest.max()), abs=1e-6)


@pytest.mark.slow
def test_what_is_learned_from_depends_on_the_seed_alone() -> None:
    small = LessonOptions(seed=1, size=0.02)
    first, again = series_to_learn_from(small), series_to_learn_from(small)
    other = series_to_learn_from(replace(small, seed=2))
    assert [one.name for one in first] == [one.name for one in again]
    for one, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.values, same.values)
        np.testing.assert_array_equal(one.labels, same.labels)
    assert any(one.labels.any() for one in first)
    mine = {one.values.tobytes() for one in first}
    assert not mine & {one.values.tobytes() for one in other}


@pytest.mark.models
def test_equal_arguments_train_equal_votes_that_find_a_shift(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from dos.evaluate.training import VoteOptions, VoteProgress, train_vote

    series = [labelled(seed) for seed in range(16)]
    told: list[VoteProgress] = []
    options = VoteOptions(out=tmp_path / "one", networks=2, units=4, command="dos train vote")
    options = replace(options, fit=replace(options.fit, epochs=3, batch=256))
    trained = train_vote(series, options, told.append)
    train_vote(series, replace(options, out=tmp_path / "two"))
    other = replace(options, out=tmp_path / "other", lessons=LessonOptions(seed=1))
    train_vote(series, other)
    one, two, third = (
        (tmp_path / name / "vote.npz").read_bytes() for name in ("one", "two", "other")
    )
    assert one == two
    assert one != third
    assert {now.stage for now in told} >= {"statistics", "network 2 of 2", "scale"}
    assert told[-1].share == 1.0
    card = read_card(tmp_path / "one")
    assert card == trained.card
    assert card.training.series == 16
    assert card.figures["vus_pr"] > 0.3
    values = labelled(99).values
    z = np.abs(deviations("committee", values, model=str(tmp_path / "one")))
    hit = labelled(99).labels
    assert z[hit].max() > 2 * np.quantile(z[200:][~close_to(hit, 70)[200:]], 0.99)


@pytest.mark.models
def test_networks_side_by_side_say_their_mean() -> None:
    torch = pytest.importorskip("torch")
    from dos.detect.aspects.vote import odds
    from dos.evaluate.training import Vote, averaged
    from dos.ml.trainer import seeded

    rng = np.random.default_rng(3)
    mean, spread = rng.normal(0.0, 1.0, INPUTS), rng.uniform(0.5, 2.0, INPUTS)
    networks = [seeded(lambda: Vote(5, mean, spread), seed) for seed in (1, 2, 3)]
    for network in networks:
        torch.nn.init.normal_(network.straight.weight)
    weights = averaged(networks)
    for inputs in rng.normal(0.0, 1.0, (20, INPUTS)).astype(np.float32):
        with torch.no_grad():
            said = [float(network(torch.from_numpy(inputs[None]))[0]) for network in networks]
        assert odds(inputs.astype(np.float64), weights) == pytest.approx(np.mean(said), abs=1e-3)


@pytest.mark.models
def test_too_few_series_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from dos.evaluate.training import VoteOptions, train_vote

    with pytest.raises(PermanentError, match="Too few"):
        train_vote([labelled(1)], VoteOptions(out=tmp_path))


def test_the_vote_that_comes_along_is_what_its_card_says(tmp_path: Path) -> None:
    from dos.ml.card import find

    folder = find("vote")
    card = read_card(folder)
    model = load_model(folder)
    assert card.shape == {"units": len(model.weights.bias), "inputs": INPUTS}
    assert card.parameters == sum(one.size for one in model.weights)
    assert card.training.command == "dos train vote --out DIR"
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "card.json").write_text((folder / "card.json").read_text())
    (copy / "vote.npz").write_bytes((folder / "vote.npz").read_bytes()[:-1] + b"?")
    with pytest.raises(CorruptDataError, match="not the file that its card describes"):
        load_model(copy)
    assert json.loads((copy / "card.json").read_text())["name"] == "vote"
