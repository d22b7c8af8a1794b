from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dos.kit.clock import ManualClock
from dos.kit.errors import ConfigError
from dos.simulate.faults import FaultType
from dos.simulate.generator import IncidentSimulator, ServiceGenerator
from tests.unit.simulate.runs import MONDAY_NOON

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
CALM = {
    "request_rate": 100.0,
    "error_rate": 0.01,
    "latency_p50": 0.05,
    "latency_p95": 0.15,
    "cpu_usage": 0.4,
    "memory_usage": 0.5,
}


def test_metrics_of_one_service() -> None:
    metrics = ServiceGenerator("payment-service", seed=1).generate_metrics(NOON)
    assert {"cpu_usage", "memory_usage", "latency_p95", "error_rate", "request_rate"} <= set(
        metrics
    )
    assert 0 < metrics["cpu_usage"] < 1
    assert 0 <= metrics["error_rate"] < 0.1
    assert 0 < metrics["latency_p50"] < metrics["latency_p95"] < metrics["latency_p99"]


def test_traffic_follows_the_hour() -> None:
    generator = ServiceGenerator("a", request_rate=1000.0)
    day = [generator.generate_metrics(NOON + timedelta(hours=h))["request_rate"] for h in range(24)]
    assert abs(day.index(max(day)) - 7) <= 2  # 19:00
    assert max(day) > 1.5 * min(day)


def test_history_goes_on_between_calls_and_repeats_with_the_seed() -> None:
    def history(seed: int, *seconds: float) -> list[dict[str, float]]:
        generator = ServiceGenerator("a", seed=seed)
        return [generator.generate_metrics(NOON + timedelta(seconds=s)) for s in seconds]

    assert history(1, 0, 1, 2) == history(1, 0, 1, 2)
    assert history(1, 0, 1, 2)[2] == history(1, 0, 2)[1]
    assert history(1, 0) != history(2, 0)
    assert history(1, 0, 0.5)[1] == history(1, 0)[0]
    assert history(1, 0, 4000)[1] == history(1, 4000)[0]
    assert history(1, 60, 0)[1] == history(1, 0)[0]


def test_timestamps_may_be_naive_or_unix() -> None:
    wanted = ServiceGenerator("a").generate_metrics(NOON)
    assert ServiceGenerator("a").generate_metrics(NOON.replace(tzinfo=None)) == wanted
    assert ServiceGenerator("a").generate_metrics(NOON.timestamp()) == wanted
    with pytest.raises(ValueError, match="not a time"):
        ServiceGenerator("a").generate_metrics(float("nan"))


def incident(fault: FaultType) -> tuple[IncidentSimulator, ManualClock]:
    clock = ManualClock(MONDAY_NOON)
    simulator = IncidentSimulator(weights={fault: 1.0}, seed=3, clock=clock)
    return simulator, clock


def changes(fault: FaultType, after: float) -> dict[str, float]:
    simulator, clock = incident(fault)
    simulator.trigger_incident(["a"])
    clock.advance(after)
    updated = simulator.update_metrics(CALM)
    return {name: value for name, value in updated.items() if value != CALM[name]}


def test_an_incident_is_described() -> None:
    simulator, _ = incident(FaultType.CPU_SPIKE)
    generators = [ServiceGenerator("payment-service")]
    found = simulator.trigger_incident(generators)
    assert found["description"] == "CPU spike detected in payment-service"
    assert found["service"] == "payment-service"
    assert found["type"] == "cpu_spike"
    assert found["start_time"] == NOON
    assert found["end_time"] - found["start_time"] == timedelta(seconds=found["duration_seconds"])
    assert simulator.active
    assert not simulator.should_trigger()


def test_services_may_be_a_mapping_and_must_not_be_none() -> None:
    simulator, _ = incident(FaultType.CPU_SPIKE)
    assert simulator.trigger_incident({"user-service": {}})["service"] == "user-service"
    with pytest.raises(ConfigError, match="Pass at least one service"):
        simulator.trigger_incident([])


def test_each_type_changes_its_own_metrics() -> None:
    cpu = changes(FaultType.CPU_SPIKE, 60)
    assert cpu["cpu_usage"] > 0.65
    assert cpu["latency_p95"] > 1.5 * CALM["latency_p95"]
    assert set(changes(FaultType.ERROR_RATE, 60)) == {"error_rate"}
    slow = changes(FaultType.NETWORK_LATENCY, 60)
    assert set(slow) == {"latency_p50", "latency_p95"}
    assert slow["latency_p50"] > 0.25
    cascade = changes(FaultType.CASCADING_FAILURE, 60)
    assert cascade["cpu_usage"] == 1.0
    assert cascade["error_rate"] > 0.05
    assert cascade["latency_p95"] > 0.3
    leak = [changes(FaultType.MEMORY_LEAK, after)["memory_usage"] for after in (30, 60, 90)]
    assert CALM["memory_usage"] < leak[0] < leak[1] < leak[2] <= 1


def test_metrics_are_untouched_before_and_after() -> None:
    simulator, clock = incident(FaultType.CPU_SPIKE)
    assert simulator.update_metrics(CALM) == CALM
    found = simulator.trigger_incident(["a"])
    clock.advance(found["duration_seconds"] + 21)
    assert not simulator.active
    assert simulator.update_metrics(CALM) == CALM


def test_one_cycle_in_ten() -> None:
    simulator = IncidentSimulator(seed=1, clock=ManualClock())
    rolled = sum(simulator.should_trigger() for _ in range(2000))
    assert 150 < rolled < 250


def test_a_fault_that_needs_a_world_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"cannot have the fault zone_outage.*cpu_spike"):
        IncidentSimulator(weights={FaultType.ZONE_OUTAGE: 1.0})
