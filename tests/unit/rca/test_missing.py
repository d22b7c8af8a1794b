"""What would tell the leading hypotheses apart, and what a ranking rests on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dos.kit.clock import SECOND, Millis
from dos.kit.plugins import load
from dos.model.change import Change, ChangeKind
from dos.model.ids import ChangeId, EntityId
from dos.model.rootcause import Hypothesis, RootCause
from dos.rca.base import ROOM, Ranker
from dos.rca.case import Case
from dos.rca.missing import Lack, leading, missing, rests_on
from dos.testing.rankers import BEFORE, START, story, strange_cases

GOLDEN = ["latency_p95", "error_ratio", "requests"]


def cause(*chances: tuple[str, float]) -> RootCause:
    return RootCause(
        ranked=tuple(
            Hypothesis(entity=EntityId(name), metric=None, probability=chance, score=chance)
            for name, chance in chances
        ),
        unknown=1.0 - sum(chance for _, chance in chances),
        method="told",
        at=Millis(START + 300 * SECOND),
        onset=START,
    )


CLOSE = cause(("orders", 0.45), ("payment", 0.4), ("frontend", 0.05))


def lacks(case: Case, of: RootCause = CLOSE) -> dict[Lack, str]:
    return {one.lack: one.text for one in missing(case, of)}


def ranker(name: str = "statistical") -> Ranker:
    plugin = load(ROOM, name)
    built: Ranker = plugin.build(plugin.config())
    return built


def test_traces_are_wanted_of_who_calls_others() -> None:
    found = lacks(story(metrics=["latency_p95", "cpu"]))
    assert found[Lack.TRACES].startswith("traces from orders would separate the first two: ")
    assert Lack.TRACES not in lacks(story())
    alone = lacks(story(metrics=["cpu"], calls=None))
    assert alone[Lack.TRACES].startswith("traces from orders and payment would separate the first")


def test_resources_and_symptoms_are_wanted_where_there_are_none() -> None:
    assert lacks(story(metrics=GOLDEN))[Lack.RESOURCES].startswith(
        "processor and memory of orders and payment would separate the first two"
    )
    assert Lack.RESOURCES not in lacks(story(metrics=["cpu"]))
    assert Lack.SYMPTOMS in lacks(story(metrics=["cpu", "self_seconds"]))
    assert Lack.SYMPTOMS not in lacks(story(metrics=["latency_p95"]))


def test_calls_are_wanted_where_none_are_known() -> None:
    assert lacks(story(calls=None))[Lack.GRAPH].startswith("who calls whom is not known")
    partial = story(calls=[("frontend", "orders")])
    assert lacks(partial)[Lack.GRAPH].startswith("nobody is known to call payment")
    assert Lack.GRAPH not in lacks(story())


def test_a_finer_step_is_wanted_where_two_began_within_one() -> None:
    wrong = (("orders", "cpu", 4.0, 0), ("payment", "cpu", 4.0, 0))
    coarse = story(*wrong, step=300 * SECOND)
    said = "with a sample every 300 s nobody can say which of orders and payment was first"
    assert lacks(coarse)[Lack.STEP].startswith(said)
    assert Lack.STEP not in lacks(story(*wrong))
    apart = story(wrong[0], ("payment", "cpu", 4.0, 3), step=300 * SECOND)
    assert Lack.STEP not in lacks(apart)


def test_samples_are_wanted_while_there_are_few() -> None:
    case = story()
    early = replace(case, times=case.times[: BEFORE + 3], values=case.values[: BEFORE + 3])
    assert lacks(early)[Lack.SAMPLES] == (
        "there are only 3 samples since it began; 5 more, in 75 s, would tell a lasting change "
        "from a spike"
    )
    assert Lack.SAMPLES not in lacks(case)


def test_history_is_wanted_where_it_is_short() -> None:
    case = story()
    late = replace(case, times=case.times[105:], values=case.values[105:])
    assert lacks(late)[Lack.HISTORY].startswith("there are only 5 samples of what was normal for ")
    assert Lack.HISTORY not in lacks(case)


def test_changes_and_logs_are_wanted_where_nothing_is_known_of_them() -> None:
    made = Change(id=ChangeId("c"), at=START, kind=ChangeKind.DEPLOY, entity=EntityId("cart"))
    assert Lack.CHANGES in lacks(story())
    assert Lack.CHANGES not in lacks(story(changes=[made]))
    assert Lack.LOGS in lacks(story(metrics=GOLDEN))
    assert Lack.LOGS not in lacks(story())


def test_series_that_fell_silent_are_named() -> None:
    case = story()
    values = case.values.copy()
    mine = [i for i, s in enumerate(case.series) if (s.entity, s.metric) == ("orders", "cpu")]
    values[BEFORE:, mine] = np.nan
    said = "cpu of orders has not been sampled since 00:30:00: its values would separate the first"
    assert lacks(replace(case, values=values))[Lack.SILENCE].startswith(said)
    assert Lack.SILENCE not in lacks(case)


def test_what_is_at_stake_is_the_lesser_side_of_the_doubt() -> None:
    case = story(metrics=GOLDEN)
    assert max(one.stake for one in missing(case, CLOSE)) == pytest.approx(0.45)
    sure = missing(case, cause(("orders", 0.98), ("payment", 0.01)))
    assert max(one.stake for one in sure) == pytest.approx(0.02)
    stakes = [one.stake for one in missing(case, CLOSE)]
    assert stakes == sorted(stakes, reverse=True)


def test_rivals_are_those_within_a_third() -> None:
    assert leading(CLOSE) == ("orders", "payment")
    assert leading(cause(("orders", 0.9), ("payment", 0.05))) == ("orders",)
    assert leading(cause()) == ()


def test_a_ranking_rests_on_the_graph_where_only_calls_tell_two_apart() -> None:
    slow = ("latency_p95", 6.0, 0)
    case = story(("payment", *slow), ("orders", *slow), ("frontend", *slow), metrics=GOLDEN)
    found = {one.without: one for one in rests_on(case, ranker().rank)}
    assert ranker().rank(case).ranked[0].entity == "payment"
    assert "the call graph" in found
    assert found["latency"].leader is None
    assert found["latency"].text == "without latency no cause would stand out"


def test_a_ranking_rests_on_a_change_that_tips_the_scale() -> None:
    change = Change(
        id=ChangeId("c"),
        at=Millis(START - 60 * SECOND),
        kind=ChangeKind.DEPLOY,
        entity=EntityId("catalogue-db"),
    )
    case = story(
        ("payment", "latency_p95", 9.0, 0),
        ("catalogue-db", "latency_p95", 6.0, 0),
        changes=[change],
        metrics=GOLDEN,
    )
    (found,) = [one for one in rests_on(case, ranker().rank) if one.without == "what was changed"]
    assert found.leader == "payment"
    assert found.text.startswith("without what was changed payment would lead, with ")


def test_what_is_clear_rests_on_nothing_alone() -> None:
    case = story(("payment", "cpu", 9.0, 0), ("payment", "latency_p95", 9.0, 0))
    without = {one.without for one in rests_on(case, ranker().rank)}
    assert not without & {"the call graph", "resources", "latency", "log lines"}


@pytest.mark.parametrize("name", sorted(strange_cases()))
def test_strange_cases_are_answered(name: str) -> None:
    case = strange_cases()[name]
    found = missing(case, ranker().rank(case))
    assert all(one.text and 0 <= one.stake <= 1 for one in found)
    rests_on(case, ranker().rank)
