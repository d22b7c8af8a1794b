"""What is an incident by itself, and what needs company."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dos.incidents.config import IncidentsConfig
from dos.incidents.corroborate import evidence_of, keeps_open, signal_of, strength_of
from dos.model.anomaly import Anomaly, Direction
from dos.model.telemetry import Role
from tests.unit.incidents.timeline import anomaly, at

CONFIG = IncidentsConfig()


def evidence(*anomalies: Anomaly, after: float = 300) -> float:
    return evidence_of(anomalies, CONFIG, at(after))


def holds(*anomalies: Anomaly, after: float = 300) -> bool:
    return evidence(*anomalies, after=after) >= 1


def test_of_two_signals_the_weaker_counts() -> None:
    pair = anomaly("cart", 0, Role.LATENCY, strength=1.2), anomaly("db", 0, Role.ERRORS, strength=5)
    assert evidence(*pair, after=0) == pytest.approx(1.2)


def test_evidence_of_one_signal_grows_until_its_strength_is_reached() -> None:
    lone = anomaly("cart", 0, Role.ERRORS, strength=4)
    said = [evidence(lone, after=seconds) for seconds in (0, 15, 30, 60, 600)]
    assert said == pytest.approx([0, 0.5, 1.0, 2.0, 2.0])


def test_what_fills_up_need_not_be_strong() -> None:
    full = anomaly("db", 0, Role.SATURATION, metric="disk_usage", strength=1.2)
    assert not holds(full, after=30)
    assert holds(full, after=40)
    assert not holds(anomaly("db", 0, Role.SATURATION, metric="connections", strength=1.2))


def test_a_resource_that_is_used_less_is_no_signal_unless_it_shows_nothing() -> None:
    less = replace(
        anomaly("cart", 0, Role.SATURATION, metric="cpu_usage", strength=3),
        direction=Direction.BELOW,
        observed=0.2,
        expected=0.5,
    )
    assert evidence(less, anomaly("cart", 0, Role.ERRORS, strength=1.5), after=0) == 0
    assert holds(replace(less, observed=0.0)), "blind"


@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0, 7.0])
def test_strength_is_read_from_the_score(strength: float) -> None:
    assert strength_of(anomaly("cart", 0, strength=strength)) == pytest.approx(strength)


def test_percentiles_are_one_signal_and_resources_are_many() -> None:
    def signals(role: Role) -> int:
        two = [anomaly("cart", 0, role, metric=name) for name in ("one", "other")]
        return len({signal_of(one) for one in two})

    assert signals(Role.LATENCY) == 1
    assert signals(Role.SATURATION) == 2


@pytest.mark.parametrize(
    ("metric", "observed", "alone"),
    [
        ("cpu_usage", 0.65, False),
        ("cpu_usage", 0.93, True),
        ("memory_usage", 0.65, True),
        ("disk_usage", 0.3, True),
    ],
)
def test_a_busy_processor_with_time_to_spare_is_no_incident(
    metric: str, observed: float, alone: bool
) -> None:
    busy = anomaly("cart", 0, Role.SATURATION, metric=metric, strength=4)
    assert holds(replace(busy, observed=observed)) is alone


@pytest.mark.parametrize(
    ("expected", "observed", "after", "alone"),
    [
        (0.015, 0.68, 45, True),
        (0.015, 0.68, 30, False),  # batch work is over soon
        (0.015, 0.45, 600, False),  # has more than half of its time to spare
        (0.2, 0.68, 600, False),  # a busy hour
    ],
)
def test_a_processor_that_idled_and_runs_away(
    expected: float, observed: float, after: int, alone: bool
) -> None:
    busy = anomaly("cart", 0, Role.SATURATION, metric="process_cpu", strength=8)
    assert holds(replace(busy, observed=observed, expected=expected), after=after) is alone


def test_a_page_that_loads_slowly_is_no_processor() -> None:
    """Its name has a word of processors in it; nobody waits because of that."""
    slow = anomaly("shop", 0, Role.LATENCY, metric="page_load_p95", strength=8)
    assert holds(replace(slow, observed=0.68, expected=0.05), after=20)


def test_a_busy_processor_counts_once_users_feel_it() -> None:
    busy = replace(anomaly("cart", 0, Role.SATURATION, metric="cpu_usage"), observed=0.5)
    assert holds(busy, anomaly("cart", 0, Role.LATENCY, strength=1.1), after=1)


@pytest.mark.parametrize(
    ("role", "strength", "opens"),
    [
        (Role.LATENCY, 1.5, False),
        (Role.LATENCY, 2.5, True),
        (Role.ERRORS, 1.1, True),
    ],
)
def test_a_little_latency_under_load_is_what_the_reserve_is_for(
    role: Role, strength: float, opens: bool
) -> None:
    load = anomaly("cart", 0, Role.TRAFFIC, strength=3)
    assert holds(load, anomaly("cart", 0, role, strength=strength), after=1) is opens


@pytest.mark.parametrize(("observed", "opens"), [(0.0, True), (0.04, True), (0.5, False)])
def test_traffic_that_is_gone_altogether_needs_no_strength(observed: float, opens: bool) -> None:
    lost = replace(
        anomaly("cart", 0, Role.TRAFFIC, strength=1.1),
        direction=Direction.BELOW,
        observed=observed,
        expected=1.0,
    )
    assert holds(lost) is opens
    assert not holds(lost, after=30), "not before it lasted"


@pytest.mark.parametrize(("observed", "opens"), [(0.3, True), (0.6, False)])
def test_traffic_of_which_most_is_lost_for_long_needs_no_strength(
    observed: float, opens: bool
) -> None:
    lost = replace(
        anomaly("cart", 0, Role.TRAFFIC, strength=1.2),
        direction=Direction.BELOW,
        observed=observed,
        expected=1.0,
    )
    assert holds(lost) is opens
    assert not holds(lost, after=90), "not before it lasted"


@pytest.mark.parametrize(
    ("role", "metric", "strength", "observed", "open_"),
    [
        (Role.LATENCY, "latency_p95", 1.2, 0.5, True),
        (Role.SATURATION, "cpu_usage", 3, 0.7, False),
        (Role.SATURATION, "cpu_usage", 3, 0.95, True),
        (Role.SATURATION, "connections", 3, 10, True),
        (Role.SATURATION, "connections", 1.2, 10, False),
        (Role.SATURATION, "memory_usage", 1.2, 0.7, True),
        (Role.TRAFFIC, "request_rate", 3, 0.7, False),
    ],
)
def test_what_keeps_an_incident_open(
    role: Role, metric: str, strength: float, observed: float, open_: bool
) -> None:
    one = anomaly("cart", 0, role, metric=metric, strength=strength)
    one = replace(one, observed=observed, expected=0.3)
    assert keeps_open(one) is open_


def test_a_processor_that_shows_nothing_any_more_keeps_it_open() -> None:
    dead = replace(
        anomaly("node", 0, Role.SATURATION, metric="cpu_usage"),
        direction=Direction.BELOW,
        observed=0.0,
    )
    assert keeps_open(dead)
