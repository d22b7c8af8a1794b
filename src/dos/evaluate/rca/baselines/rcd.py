"""RCD: who changed when the failure did, by conditional independence (Ikram et al., NeurIPS 2022).

*Root Cause Analysis of Failures in Microservices through Causal Discovery*: whether a sample is
from after the start is one more variable, F, and causes of the failure are those that stay
dependent on F whatever is conditioned on. Series are discretised into five bins by 1-d k-means and
tested with Pearson's chi-square. Hierarchical learning (section 4.1) looks for F's neighbours among
five random series at a time and again among those found, localised learning (section 4.2) tests
edges to F only; the few that are left are ordered by the strictness at which they appear.

What differs from the authors' code: chance, which decides much (who is tested first among those
that tell F equally well), is seeded, and scores are means of `_RUNS` runs; tail probabilities are
by Wilson and Hilferty's approximation (1931) and kept as normal deviates, so that small ones do not
vanish; and those that drop out are ranked by how late they do, then by their dependence on F alone.

AC@1/AC@3/Avg@5, metrics only: Sock Shop 0.10/0.50/0.43, Nezha 0.43/0.54/0.57, OpenNetAI part a
0.15/0.39/0.38, PetShop 0.00/0.31/0.28. PyRCA's 1.0.1, of every other case of Sock Shop:
0.36/0.36/0.36; most series of that set tell the two halves apart, and chance decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from statistics import NormalDist

import numpy as np

from dos.evaluate.rca.baselines.table import table_of
from dos.model.telemetry import Float64Array, Int64Array
from dos.rca.base import EntityScores
from dos.rca.case import Case

_BINS = 5
_CHUNK = 5
_FIRST_ALPHA = 0.001
_LOCAL_ALPHA = 0.01
_ALPHA_STEP = 0.1
_ROUNDS = 30
_RUNS = 5


def score(case: Case) -> EntityScores:
    """How early any series of each entity appears, on average."""
    table = table_of(case).filled()
    if not table.column:
        return table.scores(np.zeros(0))
    tests = _Tests(
        _binned(np.concatenate([table.normal, table.abnormal])),
        np.repeat([0, 1], [len(table.normal), len(table.abnormal)]),
    )
    return table.scores(np.mean([_found(tests, seed) for seed in range(_RUNS)], axis=0))


def _found(tests: _Tests, seed: int) -> Float64Array:
    """`[column]` how late each drops out of one run, 1 for the last; below 0 for no dependence."""
    rng = np.random.default_rng(seed)
    left, level = list(range(tests.columns)), 0.0
    alone = np.array([tests.dependence(one, ()) for one in left])
    alone = alone / (1.0 + np.abs(alone))
    found = alone.copy()
    while len(left) > _CHUNK:
        before = len(left)
        order = rng.permutation(left).tolist()
        chunks = [order[at : at + _CHUNK] for at in range(0, before, _CHUNK)]
        left = [one for chunk in chunks for one in tests.any_neighbours(chunk, rng)]
        level += 2.0
        found[left] = level + alone[left]
        if len(left) == before:
            break
    for place, one in enumerate(reversed(tests.ordered(left, rng))):
        found[one] = level + 2.0 + place
    drops: Float64Array = found / max(float(found.max()), 1.0)
    return drops


def _binned(values: Float64Array) -> Int64Array:
    """`[time, column]` bin of each value, by 1-d k-means from evenly spaced centres."""
    least, most = values.min(axis=0), values.max(axis=0)
    # Between 0 and 1: a square of a value of any size stays a number.
    size = np.where(most > least, most - least, 1.0)
    scaled = (values - least) / size
    middle = (np.arange(_BINS) + 0.5) / _BINS
    centres = np.repeat(middle[:, None], values.shape[1], axis=1)
    bins = np.zeros(values.shape, np.int64)
    for _ in range(_ROUNDS):
        edges = (centres[1:] + centres[:-1]) / 2
        now = (scaled[None] > edges[:, None]).sum(axis=0)
        if np.array_equal(now, bins):
            break
        bins = now
        for place in range(_BINS):
            mine = bins == place
            count = mine.sum(axis=0)
            total = np.where(mine, scaled, 0.0).sum(axis=0)
            # A centre that has nobody stays where it is.
            centres[place] = np.where(count > 0, total / np.maximum(count, 1), centres[place])
    return bins


class _Tests:
    """Tests of dependence on F, each made once.

    Args:
        bins: `[time, column]`.
        after: `[time]` 1 from the start on: F.
    """

    def __init__(self, bins: Int64Array, after: Int64Array) -> None:
        self._bins, self._after = np.ascontiguousarray(bins.T), after
        self._known: dict[tuple[int, tuple[int, ...]], float] = {}

    @property
    def columns(self) -> int:
        """How many there are."""
        return len(self._bins)

    def dependence(self, column: int, given: tuple[int, ...]) -> float:
        """Normal deviate of the chi-square test of `column` with F, given other columns."""
        given = tuple(sorted(given))
        key = (column, given)
        if key not in self._known:
            self._known[key] = self._test(column, given)
        return self._known[key]

    def _test(self, column: int, given: tuple[int, ...]) -> float:
        stratum = np.zeros(len(self._after), np.int64)
        for one in given:
            stratum = stratum * _BINS + self._bins[one]
        _, stratum = np.unique(stratum, return_inverse=True)
        strata = int(stratum.max()) + 1
        cell = (stratum * 2 + self._after) * _BINS + self._bins[column]
        seen = np.bincount(cell, minlength=strata * 2 * _BINS).reshape(strata, 2, _BINS)
        rows, columns = seen.sum(axis=2), seen.sum(axis=1)
        expected = rows[:, :, None] * columns[:, None, :] / rows.sum(axis=1)[:, None, None]
        away = np.zeros(expected.shape)
        np.divide((seen - expected) ** 2, expected, out=away, where=expected > 0)
        free = int((((rows > 0).sum(axis=1) - 1) * ((columns > 0).sum(axis=1) - 1)).sum())
        return _deviate(float(away.sum()), free)

    def neighbours(self, among: Sequence[int], alpha: float, rng: np.random.Generator) -> list[int]:
        """Those of `among` that depend on F whatever of the others is given."""
        enough = NormalDist().inv_cdf(1.0 - alpha)
        left, depth = list(among), 0
        while len(left) > depth:
            for one in rng.permutation(left).tolist():
                others = [other for other in left if other != one]
                if any(
                    self.dependence(one, given) < enough for given in combinations(others, depth)
                ):
                    left.remove(one)
            depth += 1
        return left

    def any_neighbours(self, among: Sequence[int], rng: np.random.Generator) -> list[int]:
        """The same at the strictest significance at which there are any."""
        for alpha in _alphas(_LOCAL_ALPHA):
            found = self.neighbours(among, alpha, rng)
            if found:
                return found
        return []

    def ordered(self, among: Sequence[int], rng: np.random.Generator) -> list[int]:
        """Neighbours of F in the order in which they appear as the significance is relaxed."""
        found: list[int] = []
        for alpha in _alphas(_FIRST_ALPHA):
            new = [one for one in self.neighbours(among, alpha, rng) if one not in found]
            found += sorted(new, key=lambda one: -self.dependence(one, ()))
        return found


def _alphas(first: float) -> list[float]:
    return np.arange(first, 1.0, _ALPHA_STEP).tolist()


def _deviate(statistic: float, free: int) -> float:
    """Standard normal deviate with the tail of a chi-square; far below 0 with no freedom."""
    if free == 0:
        return -10.0
    spread = 2.0 / (9.0 * free)
    return float(((statistic / free) ** (1.0 / 3.0) - (1.0 - spread)) / np.sqrt(spread))
