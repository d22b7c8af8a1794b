"""The whole impact: totals, rules of severity, what is carried over, and what old stores hold."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from pydantic import TypeAdapter

import dos
from dos.impact import analyzer
from dos.impact.analyzer import ImpactAnalyzer
from dos.impact.base import ImpactConfig
from dos.impact.signals import Telemetry
from dos.model.entity import Entity, EntityKind
from dos.model.graph import Edge, GraphSnapshot
from dos.model.ids import EntityId
from dos.model.impact import Impact, Severity
from dos.model.telemetry import Float64Array, Role, SeriesSpec
from tests.unit.impact.builders import BASELINE, ERRORS, P50, P95, RATE, after, telemetry
from tests.unit.impact.test_radius import sign

STORED: TypeAdapter[Impact] = TypeAdapter(Impact)


def graph(calls: tuple[tuple[str, str], ...] = (("web", "shop"), ("shop", "db"))) -> GraphSnapshot:
    names = sorted({name for call in calls for name in call} | {f"idle{i}" for i in range(20)})
    return GraphSnapshot(
        entities=tuple(Entity(id=EntityId(name)) for name in names),
        edges=tuple(Edge(caller=EntityId(a), callee=EntityId(b)) for a, b in sorted(calls)),
    )


def failing(share: float, **also: Float64Array | float) -> Telemetry:
    return telemetry({RATE: 100.0, ERRORS: after(0.001, share), **also})  # type: ignore[dict-item]


def impact_of(known: Telemetry | None, **sections: object) -> Impact:
    config = ImpactConfig.model_validate(sections)
    return ImpactAnalyzer(config).assess([EntityId("db")], EntityId("db"), graph(), telemetry=known)


def test_the_class_is_public_and_its_example_runs() -> None:
    assert dos.ImpactAnalyzer is ImpactAnalyzer
    assert doctest.testmod(analyzer, raise_on_error=True).attempted > 10


@pytest.mark.parametrize(
    ("share", "severity"),
    [(0.001, Severity.SEV4), (0.02, Severity.SEV4), (0.1, Severity.SEV2), (0.7, Severity.SEV1)],
)
def test_the_share_of_requests_that_fail_raises_the_severity(
    share: float, severity: Severity
) -> None:
    found = impact_of(failing(share))
    assert found.severity is severity
    by_rule = [one for one in found.reasons if "by the rule" in one]
    assert bool(by_rule) is (severity is not Severity.SEV4)


def test_rules_are_those_of_the_configuration() -> None:
    rule = {"measure": "revenue", "at_least": 1000, "severity": "sev1"}
    money = {"default_revenue_per_request": 1.0, "currency": "EUR", "severity": {"rules": [rule]}}
    assert impact_of(failing(0.02), **money).severity is Severity.SEV1
    assert impact_of(failing(0.005), **money).severity is Severity.SEV4
    found = impact_of(failing(0.02), **money)
    assert found.revenue is not None
    low = f"{found.revenue.low:,.0f}"
    said = f"At least {low} EUR was lost: sev1 at least by the rule for revenue of 1000 or more."
    assert said in found.reasons


def test_a_rule_never_makes_it_less_severe() -> None:
    rule = {"measure": "failed_share", "at_least": 0.01, "severity": "sev4"}
    worse = {"weights": {"db": 100.0}, "severity": {"rules": [rule]}}
    assert impact_of(failing(0.5), **worse).severity is Severity.SEV1


def test_budgets_that_burn_make_it_severe_and_say_so() -> None:
    slo = {"entity": "web", "objective": 0.999, "name": "checkout"}
    strict = {"entity": "web", "objective": 0.9999}
    assert impact_of(failing(0.04)).severity is Severity.SEV4
    assert impact_of(failing(0.04), slos=[strict]).severity is Severity.SEV2
    found = impact_of(failing(0.3), slos=[slo], severity={"rules": [
        {"measure": "burn_rate", "at_least": 14.4, "severity": "sev2"}]})  # fmt: skip
    assert found.severity is Severity.SEV2
    said = next(one for one in found.reasons if one.startswith("checkout:"))
    assert said == (
        "checkout: the error budget burns 50.8 times as fast as it may over 1h (limit 14.4); "
        "7.1% of it for 30 days is used up, 6.9% by this incident; "
        "at this rate nothing is left in 2.23 h."
    )


def test_objectives_of_others_have_nothing_to_do_with_it() -> None:
    found = impact_of(failing(0.5), slos=[{"entity": "idle1", "objective": 0.999}])
    assert found.slos == ()


def test_what_users_met_is_said_with_the_interval() -> None:
    found = impact_of(failing(0.1), default_users_per_request=0.5)
    assert found.failed is not None
    assert found.users is not None
    low, high = f"{found.failed.low:,.0f}", f"{found.failed.high:,.0f}"
    said = f"Of 60,000 requests of users since then 5,940 ({low} to {high}) failed because of it"
    assert any(one.startswith(said) for one in found.reasons), found.reasons
    calm = impact_of(failing(0.001))
    said = "Of 60,000 requests of users since then no more failed than usual."
    assert said in calm.reasons


def test_the_same_requests_at_two_entry_points_count_once() -> None:
    system = GraphSnapshot(
        entities=(
            Entity(id=EntityId("shop"), kind=EntityKind.GATEWAY),
            Entity(id=EntityId("web"), kind=EntityKind.GATEWAY),
        ),
        edges=(Edge(caller=EntityId("web"), callee=EntityId("shop")),),
    )
    table: dict[SeriesSpec, Float64Array | float] = {}
    for name in ("web", "shop"):
        for one, value in ((RATE, 100.0), (ERRORS, after(0.0, 0.1))):
            spec = SeriesSpec(
                entity=EntityId(name), metric=one.metric, role=one.role, unit=one.unit
            )
            table[spec] = value
    known = telemetry(table)
    found = ImpactAnalyzer().assess([EntityId("shop")], None, system, telemetry=known)
    assert {one.entity: one.counted for one in found.entries} == {"shop": False, "web": True}
    assert found.failed == next(one for one in found.entries if one.entity == "web").failed
    ring = GraphSnapshot(
        entities=system.entities,
        edges=(Edge(caller=EntityId("shop"), callee=EntityId("web")), *system.edges),
    )
    found = ImpactAnalyzer().assess([EntityId("shop")], None, ring, telemetry=known)
    assert [one.counted for one in found.entries].count(True) == 1


def test_what_is_not_known_is_said_with_why() -> None:
    assert impact_of(None).unknown == ("There were no samples to count requests by.",)
    assert impact_of(telemetry({})).unknown == ("web: no series says how many requests there are.",)
    alone = ImpactAnalyzer().assess([EntityId("x")], None, GraphSnapshot(), telemetry=failing(0.1))
    assert alone.unknown == (
        "No place where users come in depends on it, as far as the graph is known.",
    )
    assert alone.failed is None


def test_the_final_tally_counts_anew_and_keeps_the_verdict() -> None:
    whole = failing(0.1)
    half = BASELINE + 20
    so_far = Telemetry(
        times=whole.times[:half],
        values=whole.values[:half],
        series=whole.series,
        start=whole.start,
        end=whole.times[half - 1],
    )
    subject = ImpactAnalyzer(ImpactConfig())
    ill = [EntityId("db")]
    open_ = subject.assess(ill, ill[0], graph(), [sign("db", Role.ERRORS)], telemetry=so_far)
    final = subject.tally(open_, graph(), telemetry=whole)
    assert open_.failed is not None
    assert final.failed is not None
    assert final.failed.value == pytest.approx(2 * open_.failed.value, rel=0.01)
    assert (final.severity, final.affected) == (open_.severity, open_.affected)
    counts = [one for one in final.reasons if one.startswith("Of ")]
    assert len(counts) == 1
    assert counts[0].startswith("Of 60,000 requests")
    assert final.is_clearly_worse(impact_of(None))
    assert not final.is_clearly_worse(final)
    assert not open_.is_clearly_worse(final)


def test_counts_are_kept_when_their_samples_are_gone() -> None:
    subject = ImpactAnalyzer()
    before = impact_of(failing(0.1))
    gone = telemetry({RATE: after(np.nan, 100.0), ERRORS: 0.1})
    for found in (
        subject.tally(before, graph(), telemetry=gone),
        subject.assess([EntityId("db")], None, graph(), telemetry=gone, before=before),
    ):
        assert found.failed == before.failed
        assert found.unknown[-1].startswith("The samples of its beginning are gone")
        assert any(one.startswith("Of 60,000 requests") for one in found.reasons)


def test_the_same_input_gives_the_same_bytes_and_a_store_gives_them_back() -> None:
    known = failing(0.1)
    slo = {"entity": "web", "objective": 0.999}
    first, again = (impact_of(known, slos=[slo], default_users_per_request=1) for _ in range(2))
    stored = STORED.dump_json(first)
    assert stored == STORED.dump_json(again)
    assert STORED.validate_json(stored) == first


def test_impacts_stored_by_earlier_versions_load() -> None:
    old = (
        b'{"severity":"sev2","score":0.25,"affected":[{"entity":"db","abnormal":true,'
        b'"distance":0,"weight":1.0}],"entry_points":["web"],"reasons":["why"]}'
    )
    found = STORED.validate_json(old)
    assert found.severity is Severity.SEV2
    assert (found.affected[0].standing, found.affected[0].risk) == (None, None)
    assert (found.predicted, found.failed, found.entries, found.slos) == (None, None, (), ())
    tallied = ImpactAnalyzer().tally(found, graph(), telemetry=failing(0.1))
    assert tallied.failed is not None
    assert ImpactAnalyzer().assess([EntityId("db")], None, graph(), before=found).affected


def test_latency_alone_says_slow_not_failed() -> None:
    found = impact_of(telemetry({RATE: 100.0, P50: after(0.1, 0.4), P95: after(0.3, 1.2)}))
    assert found.failed is None
    assert found.slowed is not None
    assert any("were slow because of it" in one for one in found.reasons)
