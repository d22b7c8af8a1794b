"""Blast radius and severity on a small shop: gateway → checkout → payment → db, and cart."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dos.impact.assess import assess
from dos.impact.base import ImpactConfig
from dos.kit.clock import Millis
from dos.model.anomaly import Anomaly, Direction
from dos.model.entity import Entity, EntityKind
from dos.model.graph import Edge, GraphSnapshot
from dos.model.ids import AnomalyId, EntityId, SeriesId
from dos.model.impact import Impact, Severity
from dos.model.telemetry import Role

NAMES = ("cart", "checkout", "db", "gateway", "idle1", "idle2", "idle3", "payment")
CALLS = (("cart", "db"), ("checkout", "payment"), ("gateway", "checkout"), ("payment", "db"))


def graph(calls: tuple[tuple[str, str], ...] = CALLS) -> GraphSnapshot:
    kinds = {"gateway": EntityKind.GATEWAY, "db": EntityKind.DATABASE}
    return GraphSnapshot(
        version=1,
        entities=tuple(
            Entity(id=EntityId(name), kind=kinds.get(name, EntityKind.SERVICE)) for name in NAMES
        ),
        edges=tuple(Edge(caller=EntityId(a), callee=EntityId(b)) for a, b in calls),
    )


def anomaly(
    entity: str,
    role: Role = Role.LATENCY,
    direction: Direction = Direction.ABOVE,
    observed: float = 0.9,
) -> Anomaly:
    return Anomaly(
        id=AnomalyId(f"{entity}-{role}"),
        series_id=SeriesId(0),
        entity=EntityId(entity),
        metric=role.value,
        role=role,
        started_at=Millis(0),
        decided_at=Millis(0),
        direction=direction,
        deviation=9.0,
        score=0.9,
        observed=observed,
        expected=0.1,
        lower=0.0,
        upper=0.2,
        detector="test",
    )


def judged(
    abnormal: tuple[str, ...],
    root: str | None,
    *anomalies: Anomaly,
    config: ImpactConfig | None = None,
    system: GraphSnapshot | None = None,
) -> Impact:
    return assess(
        [EntityId(one) for one in abnormal],
        EntityId(root) if root else None,
        system or graph(),
        config or ImpactConfig(),
        anomalies,
    )


def test_the_blast_radius_is_the_abnormal_and_all_their_dependents() -> None:
    impact = judged(("payment", "db"), "db")
    assert [(one.entity, one.abnormal, one.distance) for one in impact.affected] == [
        ("db", True, 0),
        ("payment", True, 1),
        ("cart", False, 1),
        ("checkout", False, 2),
        ("gateway", False, 3),
    ]
    assert impact.score == pytest.approx((2 + 3 * 0.25) / 8)
    assert impact.entry_points == ("cart", "gateway")
    assert impact.reasons[:2] == (
        "2 of 8 entities are abnormal and 3 more depend on them: 34% of the business weight.",
        "Users come in through cart, gateway, still normal.",
    )
    assert impact.severity is Severity.SEV2


def test_users_who_feel_it_make_it_one_level_worse() -> None:
    quiet = judged(("checkout",), "checkout", anomaly("checkout"))
    assert quiet.severity is Severity.SEV3
    felt = judged(("checkout", "gateway"), "checkout", anomaly("checkout"), anomaly("gateway"))
    assert felt.severity is Severity.SEV2
    assert felt.reasons[1] == (
        "Users feel it: gateway, where they come in, has latency at 0.9 against 0.1 expected "
        "(9.0 times)."
    )


def test_a_large_share_felt_by_users_is_the_worst() -> None:
    abnormal = ("db", "payment", "gateway")
    assert judged(abnormal, "db", anomaly("gateway")).severity is Severity.SEV1


def test_a_small_share_felt_by_users_is_still_severe() -> None:
    config = ImpactConfig(weights={"gateway": 0.1})
    impact = judged(("gateway",), "gateway", anomaly("gateway", Role.ERRORS), config=config)
    assert impact.score < 0.1
    assert impact.severity is Severity.SEV2


def test_what_users_do_not_feel_is_never_severe() -> None:
    abnormal = ("db", "payment", "checkout", "gateway", "cart")
    signs = [anomaly(one, Role.SATURATION) for one in abnormal]
    impact = judged(abnormal, "db", *signs)
    assert impact.severity is Severity.SEV3
    assert "among the 5 abnormal series: users do not feel it yet" in impact.reasons[1]


@pytest.mark.parametrize(
    ("role", "direction", "severity"),
    [
        (Role.LATENCY, Direction.BELOW, Severity.SEV3),
        (Role.ERRORS, Direction.ABOVE, Severity.SEV2),
        (Role.AVAILABILITY, Direction.ABOVE, Severity.SEV3),
        (Role.AVAILABILITY, Direction.BELOW, Severity.SEV2),
    ],
)
def test_only_the_bad_side_of_a_golden_signal_is_felt(
    role: Role, direction: Direction, severity: Severity
) -> None:
    sign = anomaly("gateway", role, direction)
    assert judged(("gateway",), "gateway", sign).severity is severity


def test_weights_decide_what_counts() -> None:
    heavy = ImpactConfig(weights={"db": 20.0})
    assert judged(("idle1",), None, config=heavy).severity is Severity.SEV4
    assert judged(("db",), None, config=heavy).severity is Severity.SEV1
    nothing = ImpactConfig(default_weight=0.0)
    assert judged(("db",), None, config=nothing).score == 0.0


def test_configured_entry_points_count() -> None:
    config = ImpactConfig(entry_points=("idle1",))
    impact = judged(("idle1",), "idle1", anomaly("idle1"), config=config)
    assert impact.entry_points == ("idle1",)
    assert impact.severity is Severity.SEV2


def test_without_a_graph_the_abnormal_are_all_there_is() -> None:
    impact = judged(("a", "b"), "a", system=GraphSnapshot())
    assert [one.entity for one in impact.affected] == ["a", "b"]
    assert impact.score == 1.0
    assert impact.entry_points == ()


def test_nothing_abnormal_affects_nobody() -> None:
    impact = judged((), None)
    assert impact.affected == ()
    assert (impact.score, impact.severity) == (0.0, Severity.SEV4)


def test_cycles_and_unconnected_entities_end() -> None:
    system = graph((("cart", "db"), ("db", "cart"), ("db", "payment"), ("payment", "db")))
    impact = judged(("db", "idle1"), "db", system=system)
    found = {one.entity: one.distance for one in impact.affected}
    assert found == {"db": 0, "cart": 1, "payment": 1, "idle1": 8}


def test_what_the_root_calls_has_a_distance_too() -> None:
    impact = judged(("payment", "db"), "payment")
    assert {one.entity: one.distance for one in impact.affected if one.abnormal} == {
        "payment": 0,
        "db": 1,
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"weights": {"db": -1}},
        {"weights": {"db": float("nan")}},
        {"default_weight": float("inf")},
        {"severity": {"sev1": 0.2, "sev2": 0.5}},
        {"severity": {"rules": [{"measure": "score", "at_least": -1, "severity": "sev1"}]}},
        {"users_per_request": {"web": -1}},
        {"revenue_per_request": {"web": float("inf")}},
        {"burn_rates": [{"long": "5m", "short": "1h", "rate": 2}]},
        {"at_risk": 2},
    ],
)
def test_a_wrong_configuration_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ImpactConfig.model_validate(wrong)
