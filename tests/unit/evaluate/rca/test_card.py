"""The score card: shares, paired differences, trust, tables, JSON."""

from __future__ import annotations

import json

import pytest

from dos.evaluate.rca.card import RCA_CARD, RcaCard, Source, card_of, set_card
from dos.evaluate.rca.contenders import Side
from dos.evaluate.rca.judge import Outcome, Said
from dos.evaluate.rca.tables import markdown, summary, tables
from dos.evaluate.rca.trust import MONITORING, NOTHING

CONTENDERS = [
    (Side.RANKER, "ours"),
    (Side.BASELINE, "good"),
    (Side.BASELINE, "bad"),
]


def outcome(who: str, group: str, case: str, *places: int | None, **changed: object) -> Outcome:
    known = [one for one in places if one is not None]
    values: dict[str, object] = {
        "contender": who,
        "group": group,
        "case": case,
        "cluster": case,
        "faults": ("cpu", "disk")[: len(places)],
        "place": min(known) if known else None,
        "each": places,
        "seconds": 0.25,
        "said": None,
    }
    return Outcome(**(values | changed))  # type: ignore[arg-type]


def said(given: float, *, right: bool, **changed: object) -> Said:
    values: dict[str, object] = {
        "given": given,
        "right": right,
        "abstained": False,
        "blames": True,
        "covered": right,
        "stated": 0.9,
        "set_size": 1,
        "kind_right": None,
    }
    return Said(**(values | changed))  # type: ignore[arg-type]


def recorded() -> RcaCard:
    """In set x `ours` is right in all of 20 cases and `good` in 10; in y 5 and 10 of 10 are."""
    found: list[Outcome] = []
    for at in range(20):
        found.append(outcome("ours", "x", f"c{at}", 1))
        found.append(outcome("good", "x", f"c{at}", 1 if at % 2 else 3))
        found.append(outcome("bad", "x", f"c{at}", 6))
    for at in range(10):
        found.append(outcome("ours", "y", f"c{at}", 1 if at % 2 else None))
        found.append(outcome("good", "y", f"c{at}", 1))
        found.append(outcome("bad", "y", f"c{at}", None))
    source = Source(about="x, y", simulated=False, late_s=60.0, planned=30)
    return card_of(found, CONTENDERS, source, complete=True)


def test_shares_count_places_and_the_mean_counts_sets() -> None:
    card = recorded()
    assert (card.cases, card.sets) == (30, ("x", "y"))
    good = card.contenders[1].of("x")
    assert good is not None
    assert good.figures.ac1.value == 0.5
    assert good.figures.ac3.value == 1.0
    assert good.figures.avg5.value == pytest.approx((0.5 + 0.5 + 3) / 5)
    assert good.median_seconds == 0.25
    ours = card.contenders[0]
    assert ours.mean is not None
    assert ours.mean.ac1.value == pytest.approx((1.0 + 0.5) / 2)  # and not 25 of 30
    assert ours.mean.ac1.low is not None
    assert 0.5 < ours.mean.ac1.low < 0.75
    bad = card.contenders[2].of("x")
    assert bad is not None
    assert bad.figures.avg5.value == 0.0


def test_differences_are_paired_and_to_the_best() -> None:
    ours = recorded().contenders[0]
    assert ours.gaps["x"].over == ours.gaps["y"].over == "good"
    assert ours.gaps["x"].ac1.value == 0.5
    assert ours.gaps["y"].ac1.value == -0.5
    assert ours.mean_gap is not None
    assert ours.best_gap is not None
    assert ours.mean_gap.ac1.value == pytest.approx(0.0)
    assert ours.best_gap.ac1.value == pytest.approx(0.0)
    assert recorded().contenders[1].gaps == {}
    # Who does the same as the best on every case is not better by anything, in any draw.
    source = Source(about="x", simulated=False, late_s=0.0, planned=8)
    same = [
        outcome(who, "x", f"c{at}", 1 if at % 3 else 4)
        for who in ("ours", "good")
        for at in range(8)
    ]
    gap = card_of(same, CONTENDERS[:2], source, complete=True).contenders[0].gaps["x"]
    assert (gap.ac1.value, gap.ac1.low, gap.ac1.high) == (0.0, 0.0, 0.0)


def test_two_faults_count_for_both_kinds_and_for_both_in_three() -> None:
    pairs = [
        outcome("ours", "x", "a", 1, 3),
        outcome("ours", "x", "b", 2, 4),
        outcome("ours", "x", "c", 1, None),
        outcome("ours", "x", "d", 1),
    ]
    found = set_card("x", pairs, 0)
    assert found.both_of_two.value == pytest.approx(1 / 3)
    assert found.both_of_two.count == 3
    assert found.faults["cpu"].ac1.value == 0.75
    assert found.faults["cpu"].cases == 4
    assert found.faults["disk"].ac3.value == pytest.approx(1 / 3)
    assert found.figures.ac1.value == 0.75


def test_cases_of_one_voyage_are_drawn_together() -> None:
    def width(clusters: int) -> float:
        cases = [
            outcome("ours", "x", str(at), 1 if at % 4 < 2 else 2, cluster=str(at * clusters // 40))
            for at in range(40)
        ]
        low, high = (
            set_card("x", cases, 0).figures.ac1.low,
            set_card("x", cases, 0).figures.ac1.high,
        )
        assert low is not None
        assert high is not None
        return high - low

    assert width(40) > 0.2
    # Clusters of four hold two of each: their draws all agree, one-case clusters do not.
    assert width(10) == 0.0


def test_claims_are_counted_where_they_are_made() -> None:
    cases = [
        outcome("ours", "x", str(at), 1 if at < 8 else 2, said=said(0.95, right=at < 8))
        for at in range(10)
    ]
    cases.append(
        outcome("ours", "x", "z", None, said=said(0.2, right=False, abstained=True, blames=False))
    )
    cases.append(outcome("ours", "x", "k", 1, said=said(0.5, right=True, kind_right=True)))
    trust = set_card("x", cases, 0).trust
    assert trust is not None
    assert trust.sure.value == pytest.approx(0.8)
    assert trust.sure.count == 10
    assert trust.abstained.value == pytest.approx(1 / 12)
    assert trust.calibration_error.value == pytest.approx((10 * 0.15 + 0.2 + 0.5) / 12)
    assert trust.covered.value == pytest.approx(9 / 12)
    assert (trust.kind.value, trust.kind.count) == (1.0, 1)
    assert set_card("x", [outcome("bad", "x", "a", 1)], 0).trust is None


def test_the_blamed_are_told_apart_by_what_was_wrong() -> None:
    nothing = [
        outcome("ours", "p", str(at), said=said(0.95, right=False, blames=at == 0))
        for at in range(4)
    ]
    wrong = outcome("ours", "p", "m", 1, faults=("metric_corruption",), said=said(0.5, right=True))
    fault = outcome("ours", "p", "f", 1, said=said(0.5, right=True))
    found = {one.what: one for one in set_card("p", [*nothing, wrong, fault], 0).harmless}
    assert found[NOTHING].blamed.value == found[NOTHING].sure.value == 0.25
    assert found[MONITORING].blamed.value == 1.0
    assert found[MONITORING].sure.value == 0.0
    assert set_card("p", [*nothing, fault], 0).figures.cases == 1


def test_a_card_survives_json() -> None:
    card = recorded()
    assert RCA_CARD.validate_json(card.to_json()) == card
    assert json.loads(card.to_json())["schema"] == 1


def test_tables_show_every_set_and_what_is_best() -> None:
    card = recorded()
    assert summary(card) == "30 cases of x, y, start reported 60 s late"
    shown = {one.title: one for one in tables(card, details=True)}
    assert shown["AC@1"].header == ("", "x (20)", "y (10)", "mean")
    assert shown["AC@1"].rows[0][0] == "ours"
    assert [row[1:3] for row in shown["Difference to the best baseline"].rows] == [
        ("x", "good"),
        ("y", "good"),
        ("mean, one baseline", "good"),
        ("mean, each set's best", "the best of each set"),
    ]
    assert shown["AC@1 by fault"].rows[0] == ("x: cpu", "20", "1.00", "0.50", "0.00")
    assert shown["Place of the cause, y"].rows[0] == ("c0", "cpu", "—", "1", "—")
    assert "What the probabilities are worth" not in shown  # nobody gave any
    text = markdown(card)
    assert "| ours | y | good | -0.50 (" in text
    assert all(len(row) == len(one.header) for one in shown.values() for row in one.rows)
