"""Places, claims and kinds of fault against the truth."""

from __future__ import annotations

import pytest

from dos.evaluate.cases import Truth
from dos.evaluate.rca.contenders import Answer, Side, baseline, contender, ranker, rankers
from dos.evaluate.rca.judge import (
    Outcome,
    best_place,
    credible,
    judge_recorded,
    judge_simulated,
)
from dos.evaluate.rca.kinds import right_kinds
from dos.kit.clock import ManualClock
from dos.kit.errors import ConfigError
from dos.model.ids import EntityId
from dos.model.rootcause import FaultKind, RootCause
from dos.simulate.faults import FaultType
from dos.simulate.kinds import KINDS
from tests.unit.evaluate.rca.made import cause, latencies


def answer(order: dict[str, float], said: RootCause | None = None) -> Answer:
    pairs = sorted(order.items(), key=lambda pair: (-pair[1], pair[0]))
    return Answer(
        order=tuple((EntityId(name), score) for name, score in pairs), cause=said, seconds=0.5
    )


def recorded(truth: str, said: Answer, fault: str | None = "cpu") -> Outcome:
    told = Truth(entity=EntityId(truth), service=truth, metric=None, fault=fault)
    return judge_recorded("who", "set", "case-001", told, said)


def simulated(faults: list[tuple[str, set[str]]], said: Answer) -> Outcome:
    causes = [(name, frozenset(EntityId(one) for one in mine)) for name, mine in faults]
    known = frozenset(EntityId(one) for one in ("a", "b", "c", "d"))
    return judge_simulated("who", "plain", "7/0", "7", causes, said, known=known)


def test_ties_stand_at_their_worst_place_and_the_unranked_nowhere() -> None:
    order = {"a": 2.0, "b": 1.0, "c": 1.0, "d": 0.0}
    assert recorded("b", answer(order)).place == 3
    assert recorded("x", answer(order)).place is None
    assert recorded("x", answer({})).place is None


def test_a_cause_that_the_case_does_not_know_is_nobodys_fault() -> None:
    found = simulated([("clock_skew", {"node-1"})], answer({"a": 1.0}, cause(("a", 0.3))))
    assert found.hidden
    assert not found.harmful
    assert found.said is not None
    assert not found.said.right
    beside = simulated([("clock_skew", {"node-1"}), ("cpu_spike", {"b"})], answer({"b": 1.0}))
    assert not beside.hidden
    assert beside.faults == ("cpu_spike",)
    assert beside.each == (1,)


def test_a_service_is_right_in_any_of_its_pods() -> None:
    pod = "cart-579f59597d-wc2lz"
    order = answer({"web-579b9bff58-t2dbm": 3.0, pod: 2.0}, cause((pod, 0.8)))
    found = recorded("cart", order)
    assert found.place == 2
    assert found.said is not None
    assert found.said.right


def test_right_entities_do_not_stand_in_each_others_way() -> None:
    order = answer({"a": 3.0, "b": 3.0, "c": 2.0, "d": 2.0}).order
    assert best_place({EntityId("a"), EntityId("b")}, order) == 1
    assert best_place({EntityId("c"), EntityId("d")}, order) == 3
    assert best_place({EntityId("c")}, order) == 4
    assert best_place({EntityId("x")}, order) is None
    assert best_place(set(), order) is None


def test_each_of_two_faults_has_a_place_and_the_case_the_better_one() -> None:
    found = simulated(
        [("cpu_spike", {"a"}), ("packet_loss", {"c"})], answer({"b": 3.0, "a": 2.0, "c": 1.0})
    )
    assert found.each == (2, 3)
    assert found.place == 2
    assert found.harmful
    # Of the other fault is no wrong answer to whether any is found.
    found = simulated([("cpu_spike", {"a"}), ("packet_loss", {"c"})], answer({"c": 3.0, "a": 3.0}))
    assert found.place == 1
    assert found.each == (2, 2)


def test_where_nothing_was_wrong_there_is_no_place() -> None:
    found = simulated([], answer({"a": 1.0}, cause(("a", 0.3))))
    assert (found.place, found.each, found.harmful) == (None, (), False)
    assert found.said is not None
    assert found.said.abstained
    assert not found.said.blames
    assert not found.said.right
    assert found.said.covered  # "none of these" is in the set, and true


def test_a_set_is_the_fewest_that_sum_to_nine_tenths() -> None:
    assert credible(cause(("a", 0.95))) == (("a",), False)
    assert credible(cause(("a", 0.6), ("b", 0.3), ("c", 0.1))) == (("a", "b"), False)
    assert credible(cause(("a", 0.5), ("b", 0.2))) == (("a", "b"), True)
    assert credible(cause()) == ((), True)


@pytest.mark.parametrize(
    ("truth", "covered"),
    [("a", True), ("b", False), ("x", True)],
)
def test_none_of_these_covers_what_is_not_listed(truth: str, covered: bool) -> None:
    said = cause(("a", 0.55), ("b", 0.02))
    found = recorded(truth, answer({"a": 2.0, "b": 1.0}, said)).said
    assert found is not None
    assert found.covered is covered
    assert (found.set_size, found.stated) == (1, 0.9)


def test_a_ranker_that_chooses_its_set_is_held_to_it() -> None:
    said = cause(("a", 0.95), ("b", 0.05), coverage=0.8, likely=("b",))
    found = recorded("b", answer({"a": 2.0, "b": 1.0}, said)).said
    assert found is not None
    assert (found.covered, found.set_size, found.stated) == (True, 1, 0.8)
    found = recorded("a", answer({"a": 2.0, "b": 1.0}, said)).said
    assert found is not None
    assert not found.covered


@pytest.mark.parametrize(
    ("kind", "truth", "right"),
    [
        (FaultKind.CPU, "a", True),
        (FaultKind.DISK, "a", False),
        (None, "a", None),
        (FaultKind.CPU, "b", None),
    ],
)
def test_a_kind_is_judged_where_the_entity_is_right(
    kind: FaultKind | None, truth: str, right: bool | None
) -> None:
    said = cause(("a", 0.95), ("b", 0.05), kind=kind)
    found = recorded(truth, answer({"a": 2.0, "b": 1.0}, said)).said
    assert found is not None
    assert found.kind_right is right


def test_who_names_a_wrong_measurement_blames_nobody() -> None:
    order = {"a": 1.0}
    told = simulated(
        [("metric_corruption", {"a"})],
        answer(order, cause(("a", 0.9), kind=FaultKind.MONITORING)),
    )
    blamed = simulated(
        [("metric_corruption", {"a"})], answer(order, cause(("a", 0.9), kind=FaultKind.CPU))
    )
    assert told.said is not None
    assert blamed.said is not None
    assert (told.said.blames, blamed.said.blames) == (False, True)
    assert (told.said.kind_right, blamed.said.kind_right) == (True, False)


def test_every_fault_that_can_be_injected_has_a_right_kind() -> None:
    harmful = [one for one in FaultType if not KINDS[one].harmless]
    assert all(right_kinds([one.value]) for one in harmful)
    assert not right_kinds([one.value for one in FaultType if KINDS[one].harmless])
    assert right_kinds(["network-delay"]) == {FaultKind.NETWORK}
    assert right_kinds(["availability", "latency"]) == frozenset()


def test_contenders_are_found_by_side_and_name() -> None:
    assert "statistical" in rankers()
    assert contender(Side.RANKER, "deviation").name == "deviation"
    with pytest.raises(ConfigError, match="no baseline 'deviation'"):
        contender(Side.BASELINE, "deviation")
    with pytest.raises(ConfigError, match="no type 'baro'"):
        contender(Side.RANKER, "baro")


def test_a_ranker_concludes_and_a_baseline_only_scores() -> None:
    given = latencies({"a": 4.0, "b": 0.0})
    clock = ManualClock()
    concluded = ranker("statistical").answer(given, clock)
    scored = baseline("baro").answer(given, clock)
    assert concluded.cause is not None
    assert concluded.cause.ranked[0].entity == "a" == concluded.order[0][0]
    assert scored.cause is None
    assert scored.order[0][0] == "a"
    assert ranker("statistical").conclude(given) == baseline("baro").conclude(given) == "a"
