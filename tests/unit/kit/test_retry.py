from __future__ import annotations

from itertools import islice
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from dos.kit.clock import ManualClock
from dos.kit.retry import Backoff, CircuitBreaker, CircuitState


@given(seed=st.integers(0, 10**6))
def test_delays_grow_within_their_bounds(seed: int) -> None:
    backoff = Backoff(first=1.0, ceiling=20.0, floor=0.5)
    delays = list(islice(backoff.delays(Random(seed)), 50))
    for number, delay in enumerate(delays):
        assert 0.5 <= delay <= min(20.0, max(0.5, 2.0**number))
    assert delays == list(islice(backoff.delays(Random(seed)), 50))


def test_a_first_delay_below_the_floor_is_the_floor() -> None:
    assert next(Backoff(first=0.01, floor=0.1).delays(Random(1))) == 0.1


def state(circuit: CircuitBreaker) -> CircuitState:
    """Read anew: time passes."""
    return circuit.state


def test_the_circuit_opens_after_failures_in_a_row_and_closes_after_a_trial() -> None:
    clock = ManualClock()
    circuit = CircuitBreaker(clock, threshold=3, cooldown=30.0)
    circuit.failed()
    circuit.failed()
    circuit.succeeded()
    for _ in range(2):
        circuit.failed()
        assert state(circuit) is CircuitState.CLOSED
    assert circuit.seconds_until_trial() == 0
    circuit.failed()
    assert state(circuit) is CircuitState.OPEN
    assert circuit.failures == 3
    clock.advance(10)
    assert circuit.seconds_until_trial() == 20
    clock.advance(20)
    assert state(circuit) is CircuitState.HALF_OPEN
    circuit.failed()
    assert state(circuit) is CircuitState.OPEN, "the trial failed: once more the whole cooldown"
    assert circuit.seconds_until_trial() == 30
    clock.advance(31)
    circuit.succeeded()
    assert state(circuit) is CircuitState.CLOSED
    assert circuit.failures == 0
