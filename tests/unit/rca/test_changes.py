"""What was changed just before, and how often such changes did harm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dos.kit.clock import MINUTE, SECOND, Millis
from dos.model.change import Change, ChangeKind
from dos.model.ids import ChangeId, EntityId
from dos.rca.case import Case
from dos.rca.harm import PRIOR, PRIOR_WEIGHT, Record, track_record
from dos.testing.rankers import START, STEP, concluded, ranked, story

SLOW = (("payment", "latency_p95", 9.0, 0), ("orders", "latency_p95", 8.0, 0))


def change(
    entity: str | None, before: float, kind: ChangeKind = ChangeKind.DEPLOY, number: int = 0
) -> Change:
    """A change so many seconds before the trouble."""
    return Change(
        id=ChangeId(f"chg-{number}-{entity}-{before}"),
        at=Millis(START - round(before * SECOND)),
        kind=kind,
        entity=None if entity is None else EntityId(entity),
        summary="v2.4.0",
    )


def chance(case: Case, entity: str, **keys: object) -> float:
    cause = concluded("changes", case, **keys)
    return next((one.probability for one in cause.ranked if one.entity == entity), 0.0)


def test_the_probability_is_the_share_of_all_rates() -> None:
    rate = 0.1 / 60.0 * np.exp(-30.0 / 60.0)
    wanted = rate / (rate + 10.0 / 86_400.0)
    case = story(*SLOW, changes=[change("payment", 30.0)])
    cause = concluded("changes", case)
    assert cause.ranked[0].score == pytest.approx(wanted)
    assert cause.ranked[0].probability <= wanted


def test_the_later_change_is_likelier_and_an_old_one_is_none() -> None:
    case = story(*SLOW, changes=[change("payment", 900.0), change("orders", 30.0)])
    assert ranked("changes", case) == ["orders", "payment"]
    assert ranked("changes", story(*SLOW, changes=[change("payment", 2000.0)])) == []


def test_what_nobody_is_harmed_by_is_not_blamed() -> None:
    assert ranked("changes", story(*SLOW, changes=[change("catalogue-db", 30.0)])) == []


def test_a_change_of_a_callee_of_the_ill_may_have_been_it() -> None:
    case = story(("orders", "latency_p95", 8.0, 0), changes=[change("users-db", 30.0)])
    assert ranked("changes", case) == ["users-db"]


def test_changes_of_nothing_in_particular_or_after_it_all_are_passed_over() -> None:
    later = change("payment", -120.0)
    assert ranked("changes", story(*SLOW, changes=[change(None, 30.0), later])) == []


def test_a_kind_that_never_did_harm_is_blamed_less() -> None:
    """Twenty flags of the last half hour, after which all was well, and one before the trouble."""
    before = [change("payment", 1750.0 + 0.1 * i, ChangeKind.FLAG, i) for i in range(20)]
    spared = [change("payment", 60.0, ChangeKind.FLAG, 99)]
    case = story(*SLOW, changes=spared)
    known = story(*SLOW, changes=[*before, *spared])
    keys = {"window": 600.0, "spontaneous": 20.0}
    assert chance(known, "payment", **keys) < 0.8 * chance(case, "payment", **keys)
    text = concluded("changes", known, **keys).ranked[0].evidence[0].text
    assert "0 of 20 earlier ones were followed by trouble, so 3% are taken to do harm" in text


def test_harm_is_what_was_abnormal_after_a_change() -> None:
    harmful, harmless = change("payment", 1500.0), change("payment", 900.0, ChangeKind.CONFIG)
    case = story(changes=[harmful, harmless])
    values = case.values.copy()
    column = next(
        i for i, s in enumerate(case.series) if (s.entity, s.metric) == ("payment", "cpu")
    )
    began = int(np.searchsorted(case.times, harmful.at))
    values[began : began + 15, column] *= 3.0
    case = replace(case, values=values)
    record = track_record(case, until=START - 5 * MINUTE)
    assert record[ChangeKind.DEPLOY] == Record(seen=1, harmful=1)
    assert record[ChangeKind.CONFIG] == Record(seen=1, harmful=0)


def test_samples_that_were_cut_out_as_an_incident_are_harm() -> None:
    made = change("payment", 1500.0)
    case = story(changes=[made])
    kept = (case.times <= made.at) | (case.times > made.at + 10 * MINUTE)
    cut = replace(case, times=case.times[kept], values=case.values[kept])
    record = track_record(cut, until=START - 5 * MINUTE)
    assert record[ChangeKind.DEPLOY] == Record(seen=1, harmful=1)


def test_what_nobody_looked_at_is_not_counted() -> None:
    unseen = [change("payment", 2 * 3600.0), change("nobody", 1500.0), change("payment", 10.0)]
    case = story(changes=unseen)
    assert case.times[0] == START - 120 * STEP
    assert not track_record(case, until=START)


def test_a_rate_goes_from_the_prior_to_what_was_seen() -> None:
    assert Record().rate(ChangeKind.DEPLOY) == pytest.approx(PRIOR[ChangeKind.DEPLOY])
    assert Record(seen=1000, harmful=500).rate(ChangeKind.DEPLOY) == pytest.approx(0.5, abs=0.01)
    half = Record(seen=round(PRIOR_WEIGHT), harmful=0).rate(ChangeKind.FLAG)
    assert half == pytest.approx(PRIOR[ChangeKind.FLAG] / 2)
    assert set(PRIOR) == set(ChangeKind)
