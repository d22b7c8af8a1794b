"""The development set: what it is made of, and that it keeps its hands off the rest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dos.evaluate.series import develop
from dos.evaluate.series.develop import (
    SIMULATED,
    SYNTHETIC,
    DevelopOptions,
    Half,
    development_set,
    with_anomalies,
)
from dos.evaluate.series.families import FAMILIES
from dos.evaluate.series.files import LabelledSeries
from dos.kit.errors import PermanentError
from dos.model.telemetry import Float64Array
from tests.unit.evaluate.vus_cases import labels

SMALL = DevelopOptions(size=0.25)


@pytest.fixture(autouse=True)
def short_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    """One world for an hour and a half: the simulator has tests of its own."""
    monkeypatch.setattr(develop, "_WORLDS", (("sketch", 15.0, 400),))


def recorded(name: str, seed: int, *, group: str = "WSD", first: int = 900) -> LabelledSeries:
    """A labelled series with a prefix of 800 points, and an anomaly at `first`."""
    rng = np.random.default_rng(seed)
    values = 100 + 10 * np.sin(np.arange(2_000) / 20) + rng.standard_normal(2_000)
    return LabelledSeries(
        name=name,
        group=group,
        values=values,
        labels=labels(2_000, (first, first + 20)),
        prefix=800,
        step_s=60.0,
        row=np.arange(2_000),
        rows=2_000,
    )


RECORDED = [recorded(f"series-{number}", number) for number in range(5)]


def test_it_is_made_of_prefixes_simulations_and_synthetic_series() -> None:
    made = development_set(SMALL, RECORDED)
    assert {one.group for one in made} == {"WSD", SIMULATED, SYNTHETIC}
    assert len({one.name for one in made}) == len(made)
    families = {one.name.split("-")[1] for one in made if one.group == SYNTHETIC}
    assert families == set(FAMILIES)
    assert sum(one.anomalies > 0 for one in made) > len(made) / 2


def test_labels_are_where_values_were_changed_and_behind_the_prefix() -> None:
    for one in development_set(SMALL, RECORDED):
        assert len(one.values) == len(one.labels) == one.rows
        assert np.isfinite(one.values).all()
        assert not one.labels[: one.prefix].any()
        assert bool(one.events) == bool(one.labels.any())
        for event in one.events:
            assert one.prefix < event.first <= event.last < len(one)
            assert one.labels[event.first : event.last + 1].all()
        assert one.labels.mean() < 0.25


def test_equal_arguments_make_equal_sets_and_another_seed_another() -> None:
    first, second = (development_set(SMALL, RECORDED) for _ in range(2))
    other = development_set(replace(SMALL, seed=1), RECORDED)
    assert [one.name for one in first] == [one.name for one in second]
    for one, two in zip(first, second, strict=True):
        assert (one.values == two.values).all()
        assert (one.labels == two.labels).all()
        assert one.events == two.events
    by_name = {one.name: one.values for one in first}
    assert all(
        one.name not in by_name
        or (one.values.shape != by_name[one.name].shape)
        or (one.values != by_name[one.name]).any()
        for one in other
    )


def test_the_halves_share_no_prefix_and_no_series() -> None:
    used = {half: development_set(replace(SMALL, half=half), RECORDED) for half in Half}
    prefixes = {
        half: {one.name.rpartition("-")[0] for one in made if one.group == "WSD"}
        for half, made in used.items()
    }
    assert len(prefixes[Half.DEVELOP]) == 3
    assert len(prefixes[Half.VALIDATE]) == 2
    assert not prefixes[Half.DEVELOP] & prefixes[Half.VALIDATE]
    starts = {
        half: {one.values[: one.prefix].tobytes() for one in made} for half, made in used.items()
    }
    assert not starts[Half.DEVELOP] & starts[Half.VALIDATE]


def test_nothing_behind_a_prefix_is_ever_looked_at() -> None:
    def elsewhere(one: LabelledSeries) -> LabelledSeries:
        """The same series with another end, and labels in other places there."""
        values = one.values.copy()
        values[one.clean :] = -1e6
        return replace(one, values=values, labels=labels(2_000, (1_500, 1_900)))

    first = development_set(SMALL, RECORDED)
    second = development_set(SMALL, [elsewhere(one) for one in RECORDED])
    for one, two in zip(first, second, strict=True):
        assert (one.values == two.values).all()


def test_a_prefix_ends_at_its_first_anomaly() -> None:
    dirty = [replace(one, labels=labels(2_000, (500, 510))) for one in RECORDED]
    lengths = {len(one) for one in development_set(SMALL, dirty) if one.group == "WSD"}
    assert lengths == {500}
    spoiled = [replace(one, labels=labels(2_000, (300, 310))) for one in RECORDED]
    assert not [one for one in development_set(SMALL, spoiled) if one.group == "WSD"]


def test_the_cache_gives_back_what_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = development_set(SMALL, RECORDED, tmp_path)
    kept = [path.name for path in tmp_path.iterdir()]
    assert len(kept) == 1

    def forbidden(*_: object) -> Float64Array:
        pytest.fail("made again")

    monkeypatch.setattr(develop, "_all_clean", forbidden)
    again = development_set(SMALL, RECORDED, tmp_path)
    for one, two in zip(made, again, strict=True):
        assert (one.values == two.values).all()
        assert (one.labels == two.labels).all()
        assert (one.name, one.group, one.prefix, one.step_s, one.events) == (
            two.name,
            two.group,
            two.prefix,
            two.step_s,
            two.events,
        )


def test_a_broken_cache_is_made_anew_and_other_prefixes_have_their_own(tmp_path: Path) -> None:
    development_set(SMALL, RECORDED, tmp_path)
    path = next(tmp_path.iterdir())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert development_set(SMALL, RECORDED, tmp_path)
    assert len(path.read_bytes()) == len(whole)
    development_set(SMALL, RECORDED[:4], tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PermanentError, match="cannot be written"):
        development_set(SMALL, [], tmp_path / "file" / "cache")


def test_a_constant_series_gets_no_anomaly() -> None:
    rng = np.random.default_rng(0)
    assert with_anomalies(rng, "x", "g", np.full(2_000, 4.0), 60.0) is None


def test_anomalies_of_one_series_keep_apart() -> None:
    values = RECORDED[0].values
    several = 0
    for seed in range(20):
        made = with_anomalies(np.random.default_rng(seed), "x", "g", np.tile(values, 3), 60.0)
        assert made is not None
        for one, two in zip(made.events, made.events[1:], strict=False):
            assert two.first - one.last > 60
            several += 1
    assert several > 10
