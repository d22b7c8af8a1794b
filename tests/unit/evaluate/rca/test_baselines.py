"""Published methods: what they do to samples, their figures beside the packages', and garbage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dos.evaluate.rca.baselines import baro, circa, epsilon, graphwalks, nsigma, rcd
from dos.evaluate.rca.baselines.table import table_of
from dos.evaluate.rca.contenders import BASELINES
from dos.model.ids import EntityId
from dos.model.telemetry import Role
from dos.rca.base import EntityScores
from dos.rca.case import Case
from tests.unit.evaluate.rca.made import case, graph, latencies


def by_name(scores: EntityScores) -> dict[str, float]:
    return {str(name): score for name, score in scores.ordered()}


def first(scores: EntityScores) -> str:
    return str(scores.ordered()[0][0])


def two_columns(normal: list[float], abnormal: list[float], metric: str, role: Role) -> Case:
    """One column that is told, and one that moves a little."""
    columns = [("a", metric, role), ("b", "cpu", Role.SATURATION)]
    still = np.tile([0.4, 0.6], 40)
    return case(
        columns,
        np.stack([normal, still[: len(normal)]], axis=1),
        np.stack([abnormal, still[: len(abnormal)]], axis=1),
    )


def test_series_that_are_constant_before_or_after_the_start_are_dropped() -> None:
    columns = [(name, "cpu", Role.SATURATION) for name in "abc"]
    normal = np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 2.0]])
    abnormal = np.array([[1.0, 5.0, 1.0], [2.0, 5.0, 3.0]])
    given = case(columns, normal, abnormal)
    assert table_of(given).column == (2,)
    assert table_of(given, constant=True).column == (0, 1, 2)
    # One moment is not constant.
    assert table_of(case(columns, normal, abnormal[:1])).column == (1, 2)


def test_memory_is_in_megabytes_by_its_name_alone() -> None:
    columns = [("a", name, Role.SATURATION) for name in ("mem", "pod_mem", "memory_bytes")]
    values = np.array([[3e6, 3e6, 3e6], [4e6, 4e6, 4e6]])
    table = table_of(case(columns, values, values))
    np.testing.assert_allclose(table.normal[0], [3.0, 3.0, 3e6])


def test_an_alarm_leaves_the_series_of_its_metric() -> None:
    columns = [
        ("a", "latency_mean", Role.LATENCY),
        ("a", "latency_p99", Role.LATENCY),
        ("a", "cpu", Role.SATURATION),
        ("b", "latency_mean", Role.LATENCY),
        ("b", "latency_p99", Role.LATENCY),
    ]
    values = np.array([[1.0] * 5, [2.0] * 5])
    given = case(columns, values, values, target=("a", "latency"))
    assert table_of(given).column == (0, 1, 3, 4)
    assert table_of(given, statistics=False).column == (0, 3)
    unknown = replace(given, target=(EntityId("a"), "queue"))
    assert table_of(unknown).column == (0, 1, 2, 3, 4)


def test_gaps_are_filled_from_both_sides_and_infinity_is_a_gap() -> None:
    columns = [("a", "cpu", Role.SATURATION)]
    normal = np.array([[np.nan], [1.0], [np.inf]])
    table = table_of(case(columns, normal, np.array([[3.0], [np.nan]])), constant=True).filled()
    np.testing.assert_array_equal(table.normal[:, 0], [1.0, 1.0, 1.0])
    np.testing.assert_array_equal(table.abnormal[:, 0], [3.0, 3.0])


def test_scores_are_those_of_the_published_packages() -> None:
    """Greatest values of fse-baro 0.2.2's scalers (scikit-learn's) on the same table."""
    rng = np.random.default_rng(5)
    normal = rng.normal(size=(40, 3)) * [1, 5, 0.2] + [10, 100, 1]
    abnormal = rng.normal(size=(12, 3)) * [1, 5, 0.2] + [13, 90, 1.5]
    given = case([(name, "cpu", Role.SATURATION) for name in "abc"], normal, abnormal)
    theirs = {"a": 3.6962332799, "b": -0.3161227224, "c": 4.0556565863}
    assert by_name(baro.score(given)) == pytest.approx(theirs)
    theirs = {"a": 5.4709324409, "b": -0.4561859323, "c": 6.0955660934}
    assert by_name(nsigma.score(given)) == pytest.approx(theirs)


def test_n_sigma_sees_a_fall_only_where_it_is_absolute() -> None:
    fell = two_columns([9.0, 10.0, 11.0] * 4, [1.0, 2.0], "requests", Role.TRAFFIC)
    assert by_name(nsigma.score(fell))["a"] < -8
    assert by_name(nsigma.absolute(fell))["a"] > 8
    failing = two_columns([0.98, 0.99, 1.0] * 4, [0.5, 0.4], "availability", Role.AVAILABILITY)
    assert by_name(nsigma.score(failing))["a"] > 8
    assert by_name(baro.score(failing))["a"] > 8


def test_n_sigma_counts_a_constant_series_in_its_own_unit() -> None:
    given = two_columns([5.0] * 12, [5.5, 7.0], "cpu", Role.SATURATION)
    assert by_name(nsigma.absolute(given))["a"] == pytest.approx(2.0)
    # Eleven times a tenth is not quite 1.1: a mean off by a rounding is no spread.
    given = two_columns([0.1] * 11, [0.1, 0.3], "cpu", Role.SATURATION)
    assert by_name(nsigma.absolute(given))["a"] == pytest.approx(0.2)


def test_circa_is_as_pyrcas_hypothesis_test_with_descendant_adjustment() -> None:
    """Figures of sfr-pyrca 1.0.1, `HT` without and with adjustment; ours has a small ridge."""
    parents = [[], [0], [1], [1, 2], [0]]
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(220, 5))
    noise[200:, 1] += 6
    values = np.zeros((220, 5))
    for at, mine in enumerate(parents):
        values[:, at] = noise[:, at] + 0.8 * values[:, mine].sum(axis=1)
    given = case(
        [(name, "latency", Role.LATENCY) for name in "abcde"],
        values[:200],
        values[200:],
        calls=[("b", "a"), ("c", "b"), ("d", "b"), ("d", "c"), ("e", "a")],
    )
    ours = by_name(circa.score(given))
    theirs = {"a": 2.617, "b": 12.449, "c": 2.904, "d": 2.445, "e": 3.319}
    assert ours == pytest.approx(theirs, rel=5e-3)


def test_circa_looks_through_children_that_are_well() -> None:
    adjusted = circa._adjusted(np.array([4.0, 1.0, 6.0, 5.0]), [[], [0], [1], []])
    np.testing.assert_allclose(adjusted, [10.0, 1.0, 6.0, 5.0])


def test_traversal_goes_down_from_the_alarm_along_the_abnormal() -> None:
    calls = [("web", "api"), ("api", "db"), ("web", "search"), ("other", "cache")]
    given = latencies(
        {"web": 3.0, "api": 3.0, "db": 2.0, "search": 0.0, "other": 0.0, "cache": 9.0},
        calls=calls,
        target=("web", "latency"),
    )
    order = [str(name) for name, _ in graphwalks.traversal(given).ordered()]
    assert order[0] == "db"
    assert order.index("cache") < order.index("api")
    # Without a graph everybody stands by himself, and so without an alarm does each start.
    assert first(graphwalks.traversal(replace(given, graph=None))) == "cache"


def test_a_walker_ends_where_the_trouble_comes_from() -> None:
    calls = [("web", "api"), ("api", "db"), ("api", "cache")]
    given = latencies({"web": 1.0, "api": 1.2, "db": 4.0, "cache": 0.0}, calls=calls)
    scores = graphwalks.random_walk(given)
    assert first(scores) == "db"
    assert scores.score.sum() == pytest.approx(1.0)


def test_who_moves_as_the_alarm_does_is_correlated() -> None:
    calls = [("web", "api"), ("web", "db")]
    changes = {"web": 2.0, "api": 2.0, "db": 0.0}
    told = by_name(
        graphwalks.ranked_correlation(latencies(changes, calls=calls, target=("web", "latency")))
    )
    assert told["api"] > 0.9 > told["db"]
    assert told["web"] == 0.0
    untold = by_name(graphwalks.ranked_correlation(latencies(changes, calls=calls)))
    assert untold == pytest.approx(told)


def test_epsilon_diagnosis_is_seeded_and_asks_for_the_same_course() -> None:
    rng = np.random.default_rng(2)
    columns = [(name, "cpu", Role.SATURATION) for name in "abc"]
    normal, abnormal = rng.normal(size=(30, 3)), rng.normal(size=(10, 3))
    abnormal[:, 1] = 3 * normal[-10:, 1] + 5
    given = case(columns, normal, abnormal)
    scores = by_name(epsilon.score(given))
    assert max(scores, key=scores.__getitem__) == "b"
    assert scores["b"] > 0
    assert by_name(epsilon.score(given)) == scores


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("calls", [None, [("a", "b"), ("b", "c"), ("c", "a"), ("a", "ghost")]])
def test_garbage_is_ranked_all_the_same(name: str, calls: list[tuple[str, str]] | None) -> None:
    columns = [(one, "latency", Role.LATENCY) for one in "abc"]
    rng = np.random.default_rng(1)
    good = rng.normal(size=(20, 3))
    several = {
        "constant": (np.ones((20, 3)), np.ones((5, 3))),
        "nan": (np.full((20, 3), np.nan), np.full((5, 3), np.nan)),
        "infinite": (np.where(good > 1, np.inf, good), np.full((5, 3), -np.inf)),
        "huge": (good * 1e300, good[:5] * 1e150),
        "large": (good * 1e140, good[:5] * 1e149),
        "tiny": (good * 1e-300, good[:5] * 1e-310),
        "no history": (good[:0], good[:5]),
        "one sample each": (good[:1], good[1:2]),
        "nothing after": (good, good[:0]),
        "empty": (good[:0], good[:0]),
    }
    for what, (normal, abnormal) in several.items():
        for target in (None, ("a", "latency"), ("nobody", None)):
            scores = BASELINES[name].score(
                case(columns, normal, abnormal, calls=calls, target=target)
            )
            assert scores.entities == ("a", "b", "c"), what
            assert np.isfinite(scores.score).all(), what
    nobody = case([], np.zeros((4, 0)), np.zeros((2, 0)))
    assert BASELINES[name].score(nobody).entities == ()
    alone = case(columns[:1], good[:, :1], good[:5, :1] + 9, calls=None)
    assert BASELINES[name].score(alone).entities == ("a",)


def test_the_graph_may_know_more_than_the_case() -> None:
    given = latencies({"api": 3.0, "db": 0.0})
    given = replace(given, graph=graph([("web", "api"), ("api", "db"), ("db", "disk")]))
    for name, one in BASELINES.items():
        assert set(one.score(given).entities) == {"api", "db"}, name


def test_rcd_finds_who_changed_by_himself_and_not_who_follows() -> None:
    """The follower is the cause and noise: given the cause it tells nothing of the failure."""
    rng = np.random.default_rng(4)
    columns = [(name, "cpu", Role.SATURATION) for name in ("cause", "follower", *"pqrs")]
    quiet, loud = rng.normal(size=(400, 6)), rng.normal(size=(400, 6))
    loud[:, 0] += 2.0
    for half in (quiet, loud):
        half[:, 0] = np.round(half[:, 0])
        half[:, 1] = half[:, 0] + 0.8 * half[:, 1]
    scores = by_name(rcd.score(case(columns, quiet, loud)))
    order = sorted(scores, key=lambda name: -scores[name])
    assert order[0] == "cause"
    assert scores["cause"] == pytest.approx(1.0)
    assert max(scores[name] for name in "pqrs") < scores["cause"]


def test_rcds_deviates_are_those_of_the_chi_square_tail() -> None:
    from scipy.stats import chi2, norm

    for free in (1, 4, 16):
        for statistic in (0.5 * free, 2.0 * free, 6.0 * free):
            exact = norm.isf(chi2.sf(statistic, free))
            assert rcd._deviate(statistic, free) == pytest.approx(exact, rel=0.05, abs=0.1)
    assert rcd._deviate(0.0, 0) < -5


def test_rcds_bins_are_those_of_k_means() -> None:
    values = np.concatenate([np.linspace(0, 1, 40), np.linspace(9, 10, 40), [100.0]])[:, None]
    bins = rcd._binned(values)[:, 0]
    assert set(bins[:40]) == {bins[0]}
    assert bins[-1] == 4
    assert (np.diff(bins) >= 0).all()
    assert set(rcd._binned(np.ones((5, 1)))[:, 0].tolist()) == {0}
