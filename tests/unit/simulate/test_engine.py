from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from dos.kit.clock import DAY, HOUR, SECOND, Millis
from dos.kit.errors import ConfigError
from dos.model.ids import EntityId
from dos.model.telemetry import MetricKind, Role
from dos.simulate.engine import Simulation
from dos.simulate.faults import Fault, FaultType
from dos.simulate.scenario import Dice, RandomIncidents
from dos.simulate.workload import Workload
from dos.simulate.worlds import generate, shop, sketch
from tests.unit.simulate.runs import MONDAY_NOON, Run

BEFORE, DURING = slice(0, 20), slice(24, 34)
WITH_A_MEMORY = {"restarts", "memory_usage"}
"""Counted for ever; and collected at another moment after a restart."""


def test_same_seed_same_bytes_other_seed_other_bytes() -> None:
    def play(seed: int) -> bytes:
        world = generate(20, seed=1)
        incidents = RandomIncidents(world, seed, dice=Dice(chance=0.3))
        simulation = Simulation(world, seed=seed, start=MONDAY_NOON, incidents=incidents)
        return simulation.ticks(200).value.tobytes()

    assert play(1) == play(1)
    assert play(1) != play(2)


def test_ticks_in_a_block_are_the_ticks_one_by_one() -> None:
    block, single = Run(seed=4).simulation, Run(seed=4).simulation
    frame = block.ticks(5)
    frames = [single.tick() for _ in range(5)]
    assert frame.value.tobytes() == b"".join(one.value.tobytes() for one in frames)
    assert frame.timestamp.tolist() == [t for one in frames for t in one.timestamp.tolist()]
    assert frame.index.tolist() == [i for one in frames for i in one.index.tolist()]
    assert all(one.series is single.series for one in frames)
    assert frames[0].timestamp[0] == MONDAY_NOON + 15 * SECOND
    assert block.now == MONDAY_NOON + 75 * SECOND


def test_fast_forward_regenerates_the_very_same_future() -> None:
    def simulation() -> Simulation:
        incidents = RandomIncidents(shop(), 5, dice=Dice(chance=0.2))
        return Simulation(shop(), seed=5, start=MONDAY_NOON, incidents=incidents)

    played, resumed = simulation(), simulation()
    played.ticks(137)
    resumed.fast_forward(Millis(MONDAY_NOON + 137 * 15 * SECOND + 7 * SECOND))
    assert resumed.now == played.now
    assert resumed.truths == played.truths
    assert resumed.ticks(50).value.tobytes() == played.ticks(50).value.tobytes()


def test_series_have_roles_units_and_kinds() -> None:
    specs = {spec.metric: spec for spec in shop_series()}
    assert {name: spec.role for name, spec in specs.items() if spec.role is not Role.OTHER} == {
        "request_rate": Role.TRAFFIC,
        "error_rate": Role.ERRORS,
        "latency_p50": Role.LATENCY,
        "latency_p95": Role.LATENCY,
        "latency_p99": Role.LATENCY,
        "cpu_usage": Role.SATURATION,
        "memory_usage": Role.SATURATION,
        "connections": Role.SATURATION,
        "queue_depth": Role.SATURATION,
        "disk_usage": Role.SATURATION,
        "ready": Role.AVAILABILITY,
    }
    assert specs["latency_p95"].unit == "seconds"
    assert specs["cpu_usage"].unit == "ratio"
    assert specs["restarts"].kind is MetricKind.COUNTER


def shop_series() -> tuple[object, ...]:
    return Run().simulation.series


def test_the_day_and_the_weekend_show_in_the_traffic() -> None:
    run = Run("sketch", step=300.0).play(7 * 288)
    traffic = run.series("api-gateway", "request_rate").reshape(7, 288)
    hours = traffic[:4].mean(axis=0).reshape(24, 12).mean(axis=1)
    # The run starts at noon, the peak is at 19:00 and the quietest hour around 5:00.
    assert abs(int(np.argmax(hours)) - 7) <= 1
    assert hours.max() / hours.min() > 1.6
    # Monday noon + 5 days is Saturday noon.
    assert traffic[5, :100].mean() / traffic[1, :100].mean() == pytest.approx(0.8, abs=0.05)
    cpu = run.series("api-gateway", "cpu_usage").reshape(7, 288)
    assert np.corrcoef(cpu[0], traffic[0])[0, 1] > 0.9


def test_a_flat_workload_is_flat() -> None:
    flat = Workload(day_amplitude=0.0, weekend=1.0, variation=0.0, bursts_per_day=0.0)
    traffic = Run("sketch", workload=flat).play(400).series("api-gateway", "request_rate")
    assert traffic.mean() == pytest.approx(120, rel=0.01)
    # What is left is the noise of counting: Poisson over 15 s.
    assert traffic.std() == pytest.approx((120 / 15) ** 0.5, rel=0.2)


def test_bursts_fade_and_are_harmless() -> None:
    windy = Workload(variation=0.0, bursts_per_day=60.0, day_amplitude=0.0, weekend=1.0)
    run = Run("sketch", workload=windy).play(800)
    traffic = run.series("api-gateway", "request_rate")
    assert traffic.max() > 1.15 * np.median(traffic)
    assert run.series("api-gateway", "error_rate").max() < 0.02


def test_unconnected_services_do_not_notice_a_fault() -> None:
    fault = FaultType.NETWORK_LATENCY
    calm = Run().play(40)
    broken = Run().play(10).breaks(fault, "payment-service", severity=0.4).play(30)
    for bystander in ("user-service", "catalog-service", "redis-cache", "catalog-db"):
        assert calm.of(bystander).tobytes() == broken.of(bystander).tobytes()
    for sufferer in ("payment-service", "checkout-service", "frontend", "api-gateway"):
        assert calm.of(sufferer).tobytes() != broken.of(sufferer).tobytes()


@lru_cache
def calm_run(step: float, ticks: int) -> Run:
    return Run(step=step).play(ticks)


@pytest.mark.parametrize("fault", list(FaultType))
@pytest.mark.parametrize("step", [2.0, 15.0, 60.0])
def test_after_a_fault_all_is_as_if_it_had_not_been(fault: FaultType, step: float) -> None:
    settle = round(480 / step)
    calm = calm_run(step, settle + 20)
    run = Run(step=step).has(fault, severity=1.0, duration=120.0, ramp=10.0, recovery=20.0)
    run.play(settle + 20)
    assert run.simulation.running == ()
    for entity, metric in {(one.entity, one.metric) for one in run.simulation.series}:
        if metric in WITH_A_MEMORY:
            continue
        after, wanted = (one.series(entity, metric)[settle:].mean() for one in (run, calm))
        assert after == pytest.approx(wanted, rel=0.05, abs=0.01), (entity, metric)


def test_truth_names_the_affected_in_order() -> None:
    run = Run().play(4).breaks(FaultType.NETWORK_LATENCY, "payment-service", duration=60.0)
    assert run.simulation.truths[0].end is None
    run.play(10)
    truth = run.simulation.truths[0]
    assert truth.start == MONDAY_NOON + 60 * SECOND
    assert truth.end == MONDAY_NOON + (60 + 60 + 20 + 10) * SECOND  # next tick after recovery
    assert truth.affected[:2] == ("payment-service", "checkout-service")
    assert "catalog-service" not in truth.affected


def test_of_two_faults_each_is_blamed_for_its_own() -> None:
    run = Run().play(4)
    run.breaks(FaultType.ERROR_RATE, "catalog-db", duration=120.0)
    run.breaks(FaultType.CPU_SPIKE, "notification-service", duration=120.0).play(12)
    catalog, notification = run.simulation.truths
    assert "catalog-service" in catalog.affected
    assert "notification-service" not in catalog.affected
    assert notification.affected == ("notification-service",)


def test_equal_faults_at_the_same_time_are_two() -> None:
    run = Run()
    for _ in range(2):
        run.breaks(FaultType.CPU_SPIKE, "frontend", duration=30.0)
    run.play(8)
    assert len({truth.id for truth in run.simulation.truths}) == 2
    assert all(truth.end is not None for truth in run.simulation.truths)


def test_clear_lets_faults_recover() -> None:
    run = Run(step=5.0).breaks(FaultType.CPU_SPIKE, "frontend", duration=3600.0).play(12)
    run.simulation.clear()
    run.play(6)
    assert run.simulation.running == ()
    assert run.simulation.truths[0].end == MONDAY_NOON + 80 * SECOND


def test_an_unknown_target_is_refused_with_those_there_are() -> None:
    simulation = Simulation(sketch())
    with pytest.raises(ConfigError, match=r"has no 'nobody'.*It can hit: api-gateway, user-"):
        simulation.inject(Fault(type=FaultType.CPU_SPIKE, target=EntityId("nobody")))


def test_a_calm_day_stays_in_bounds() -> None:
    run = Run(step=60.0, seed=9).play(DAY // (60 * SECOND))
    assert run.series("api-gateway", "error_rate").max() < 0.03
    latency = run.series("api-gateway", "latency_p95")
    # Now and then something holds a request up, as in every recorded system: one sample, no more.
    held_up = latency > 2 * np.median(latency)
    assert held_up.mean() < 0.005
    assert not (held_up[1:] & held_up[:-1]).any()
    assert run.series("frontend", "restarts").max() == 0
    assert run.series("shop-db", "cpu_usage").max() < 0.7
    assert run.simulation.now == MONDAY_NOON + 24 * HOUR
