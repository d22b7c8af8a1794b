"""Every ranker plugin keeps its contract, and does what its own documentation says."""

from __future__ import annotations

import doctest
import importlib
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict

from dos.kit.plugins import Plugin, load, names
from dos.model.ids import EntityId
from dos.model.rootcause import Evidence, EvidenceKind, Hypothesis, RootCause, Stance
from dos.model.telemetry import Role, SeriesSpec
from dos.rca.base import ROOM, EntityScores
from dos.rca.case import Case
from dos.testing.rankers import (
    STEP,
    check_ranker,
    check_sound,
    graph_of,
    story,
    strange_cases,
)

NAMES = names(ROOM)
WITHOUT_MODEL = [name for name in NAMES if name not in {"fused", "graph_network"}]
"""Those whose time is arithmetic of their own; the others' is measured by the benchmarks."""
MOST_SORTS = 60
"""Times as long as sorting every series that a ranker may take. A robust ranker needs about ten
sorts for medians and quantiles; the rest is reasoning."""


@pytest.mark.parametrize("name", NAMES)
def test_a_ranker_keeps_the_contract(name: str) -> None:
    check_ranker(load(ROOM, name))


@pytest.mark.parametrize("method", ["robust_z", "bayesian_change_point", "extreme_value"])
def test_every_method_of_deviation_keeps_it(method: str) -> None:
    check_ranker(load(ROOM, "deviation"), {"method": method})


@pytest.mark.parametrize("name", NAMES)
def test_the_example_does_what_it_says(name: str) -> None:
    module = importlib.import_module(f"{ROOM}.{name}")
    outcome = doctest.testmod(module, raise_on_error=True)
    assert outcome.attempted >= 2, "the module's text needs an example that can be run"


@pytest.mark.parametrize("name", NAMES)
def test_the_text_says_when_it_fails_and_each_key_what_it_is(name: str) -> None:
    module = importlib.import_module(f"{ROOM}.{name}")
    assert "Fails:" in (module.__doc__ or "")
    for key, field in load(ROOM, name).config.model_fields.items():
        assert field.description or issubclass(field.annotation or int, BaseModel), key


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "case",
    ["empty", "no samples", "no series", "one sample", "constant", "zero", "NaN everywhere"],
)
def test_where_there_is_nothing_to_go_by_it_does_not_know(name: str, case: str) -> None:
    plugin = load(ROOM, name)
    assert plugin.build(plugin.config()).rank(strange_cases()[case]).top is None


@pytest.mark.parametrize("name", WITHOUT_MODEL)
def test_somebody_who_is_clearly_ill_is_not_passed_over_for_somebody_healthy(name: str) -> None:
    case = story(
        ("payment", "cpu", 4.0, 0),
        ("payment", "self_seconds", 20.0, 0),
        ("payment", "latency_p95", 9.0, 0),
        ("payment", "log_new_templates", 45.0, 0),
    )
    plugin = load(ROOM, name)
    scores = plugin.build(plugin.config()).score(case)
    by_entity = dict(zip(scores.entities, scores.score.tolist(), strict=True))
    payment = by_entity.pop(EntityId("payment"))
    assert payment >= max(by_entity.values())


@pytest.mark.serial
@pytest.mark.parametrize("name", WITHOUT_MODEL)
def test_200_entities_of_2000_series_take_a_few_dozen_sorts(name: str) -> None:
    plugin = load(ROOM, name)
    ranker = plugin.build(plugin.config())
    case = _large()
    # Beside the one thing no robust ranker can do without: sorting every series.
    ratio = _quickest(lambda: ranker.rank(case)) / _quickest(lambda: np.sort(case.values, axis=0))
    assert ratio < MOST_SORTS, ratio


def _large() -> Case:
    """200 entities, 2,000 series, an hour at 15 s; a seventh of the series is abnormal."""
    rng = np.random.default_rng(3)
    roles = list(Role)
    values = 10 + rng.standard_normal((240, 2000))
    values[200:, ::7] += 20
    calls = [(f"s{i}", f"s{j}") for i in range(200) for j in range(i + 1, min(i + 4, 200))]
    small = story()
    return replace(
        small,
        times=small.start + STEP * np.arange(-200, 40, dtype=np.int64),
        values=values,
        series=tuple(
            SeriesSpec(
                entity=EntityId(f"s{i}"),
                metric=f"m{k}",
                labels=(("scope", "self"),) if k == 9 else (),
                role=Role.LATENCY if k == 9 else roles[k % len(roles)],
                unit="seconds" if k == 9 else "",
            )
            for i in range(200)
            for k in range(10)
        ),
        graph=graph_of(calls),
        end=small.start + 39 * STEP,
    )


def _quickest(work: Callable[[], object]) -> float:
    """Seconds of this process's CPU that `work` takes, at best of five."""
    took = []
    for _ in range(5):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return min(took)


# ----------------------------------------------------------- the checks find what they look for


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Right:
    """Blames whoever's values rose most; what is derived from it makes one mistake each."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def score(self, case: Case) -> EntityScores:
        entities = case.entities()
        score = np.zeros(len(entities))
        baseline, suspect = case.windows()
        for at, spec in enumerate(case.series):
            before, after = case.values[baseline[:, at], at], case.values[suspect[:, at], at]
            if len(before) and len(after):
                rise = self.rise(np.clip(before, -1e9, 1e9), np.clip(after, -1e9, 1e9))
                place = entities.index(spec.entity)
                score[place] = max(score[place], np.log1p(abs(rise)))
        return EntityScores(entities=entities, score=score)

    def rise(self, before: np.ndarray, after: np.ndarray) -> float:
        return float((np.median(after) - np.median(before)) / max(float(np.std(before)), 1e-3))

    def rank(self, case: Case) -> RootCause:
        pairs = [(entity, one) for entity, one in self.score(case).ordered() if one > 0]
        total = sum(one for _, one in pairs) + 1.0
        return RootCause(
            ranked=tuple(self.blame(case, entity, one, one / total) for entity, one in pairs),
            unknown=1.0 / total,
            method="right",
            at=case.end,
            onset=case.start,
        )

    def blame(self, case: Case, entity: EntityId, score: float, chance: float) -> Hypothesis:
        said = Evidence(
            stance=Stance.FOR,
            kind=EvidenceKind.DEVIATION,
            text=self.text(entity),
            weight=score,
            entity=entity,
            start=case.start,
            end=case.end,
        )
        return Hypothesis(
            entity=entity, metric=None, probability=chance, score=score, evidence=(said,)
        )

    def text(self, entity: EntityId) -> str:
        return f"{entity} rose"


class DividesByNothing(Right):
    def rise(self, before: np.ndarray, after: np.ndarray) -> float:
        with np.errstate(all="ignore"):
            return float((np.median(after) - np.median(before)) / np.std(before))


class DrawsLots(Right):
    def rise(self, before: np.ndarray, after: np.ndarray) -> float:
        return super().rise(before, after) + float(np.random.default_rng().normal(0, 1))


class BlamesTheLastListed(Right):
    def score(self, case: Case) -> EntityScores:
        scores = super().score(case)
        scores.score[-1:] *= 2.0
        return scores


class LooksAtNames(Right):
    def score(self, case: Case) -> EntityScores:
        scores = super().score(case)
        scores.score[:] *= [1.0 + 0.1 * (entity > "o") for entity in scores.entities]
        return scores


class BlamesWithoutReason(Right):
    def blame(self, case: Case, entity: EntityId, score: float, chance: float) -> Hypothesis:
        return replace(super().blame(case, entity, score, chance), evidence=())


class SaysNothing(Right):
    def text(self, entity: EntityId) -> str:
        return " "


class IsTooSure(Right):
    def rank(self, case: Case) -> RootCause:
        return replace(super().rank(case), unknown=0.0)


class WritesIntoTheCase(Right):
    def score(self, case: Case) -> EntityScores:
        case.values[:] = np.nan_to_num(case.values)
        return super().score(case)


class TakesAnyKey(BaseModel):
    pass


def test_the_checks_let_a_right_one_pass() -> None:
    check_ranker(Plugin(Config, Right))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (DividesByNothing, "not finite"),
        (DrawsLots, "differently"),
        (BlamesTheLastListed, "order of series"),
        (LooksAtNames, "names of entities"),
        (BlamesWithoutReason, "without reason"),
        (SaysNothing, "without words"),
        (IsTooSure, "probabilities sum"),
    ],
)
def test_the_checks_find_mistakes(wrong: type[Right], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_ranker(Plugin(Config, wrong))


def test_a_ranker_that_writes_into_its_case_is_found() -> None:
    with pytest.raises(ValueError, match="read-only"):
        check_sound(WritesIntoTheCase(Config()), story())


def test_a_configuration_that_takes_any_key_is_refused() -> None:
    with pytest.raises(AssertionError, match="unknown keys"):
        check_ranker(Plugin(TakesAnyKey, lambda _: Right(Config())))
