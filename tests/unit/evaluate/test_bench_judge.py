"""What a contender's incidents are worth, given the truth."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dos.app.matching import GRACE
from dos.evaluate.bench.judge import CHARGED, Told, events, judge, place_of
from dos.evaluate.bench.outcome import Found, Missed, Raised, Ranking
from dos.kit.clock import SECOND, Millis
from dos.model.ids import EntityId
from dos.simulate.engine import Truth
from dos.simulate.faults import FaultType

START = Millis(1_000_000)


def at(seconds: float) -> Millis:
    return Millis(START + round(seconds * SECOND))


def truth(
    name: str,
    start: float,
    end: float | None,
    target: str,
    *affected: str,
    kind: FaultType = FaultType.CPU_SPIKE,
    harmless: bool = False,
) -> Truth:
    return Truth(
        id=name,
        fault=kind,
        target=EntityId(target),
        severity=0.8,
        start=at(start),
        end=None if end is None else at(end),
        affected=tuple(EntityId(one) for one in (target, *affected)),
        causes=(EntityId(target),),
        harmless=harmless,
        visible_at=at(start + 1),
    )


def ranking(*names: str, unknown: float | None = 0.1) -> Ranking:
    order = tuple((EntityId(name), 1.0 / place) for place, name in enumerate(names, 1))
    return Ranking(order=order, probability=0.6 if names else None, unknown=unknown)


def raised(name: str, opened: float, *entities: str, until: float | None = None) -> Raised:
    return Raised(
        id=name,
        opened_at=at(opened),
        resolved_at=None if until is None else at(until),
        entities=tuple(EntityId(one) for one in entities),
        told=ranking(*entities),
        last=ranking(*reversed(entities)),
        paged=True,
    )


class TestPlace:
    def test_of_the_cause(self) -> None:
        order = ranking("a", "b", "c")
        assert [place_of([EntityId(one)], order) for one in "abcd"] == [1, 2, 3, None]

    def test_ties_stand_at_their_worst(self) -> None:
        tied = Ranking(order=tuple((EntityId(one), 1.0) for one in "abc"))
        assert place_of([EntityId("a")], tied) == 3

    def test_the_best_of_several_causes_counts_and_they_do_not_hinder_each_other(self) -> None:
        tied = Ranking(order=tuple((EntityId(one), 1.0) for one in "abc"))
        assert place_of([EntityId("b"), EntityId("c")], tied) == 2
        assert place_of([EntityId("a"), EntityId("b"), EntityId("c")], tied) == 1
        assert place_of([EntityId("z"), EntityId("c")], ranking("a", "b", "c")) == 3

    def test_nothing_ranked_is_no_place(self) -> None:
        assert place_of([EntityId("a")], Ranking()) is None


def test_a_found_fault_says_how_soon_and_with_which_cause() -> None:
    truths = [truth("f", 100, 200, "db", "web")]
    told = Told(raised=[raised("i", 130, "web", "db", until=260)], alerts=3)
    result = judge(truths, told, START)
    assert result.outcomes == (
        Found(delay=30.0, place_told=2, place=1, resolved=160.0, duplicates=0),
    )
    assert (result.incidents, result.pages, result.alerts, result.open_at_end) == (1, 1, 3, 0)
    assert result.false == ()


def test_further_incidents_are_duplicates_and_not_false() -> None:
    truths = [truth("f", 100, 200, "db", "web")]
    told = Told(
        raised=[raised("a", 110, "db"), raised("b", 120, "web"), raised("c", 130, "db")], alerts=0
    )
    result = judge(truths, told, START)
    (outcome,) = result.outcomes
    assert isinstance(outcome, Found)
    assert outcome.duplicates == 2
    assert result.false == ()
    assert result.open_at_end == 3
    assert len(result.claims) == 3


def test_an_incident_about_a_harmless_event_is_false_and_says_so() -> None:
    truths = [truth("h", 100, 200, "db", kind=FaultType.BATCH_JOB, harmless=True)]
    result = judge(truths, Told(raised=[raised("i", 120, "db")], alerts=1), START)
    assert result.outcomes == ()
    (wrong,) = result.false
    assert (wrong.at, wrong.during, wrong.charged) == (120.0, *[FaultType.BATCH_JOB] * 2)
    # Elsewhere at the same time it is false too, but not for that reason.
    result = judge(truths, Told(raised=[raised("i", 120, "cache")], alerts=1), START)
    assert result.false[0].during is None


def test_a_real_fault_goes_before_a_harmless_event() -> None:
    truths = [
        truth("h", 100, 200, "db", kind=FaultType.BATCH_JOB, harmless=True),
        truth("f", 90, 200, "db"),
    ]
    result = judge(truths, Told(raised=[raised("i", 120, "db")], alerts=1), START)
    assert isinstance(result.outcomes[0], Found)
    assert result.false == ()


@pytest.mark.parametrize(
    ("opened", "charged"),
    [
        (50.0, None),
        (150.0, FaultType.CPU_SPIKE),
        (200.0 + CHARGED / SECOND, FaultType.CPU_SPIKE),
        (201.0 + CHARGED / SECOND, None),
    ],
)
def test_a_false_incident_is_charged_to_what_began_last(
    opened: float, charged: FaultType | None
) -> None:
    truths = [
        truth("old", 10, 20, "db", kind=FaultType.DISK_FULL),
        truth("new", 100, 200, "db"),
    ]
    told = Told(raised=[raised("i", opened, "cache")], alerts=0)
    (wrong,) = judge(truths, told, START).false
    assert wrong.charged is (FaultType.DISK_FULL if opened == 50.0 else charged)


def test_before_the_first_fault_nobody_is_charged() -> None:
    told = Told(raised=[raised("i", 5, "cache")], alerts=0)
    (wrong,) = judge([truth("f", 100, 200, "db")], told, START).false
    assert wrong.charged is None


def test_a_missed_fault_may_have_been_inside_another_incident() -> None:
    truths = [truth("a", 100, 200, "db", "web"), truth("b", 120, 220, "cache", "web")]
    both = raised("i", 110, "db", "web", "cache", until=300)
    result = judge(truths, Told(raised=[both], alerts=0), START)
    assert isinstance(result.outcomes[0], Found)
    assert result.outcomes[1] == Missed(absorbed=True)
    apart = replace(both, entities=(EntityId("db"),))
    result = judge(truths, Told(raised=[apart], alerts=0), START)
    assert result.outcomes[1] == Missed(absorbed=False)
    over = replace(both, resolved_at=at(115))
    result = judge(truths, Told(raised=[over], alerts=0), START)
    assert result.outcomes[1] == Missed(absorbed=False)


def test_claims_are_about_the_final_ranking() -> None:
    truths = [truth("f", 100, 200, "db", "web")]
    result = judge(truths, Told(raised=[raised("i", 110, "web", "db")], alerts=0), START)
    (claim,) = result.claims
    assert (claim.probability, claim.right, claim.unknown, claim.unlisted) == (
        0.6,
        True,
        0.1,
        False,
    )


def test_who_gives_no_probabilities_makes_no_claim() -> None:
    truths = [truth("f", 100, 200, "db")]
    one = replace(raised("i", 110, "db"), last=ranking("db", unknown=None))
    assert judge(truths, Told(raised=[one], alerts=0), START).claims == ()


def test_an_open_verdict_is_a_claim_that_the_cause_is_unknown() -> None:
    truths = [truth("f", 100, 200, "db")]
    one = replace(raised("i", 110, "db"), last=Ranking(unknown=1.0))
    (claim,) = judge(truths, Told(raised=[one], alerts=0), START).claims
    assert (claim.probability, claim.right, claim.unknown, claim.unlisted) == (
        0.0,
        False,
        1.0,
        True,
    )


def test_events_know_their_company() -> None:
    far = 200 + GRACE / SECOND + 1
    truths = [
        truth("a", 100, 150, "db"),
        truth("b", 140, 200, "web"),
        truth("h", 150, 160, "db", kind=FaultType.PLANNED_SURGE, harmless=True),
        truth("c", far, far + 10, "db"),
        truth("d", far + 10 + GRACE / SECOND, None, "db"),
    ]
    faults, harmless = events(truths, START)
    assert [one.alone for one in faults] == [False, False, False, False]
    assert [one.type for one in harmless] == [FaultType.PLANNED_SURGE]
    assert (faults[0].start, faults[0].end, faults[0].visible) == (100.0, 150.0, 101.0)
    assert faults[-1].end is None
    alone, _ = events([truths[0], truths[3]], START)
    assert [one.alone for one in alone] == [True, True]
