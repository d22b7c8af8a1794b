"""Hours of a simulated system on virtual time: repeatable, and silent when nothing is wrong.

The full measure (24 hours of 50 services) is in `benchmarks/virtual_day.py`.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from dos.evaluate.virtual_day import Day, DayResult, run_day

SHORT = Day(services=12, hours=2.0, step=15.0, seed=1)


def play(day: Day) -> DayResult:
    return asyncio.run(run_day(day))


def test_the_same_seed_decides_the_same_to_the_byte_and_another_does_not() -> None:
    first, again, other = play(SHORT), play(SHORT), play(replace(SHORT, seed=2))
    assert first == again
    assert first.digest != other.digest
    assert first.faults > 0
    assert first.incidents > 0
    assert first.samples >= 2 * 240 * 12 * 5


@pytest.mark.parametrize("seed", range(1, 6))
def test_no_fault_is_no_incident(seed: int) -> None:
    quiet = play(Day(services=12, hours=6.0, step=15.0, seed=seed, incidents=False))
    assert (quiet.faults, quiet.incidents) == (0, 0)
    assert quiet.samples >= 6 * 240 * 12 * 5
