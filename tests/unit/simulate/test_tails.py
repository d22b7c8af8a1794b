"""Stalls, outliers and the noise of counting, against the distributions they are said to have."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

from dos.evaluate.realism import correlation, kurtosis
from dos.kit.clock import DAY, Millis
from dos.model.entity import EntityKind
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array
from dos.simulate.engine import Simulation
from dos.simulate.faults import Fault, FaultType
from dos.simulate.propagation import Physics
from dos.simulate.queueing import normal_quantile
from dos.simulate.tails import (
    STALL_SECONDS,
    draw_latencies,
    heavy,
    latency_cdf,
    own_stalls,
    stalled_quantile,
)
from dos.simulate.workload import Workload
from dos.simulate.world import Call, SimulatedService, World
from dos.simulate.worlds import world

FLAT = Workload(day_amplitude=0.0, weekend=1.0, variation=0.0, bursts_per_day=0.0)


def one(rate: float, **options: float) -> World:
    service = SimulatedService(name="a", **options)
    return World(name="one", services=(service,), calls=(), entries={service.id: rate})


def played(there: World, ticks: int, *, step: float = 15.0) -> dict[str, Float64Array]:
    """`[tick]` of each metric of a world of one service."""
    simulation = Simulation(
        there, seed=5, step_seconds=step, start=Millis(20_000 * DAY), workload=FLAT, nodes=False
    )
    simulation.ticks(100)
    table = simulation.ticks(ticks).value.reshape(ticks, len(simulation.series))
    return {spec.metric: table[:, at] for at, spec in enumerate(simulation.series)}


def test_the_middle_of_heavy_noise_is_normal_and_its_tails_are_not() -> None:
    z = np.random.default_rng(1).standard_normal(200_000)
    drawn = heavy(z)
    assert np.quantile(drawn, [0.25, 0.75]) == pytest.approx([-0.674, 0.674], abs=0.04)
    assert kurtosis(drawn) > 2 * kurtosis(z)
    assert np.all(np.diff(heavy(np.linspace(-6, 6, 101))) >= 0)
    assert np.abs(heavy(np.array([9.0, -9.0]))).max() <= 12.0


def test_normal_quantiles_are_as_exact_as_they_say() -> None:
    p = np.concatenate([np.linspace(0.5, 0.99, 50), [0.999, 0.9999]])
    exact = [NormalDist().inv_cdf(value) for value in p]
    assert normal_quantile(p) == pytest.approx(exact, abs=0.00045)


def test_stalls_differ_by_service_and_are_its_own() -> None:
    names = [f"service-{number}" for number in range(2_000)]
    shares = own_stalls(names)
    assert shares.min() >= 0.0015
    assert shares.max() <= 0.03
    assert np.median(shares) == pytest.approx(0.0067, rel=0.1)
    assert own_stalls(names[7:8])[0] == shares[7]


def test_stalls_add_up_along_the_calls_that_are_waited_for() -> None:
    def chain(kind: EntityKind) -> dict[str, float]:
        services = (SimulatedService(name="a"), SimulatedService(name="b", kind=kind))
        call = Call(caller=EntityId("a"), callee=EntityId("b"), per_request=3.0)
        there = World(name="w", services=services, calls=(call,), entries={EntityId("a"): 9.0})
        physics = Physics(there, 15.0)
        return {one.name: float(physics.stalls[at]) for at, one in enumerate(physics.services)}

    a, b = own_stalls(["a", "b"])
    stalls = chain(EntityKind.SERVICE)
    assert stalls["b"] == pytest.approx(b)
    assert stalls["a"] == pytest.approx(1 - (1 - a) * (1 - b) ** 3)
    assert chain(EntityKind.DATABASE) == pytest.approx({"a": a, "b": 0.0})


def test_single_requests_have_the_distribution_of_the_histograms() -> None:
    rng = np.random.default_rng(3)
    location, spread, stalls = np.log(0.01), 0.4, 0.05
    ones = np.ones(100_000)
    drawn = draw_latencies(location * ones, spread * ones, stalls * ones, rng)
    bounds = np.array([0.005, 0.01, 0.02, 0.05, 0.08, 0.12])
    share = latency_cdf(bounds, np.array([location]), np.array([spread]), np.array([stalls]))[0]
    found = [np.mean(drawn <= bound) for bound in bounds]
    assert found == pytest.approx(share.tolist(), abs=0.005)


def test_a_quantile_is_that_of_the_stalled_once_they_are_as_many() -> None:
    p = np.array([0.5, 0.95, 0.99])
    assert stalled_quantile(p, np.array(0.005)) == pytest.approx([0, 0, 0])
    assert stalled_quantile(p, np.array(0.02)) == pytest.approx([0, 0, STALL_SECONDS / 2])
    assert stalled_quantile(p, np.array(0.1)) == pytest.approx(
        [0, STALL_SECONDS / 2, 0.9 * STALL_SECONDS]
    )
    assert stalled_quantile(p, np.array(0.0)) == pytest.approx([0, 0, 0])


def test_cpu_and_bytes_follow_the_requests_that_came() -> None:
    few = played(one(4.0), 1_000)
    assert correlation(few["request_rate"], few["cpu_usage"]) > 0.6
    assert correlation(few["request_rate"], few["network_receive"]) > 0.3
    many = played(one(4_000.0), 1_000)
    for metric in ("request_rate", "cpu_usage", "network_receive", "latency_p95"):
        spread = [float(np.std(run[metric]) / np.mean(run[metric])) for run in (few, many)]
        assert spread[0] > 2 * spread[1], metric
    # What they use on average does not depend on how many there are.
    assert few["cpu_usage"].mean() == pytest.approx(many["cpu_usage"].mean(), rel=0.05)


def test_a_saturated_cpu_has_no_noise() -> None:
    simulation = Simulation(one(100.0), seed=5, step_seconds=15.0, workload=FLAT, nodes=False)
    place = next(i for i, spec in enumerate(simulation.series) if spec.metric == "cpu_usage")
    calm = simulation.ticks(200).value.reshape(200, -1)[:, place]
    simulation.inject(
        Fault(type=FaultType.CPU_SPIKE, target=EntityId("a"), severity=1.0, duration=4_000.0)
    )
    simulation.ticks(10)
    full = simulation.ticks(200).value.reshape(200, -1)[:, place]
    assert full.min() > 0.85
    assert np.std(full) < 0.6 * np.std(calm)


def test_rare_failures_come_in_clumps_and_as_many_as_before() -> None:
    run = played(one(400.0, error_rate=0.002), 2_000)
    requests = run["request_rate"] * 15.0
    failed = run["error_rate"] * requests
    assert failed.mean() / requests.mean() == pytest.approx(0.002, rel=0.1)
    assert failed.var() > 3 * failed.mean(), "more than a Poisson count varies"


def test_a_handful_of_requests_shows_no_99th_percentile() -> None:
    few, many = played(one(0.2), 1_000), played(one(400.0), 300)
    ratio = [float(np.median(run["latency_p99"] / run["latency_p50"])) for run in (few, many)]
    assert 1.0 <= ratio[0] < 0.75 * ratio[1]
    lonely = few["request_rate"] * 15.0 <= 1.0
    assert lonely.any()
    assert np.all(few["latency_p99"][lonely] >= few["latency_p50"][lonely])


def test_stalls_of_a_replica_average_out_over_longer_steps() -> None:
    there = replace(one(50.0), services=(SimulatedService(name="a", replicas=1),))
    spread = []
    for step in (5.0, 60.0):
        p99 = played(there, 800, step=step)["latency_p99"]
        spread.append(float(np.std(np.log(p99))))
    assert spread[0] > 1.5 * spread[1]


def test_a_service_added_leaves_the_noise_of_others_as_it_was() -> None:
    shop = world("shop")
    extra = SimulatedService(name="zebra-service")
    more = replace(shop, services=(*shop.services, extra), nodes=shop.nodes)
    plain, other = (
        Simulation(there, seed=2, step_seconds=15.0, start=Millis(0), nodes=False)
        for there in (shop, more)
    )
    values = dict(zip(plain.series, plain.ticks(1).value, strict=True))
    beside = dict(zip(other.series, other.ticks(1).value, strict=True))
    same = [spec for spec in values if spec.metric in {"request_rate", "latency_p95"}]
    assert same
    assert [values[spec] for spec in same] == [beside[spec] for spec in same]
