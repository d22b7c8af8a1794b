"""Each kind of fault shows first and strongest in its own kind of metric, at its target."""

from __future__ import annotations

import numpy as np
import pytest

from dos.kit.clock import SECOND, Millis
from dos.kit.errors import ConfigError
from dos.model.ids import EntityId
from dos.simulate.faults import Fault, FaultRun, FaultState, FaultType
from tests.unit.simulate.runs import MONDAY_NOON, Run

CALM, ON = slice(0, 20), slice(24, 36)


def broken(fault: FaultType, target: str, severity: float = 0.8) -> Run:
    """5 minutes of calm, 4 of the fault, and 3 after it, at 15 s."""
    return Run().play(20).breaks(fault, target, severity=severity, duration=240.0).play(28)


def rise(run: Run, entity: str, metric: str, during: slice = ON) -> float:
    """Change of the median in standard deviations of the calm part, which may have outliers."""
    series = run.series(entity, metric)
    middle = np.median(series[CALM])
    spread = 1.4826 * np.median(np.abs(series[CALM] - middle))
    return float((np.median(series[during]) - middle) / max(spread, 1e-4))


def ratio(run: Run, entity: str, metric: str) -> float:
    """Of the median with the fault to that without."""
    series = run.series(entity, metric)
    return float(np.median(series[ON]) / np.median(series[CALM]))


def test_cpu_spike() -> None:
    run = broken(FaultType.CPU_SPIKE, "payment-service")
    assert run.series("payment-service", "cpu_usage")[ON].mean() > 0.8
    assert rise(run, "payment-service", "cpu_usage") > 15
    latency = run.series("payment-service", "latency_p50")
    assert latency[ON].mean() > 1.8 * latency[CALM].mean()
    assert rise(run, "checkout-service", "latency_p95") > 5
    assert ratio(run, "payment-service", "cpu_usage") > ratio(
        run, "checkout-service", "latency_p95"
    )
    assert abs(rise(run, "checkout-service", "cpu_usage")) < 2


def test_network_latency() -> None:
    run = broken(FaultType.NETWORK_LATENCY, "catalog-service")
    latency = run.series("catalog-service", "latency_p50")
    assert latency[ON].mean() == pytest.approx(latency[CALM].mean() + 0.4, abs=0.05)
    assert rise(run, "frontend", "latency_p95") > 20
    assert abs(rise(run, "catalog-service", "cpu_usage")) < 3


def test_error_rate() -> None:
    run = broken(FaultType.ERROR_RATE, "payment-service")
    assert run.series("payment-service", "error_rate")[ON].mean() == pytest.approx(0.4, abs=0.04)
    checkout = run.series("checkout-service", "error_rate")[ON].mean()
    frontend = run.series("frontend", "error_rate")[ON].mean()
    # Retries mend some of it, and only some requests of the frontend come to a checkout.
    assert 0.2 < checkout < 0.4
    assert 0.01 < frontend < 0.1
    tries = run.series("payment-service", "request_rate")
    assert tries[ON].mean() > 1.2 * tries[CALM].mean()


def test_memory_leak_runs_into_a_restart() -> None:
    run = broken(FaultType.MEMORY_LEAK, "frontend")
    memory = run.series("frontend", "memory_usage")
    assert memory.max() > 0.9
    assert np.diff(memory[20:25]).min() > 0
    restarts = run.series("frontend", "restarts")
    assert restarts[19] == 0
    assert restarts[-1] >= 1
    full = int(np.argmax(memory))
    latency = run.series("frontend", "latency_p50")
    assert latency[full] > 1.1 * latency[CALM].mean()
    assert memory[-1] < 0.7


def test_cascading_failure_reaches_the_top() -> None:
    run = broken(FaultType.CASCADING_FAILURE, "shop-db")
    first = slice(20, 23)
    assert run.series("shop-db", "cpu_usage")[first].max() > 0.97
    assert run.series("shop-db", "latency_p95")[first].max() > 0.5
    assert run.series("shop-db", "queue_depth")[first].max() > 20
    for caller in ("payment-service", "checkout-service", "frontend", "api-gateway"):
        assert run.series(caller, "error_rate")[ON].mean() > 0.05, caller


def test_a_slow_consumer_fills_the_queue_and_not_its_producer() -> None:
    run = broken(FaultType.CASCADING_FAILURE, "notification-service")
    assert run.series("order-queue", "queue_depth")[ON].max() > 100
    assert abs(rise(run, "checkout-service", "latency_p95")) < 2
    assert run.series("checkout-service", "error_rate")[ON].mean() < 0.01


def test_severity_is_a_scale() -> None:
    rises = [
        broken(FaultType.CPU_SPIKE, "payment-service", severity)
        .series("payment-service", "cpu_usage")[ON]
        .mean()
        for severity in (0.2, 0.5, 0.9)
    ]
    assert rises == sorted(rises)
    assert rises[0] < 0.6 < rises[-1]


def test_course_of_a_fault() -> None:
    fault = Fault(
        type=FaultType.CPU_SPIKE, target=EntityId("a"), duration=60.0, ramp=10.0, recovery=20.0
    )
    run = FaultRun(fault, MONDAY_NOON)

    def at(seconds: float) -> tuple[FaultState, float]:
        now = Millis(MONDAY_NOON + round(seconds * SECOND))
        return run.state(now), round(run.intensity(now), 3)

    assert at(-1) == (FaultState.IDLE, 0.0)
    assert at(5) == (FaultState.TRIGGERED, 0.5)
    assert at(30) == (FaultState.ACTIVE, 1.0)
    assert at(70) == (FaultState.RECOVERING, 0.5)
    assert at(80) == (FaultState.OVER, 0.0)
    run.clear(Millis(MONDAY_NOON + 5 * SECOND))
    assert at(15) == (FaultState.RECOVERING, 0.25)
    assert at(25) == (FaultState.OVER, 0.0)


def test_a_fault_that_ends_at_once_has_its_strength_until_then() -> None:
    target = EntityId("a")
    sudden = Fault(
        type=FaultType.METRIC_CORRUPTION, target=target, duration=60.0, ramp=0.0, recovery=0.0
    )
    run = FaultRun(sudden, MONDAY_NOON)
    seconds = (0, 30, 59, 60)
    strengths = [run.intensity(Millis(MONDAY_NOON + at * SECOND)) for at in seconds]
    assert strengths == [1.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize(
    "wrong", [{"severity": 0.0}, {"severity": 1.1}, {"duration": 0.0}, {"ramp": -1.0}]
)
def test_senseless_faults_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"out of range\. Write"):
        Fault(type=FaultType.CPU_SPIKE, target=EntityId("a"), **wrong)
