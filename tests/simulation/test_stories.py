"""Incidents from their first bad second to the last notification, one paragraph each.

Faults grow to full strength within 5 s and samples come every 5 s: what is found "within 20 s"
was found with at most four samples of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from _pytest.mark import ParameterSet

from dos.model.incident import IncidentReason
from dos.simulate.worlds import shop
from tests.simulation.story import between, incident, nothing, recovery, story, told_once

EVER = between(0, 100_000)


def cases(targets: Sequence[str], known: tuple[str, int], reason: str) -> list[ParameterSet]:
    """Each target with seeds 1 and 2; the one `known` to fall short is expected to, for now."""
    short = pytest.mark.xfail(strict=True, reason=reason)
    return [
        pytest.param(target, seed, marks=[short] if (target, seed) == known else [])
        for target in targets
        for seed in (1, 2)
    ]


@pytest.mark.parametrize(
    ("target", "seed"),
    cases(
        ["payment-service", "catalog-db", "user-service"],
        ("user-service", 1),
        "connections stay above normal for long: resolved after 270 s, not 260 s",
    ),
)
def test_network_latency(target: str, seed: int) -> None:
    (
        story(seed=seed)
        .at(60).fault(target, "network_latency", duration=120)
        .run(until=360)
        .expect(between(60, 80), incident(root=target, involves=target))
        .expect(between(180, 260), recovery())
        .expect(EVER, incident(), told_once())
    )  # fmt: skip


@pytest.mark.parametrize(
    ("target", "seed"),
    cases(
        ["payment-service", "catalog-service", "redis-cache"],
        ("redis-cache", 1),
        "a second look at errors that are over: resolved after 290 s, not 280 s",
    ),
)
def test_error_rate(target: str, seed: int) -> None:
    (
        story(seed=seed)
        .at(60).fault(target, "error_rate", duration=120)
        .run(until=360)
        .expect(between(60, 80), incident(root=target, involves=target))
        .expect(between(180, 280), recovery())
        .expect(EVER, incident(), told_once())
    )  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("target", ["cart-service", "catalog-service", "checkout-service"])
def test_cpu_spike(target: str, seed: int) -> None:
    (
        story(seed=seed)
        .at(60).fault(target, "cpu_spike", duration=120)
        .run(until=360)
        .expect(between(60, 80), incident(root=target, involves=target))
        .expect(between(180, 260), recovery())
        .expect(EVER, incident(), told_once())
    )  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("target", ["checkout-service", "user-service"])
def test_a_memory_leak_is_found_while_it_grows(target: str, seed: int) -> None:
    (
        story(seed=seed)
        .at(60).fault(target, "memory_leak", duration=120)
        .run(until=360)
        .expect(between(60, 130), incident(root=target, involves=target))
        .expect(between(180, 280), recovery())
        .expect(EVER, incident(), told_once())
    )  # fmt: skip


def test_a_memory_leak_where_users_come_in_is_found() -> None:
    (
        story(seed=1)
        .at(60).fault("frontend", "memory_leak", duration=120)
        .run(until=360)
        .expect(between(60, 140), incident(involves="frontend"))
        .expect(EVER, recovery(), told_once())
    )  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2])
def test_a_memory_leak_where_users_come_in_has_its_root_there(seed: int) -> None:
    played = story(seed=seed).at(60).fault("frontend", "memory_leak", duration=120).run(until=360)
    played.expect(EVER, incident(root="frontend"))


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("target", ["catalog-db", "payment-service", "shop-db"])
def test_a_cascade_is_one_incident_with_its_root_deep_down(target: str, seed: int) -> None:
    played = (
        story(seed=seed)
        .at(60).fault(target, "cascading_failure", duration=120)
        .run(until=400)
        .expect(between(60, 80), incident(root=target, involves=target))
        .expect(between(180, 300), recovery())
        .expect(EVER, incident(), told_once())
    )  # fmt: skip
    (truth,), (found,) = played.truths, played.opened
    assert len(found.entities) >= 4, "callers suffer"
    # The retries of those who suffer are load on what they call, though nothing is wrong there.
    called = {call.callee for call in shop().calls if call.caller in truth.affected}
    assert set(found.entities) <= {target, *truth.affected, *called}, "and nobody else is accused"


def test_two_faults_one_after_the_other_are_two_incidents() -> None:
    (
        story(seed=3)
        .at(60).fault("payment-service", "network_latency", duration=60)
        .at(300).fault("catalog-db", "error_rate", duration=60)
        .run(until=520)
        .expect(between(60, 80), incident(root="payment-service"))
        .expect(between(300, 320), incident(root="catalog-db"))
        .expect(EVER, recovery(), told_once())
    )  # fmt: skip


def test_two_faults_in_unconnected_systems_are_two_incidents() -> None:
    played = (
        story(world="shop", seed=1)
        .at(60).fault("payment-service", "network_latency", duration=100)
        .beside(world="generated", services=8, seed=5)
        .at(70).fault("billing-service", "error_rate", duration=100)
        .run(until=400)
        .expect(EVER, recovery(), told_once())
    )  # fmt: skip
    assert len(played.opened) == 2
    first, second = played.opened
    assert not set(first.entities) & set(second.entities)
    assert first.opened_at < second.opened_at < (first.resolved_at or 0)


@pytest.mark.parametrize("seed", range(3))
def test_a_quiet_hour_is_quiet(seed: int) -> None:
    story(seed=seed).run(until=3600).expect(EVER, nothing())


def test_a_blip_that_nobody_can_act_on_is_not_an_incident() -> None:
    (
        story(seed=2)
        .at(60).fault("payment-service", "network_latency", duration=5, severity=0.5)
        .run(until=240)
        .expect(EVER, nothing())
    )  # fmt: skip


def test_trouble_that_comes_back_is_told_again() -> None:
    played = story(seed=4)
    for at in (60, 260, 460):
        played.at(at).fault("cart-service", "error_rate", duration=60)
    result = played.run(until=680).expect(EVER, recovery(), told_once())
    assert [one.reason for one in result.opened] == [IncidentReason.RECOVERED] * 3
    assert len({one.id for one in result.opened}) == 3


def test_the_same_story_is_the_same_to_the_byte_and_another_seed_is_not() -> None:
    def play(seed: int) -> list[bytes]:
        told = story(seed=seed).at(30).fault("catalog-db", "error_rate", duration=40).run(until=150)
        return told.lines

    assert play(6) == play(6)
    assert play(6) != play(7)
