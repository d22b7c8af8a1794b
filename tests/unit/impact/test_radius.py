"""Who is merely asked for less, and who will follow if nothing is done."""

from __future__ import annotations

import pytest

from dos.impact.assess import assess
from dos.impact.base import ImpactConfig
from dos.impact.radius import FOLLOWS, Symptom, risks
from dos.kit.clock import SECOND, Millis
from dos.model.anomaly import Anomaly, Direction
from dos.model.entity import Entity
from dos.model.graph import Edge, GraphSnapshot
from dos.model.ids import AnomalyId, EntityId, SeriesId
from dos.model.impact import Impact, Standing
from dos.model.telemetry import Role

CALLS = (("web", "shop"), ("shop", "pay"), ("shop", "stock"), ("pay", "db"), ("stock", "db"))


def graph(calls: tuple[tuple[str, str], ...] = CALLS) -> GraphSnapshot:
    names = sorted({name for call in calls for name in call})
    return GraphSnapshot(
        entities=tuple(Entity(id=EntityId(name)) for name in names),
        edges=tuple(Edge(caller=EntityId(a), callee=EntityId(b)) for a, b in sorted(calls)),
    )


def sign(
    entity: str,
    role: Role,
    direction: Direction = Direction.ABOVE,
    *,
    observed: float = 40.0,
    started: int = 0,
    metric: str = "",
) -> Anomaly:
    return Anomaly(
        id=AnomalyId(f"{entity}-{role}-{metric}"),
        series_id=SeriesId(0),
        entity=EntityId(entity),
        metric=metric or role.value,
        role=role,
        started_at=Millis(started),
        decided_at=Millis(started),
        direction=direction,
        deviation=9.0 if direction is Direction.ABOVE else -9.0,
        score=0.9,
        observed=observed,
        expected=100.0,
        lower=90.0,
        upper=110.0,
        detector="test",
    )


def judged(
    signs: list[Anomaly],
    root: str | None,
    system: GraphSnapshot | None = None,
    before: Impact | None = None,
    also: tuple[str, ...] = (),
) -> Impact:
    abnormal = list(dict.fromkeys([*(one.entity for one in signs), *map(EntityId, also)]))
    return assess(
        abnormal,
        EntityId(root) if root else None,
        system or graph(),
        ImpactConfig(),
        signs,
        before=before,
    )


def standing(impact: Impact) -> dict[str, Standing | None]:
    return {one.entity: one.standing for one in impact.affected}


LESS = sign("stock", Role.TRAFFIC, Direction.BELOW)
"""stock gets 40 requests instead of 100."""
ILL = sign("shop", Role.ERRORS)


def test_who_only_gets_less_traffic_is_not_abnormal() -> None:
    impact = judged([ILL, LESS], "shop")
    assert standing(impact) == {
        "shop": Standing.ABNORMAL,
        "web": Standing.AT_RISK,
        "stock": Standing.ASKED_LESS,
    }
    assert impact.score == pytest.approx((1 + 0.25) / 5)
    less = next(one for one in impact.affected if one.entity == "stock")
    assert not less.abnormal
    assert less.reason == (
        "stock is asked for less (traffic 40 against 100 expected) and shows nothing else."
    )
    assert less.reason in impact.reasons
    assert impact.reasons[0].startswith("1 of 5 entities is abnormal and 1 more depends on it")


@pytest.mark.parametrize("role", [Role.SATURATION, Role.LATENCY, Role.ERRORS, Role.OTHER])
def test_less_work_and_less_waiting_come_with_less_traffic(role: Role) -> None:
    also = sign("stock", role, Direction.BELOW, metric="cpu_usage")
    assert standing(judged([ILL, LESS, also], "shop"))["stock"] is Standing.ASKED_LESS


@pytest.mark.parametrize(
    "also",
    [
        sign("stock", Role.LATENCY),
        sign("stock", Role.AVAILABILITY, Direction.BELOW),
        sign("stock", Role.TRAFFIC, metric="retries"),
        sign("stock", Role.OTHER, Direction.BELOW, metric="hit_ratio"),
    ],
)
def test_who_shows_anything_bad_besides_is_abnormal(also: Anomaly) -> None:
    assert standing(judged([ILL, LESS, also], "shop"))["stock"] is Standing.ABNORMAL


def test_the_root_is_never_merely_asked_for_less() -> None:
    assert standing(judged([ILL, LESS], "stock"))["stock"] is Standing.ABNORMAL


def test_fewer_users_are_a_trouble() -> None:
    gone = sign("web", Role.TRAFFIC, Direction.BELOW)
    assert standing(judged([gone, LESS], None))["web"] is Standing.ABNORMAL


def test_nobody_asks_less_without_somebody_abnormal_who_does() -> None:
    assert standing(judged([LESS, sign("db", Role.ERRORS)], "db"))["stock"] is Standing.ABNORMAL
    ring = graph((("a", "b"), ("b", "a")))
    both = [sign(one, Role.TRAFFIC, Direction.BELOW) for one in ("a", "b")]
    assert set(standing(judged(both, None, ring)).values()) == {Standing.ABNORMAL}


def test_who_gets_nothing_may_be_down_unless_the_root_is_known() -> None:
    dead = sign("stock", Role.TRAFFIC, Direction.BELOW, observed=1.0)
    assert standing(judged([ILL, dead], None))["stock"] is Standing.ABNORMAL
    assert standing(judged([ILL, dead], "shop"))["stock"] is Standing.ASKED_LESS


def test_who_was_asked_for_less_and_is_normal_again_was_never_abnormal() -> None:
    before = judged([ILL, LESS], "shop")
    later = judged([ILL], "shop", before=before, also=("stock",))
    assert standing(later)["stock"] is Standing.ASKED_LESS
    assert standing(judged([ILL], "shop", also=("stock",)))["stock"] is Standing.ABNORMAL
    assert standing(judged([ILL], "stock", before=before, also=("stock",)))["stock"] is (
        Standing.ABNORMAL
    )


def test_who_was_asked_for_less_stays_so_even_when_it_is_at_risk() -> None:
    """stock gets less from shop, and uses db, which has a trouble of its own."""
    signs = [ILL, sign("db", Role.SATURATION)]
    before = judged([*signs, LESS], "shop")
    assert standing(before)["stock"] is Standing.AT_RISK
    later = judged(signs, "shop", before=before, also=("stock",))
    assert not next(one for one in later.affected if one.entity == "stock").abnormal


def test_trouble_is_passed_on_along_calls_and_less_likely_with_each() -> None:
    found = risks([EntityId("db")], graph(), [sign("db", Role.ERRORS)], Millis(0))
    share, _ = FOLLOWS[Symptom.FAILING]
    assert found[EntityId("pay")].chance == pytest.approx(share)
    both = 1 - (1 - share * share) ** 2
    assert found[EntityId("shop")].chance == pytest.approx(both)
    assert found[EntityId("shop")].through in {"pay", "stock"}
    assert found[EntityId("web")].chance == pytest.approx(both * share)
    assert "and 1 more that may pass trouble on" in found[EntityId("shop")].reason


def test_who_has_stayed_normal_for_long_will_hardly_follow() -> None:
    ill, system = [EntityId("db")], graph()
    signs = [sign("db", Role.LATENCY, started=1000 * SECOND)]
    chances = [
        risks(ill, system, signs, Millis((1000 + wait) * SECOND))[EntityId("pay")].chance
        for wait in (0, 20, 60, 600)
    ]
    share, half = FOLLOWS[Symptom.SLOW]
    assert chances[0] == pytest.approx(share)
    assert half == 20.0
    # Of 100 callers `share` follow, half of them within 20 s: of those still normal then so many.
    assert chances[1] == pytest.approx(share / 2 / (1 - share / 2))
    assert chances == sorted(chances, reverse=True)
    assert chances[3] < 0.001


def test_the_forecast_is_said_and_counted() -> None:
    impact = judged([sign("db", Role.ERRORS)], "db")
    likely = [one for one in impact.affected if one.risk is not None and one.risk >= 0.5]
    assert {one.entity for one in likely} == {"pay", "stock", "shop"} - {
        one.entity for one in impact.affected if (one.risk or 0.0) < 0.5
    }
    assert any(one.startswith("If nothing is done, ") for one in impact.reasons)
    assert impact.predicted is not None
    expected = (1 + sum(one.risk or 0.0 for one in impact.affected)) / 5
    assert impact.predicted == pytest.approx(expected, abs=1e-3)


def test_a_cycle_at_risk_ends() -> None:
    system = graph((("a", "db"), ("a", "b"), ("b", "a"), ("c", "c")))
    found = risks([EntityId("db")], system, [], None)
    assert set(found) == {"a", "b"}
    assert all(0.0 < one.chance < 1.0 for one in found.values())
