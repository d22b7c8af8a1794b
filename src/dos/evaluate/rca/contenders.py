"""Who is measured: rankers of the product by their names, and published methods beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from dos.evaluate.rca.baselines import baro, circa, epsilon, graphwalks, nsigma, rcd
from dos.kit import plugins
from dos.kit.clock import Clock
from dos.kit.errors import ConfigError
from dos.model.ids import EntityId
from dos.model.rootcause import RootCause
from dos.rca.base import ROOM, EntityScores, Ranker
from dos.rca.case import Case


class Side(StrEnum):
    """Whose method it is."""

    RANKER = "ranker"
    """The product's."""
    BASELINE = "baseline"
    """Published by others."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """What a contender says of a case."""

    order: tuple[tuple[EntityId, float], ...]
    """Every entity with its score, most suspect first."""
    cause: RootCause | None
    """With probabilities; None of a baseline."""
    seconds: float
    """Time that it took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A published method."""

    score: Callable[[Case], EntityScores]
    about: str


BASELINES = {
    "nsigma": Baseline(score=nsigma.score, about="greatest z-score (RCAEval)"),
    "nsigma_absolute": Baseline(
        score=nsigma.absolute, about="greatest absolute z-score, constant series too"
    ),
    "baro": Baseline(score=baro.score, about="median and interquartile range (FSE 2024)"),
    "circa": Baseline(
        score=circa.score, about="regression on causes, descendant adjustment (KDD 2022)"
    ),
    "rcd": Baseline(score=rcd.score, about="dependence on the failure (NeurIPS 2022)"),
    "epsilon_diagnosis": Baseline(
        score=epsilon.score, about="correlation of before and after (WWW 2019, PyRCA)"
    ),
    "anomaly_traversal": Baseline(
        score=graphwalks.traversal, about="abnormal without abnormal callees (PetShop)"
    ),
    "alarm_walk": Baseline(
        score=graphwalks.random_walk, about="walk on the abnormal subgraph (PyRCA, MicroRCA)"
    ),
    "ranked_correlation": Baseline(
        score=graphwalks.ranked_correlation, about="correlation with the alarm (PetShop)"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One who is measured."""

    name: str
    side: Side
    about: str
    _ranker: Ranker | None
    _score: Callable[[Case], EntityScores]

    def conclude(self, case: Case) -> EntityId | None:
        """Who it is, as the pipeline asks: a ranker concludes with evidence, others score."""
        if self._ranker is None:
            ordered = self._score(case).ordered()
            return ordered[0][0] if ordered else None
        ranked = self._ranker.rank(case).ranked
        return ranked[0].entity if ranked else None

    def answer(self, case: Case, clock: Clock) -> Answer:
        """Rank a case. Of a ranker the time is that of its conclusion with evidence."""
        began = clock.monotonic()
        cause = self._ranker.rank(case) if self._ranker is not None else None
        scores = None if self._ranker is not None else self._score(case)
        seconds = clock.monotonic() - began
        scores = scores if scores is not None else self._score(case)
        return Answer(order=tuple(scores.ordered()), cause=cause, seconds=seconds)


def ranker(name: str) -> Contender:
    """The product's ranker of that name, with its default settings.

    Raises:
        ConfigError: There is none.
    """
    plugin = plugins.load(ROOM, name)
    built: Ranker = plugin.build(plugin.config())
    return Contender(name=name, side=Side.RANKER, about="DOS", _ranker=built, _score=built.score)


def baseline(name: str) -> Contender:
    """The published method of that name.

    Raises:
        ConfigError: There is none.
    """
    if name not in BASELINES:
        msg = f"There is no baseline {name!r}."
        raise ConfigError(msg, remedy=f"Use one of: {', '.join(BASELINES)}.")
    found = BASELINES[name]
    return Contender(
        name=name, side=Side.BASELINE, about=found.about, _ranker=None, _score=found.score
    )


def contender(side: Side, name: str) -> Contender:
    """Who has that name on that side.

    Raises:
        ConfigError: Nobody.
    """
    return ranker(name) if side is Side.RANKER else baseline(name)


def rankers() -> list[str]:
    """Names of the product's rankers."""
    return plugins.names(ROOM)
