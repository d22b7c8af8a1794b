"""Small numbers that several statistics need."""

from __future__ import annotations

from dos.kit.compiled import compiled
from dos.model.telemetry import Float32Array


@compiled
def unit_of(spread: float, level: float) -> float:
    """What distances are counted in: never 0."""
    return max(spread, 1e-9 * max(1e-6, abs(level)))


@compiled
def rate_of(seen: float, half_life: float) -> float:
    """Share by which a mean moves: 1/n at first, then by the half-life in samples."""
    moved: float = max(1.0 / (seen + 1.0), 1.0 - 0.5 ** (1.0 / half_life))
    return moved


@compiled
def sum_of(values: Float32Array) -> float:
    """Sum in double precision; a plain loop compiles faster than `values.sum()`."""
    total = 0.0
    for place in range(len(values)):
        total += values[place]
    return total


@compiled
def within(value: float, bound: float) -> float:
    """`value` clipped at `bound` on both sides; as it is while there is no bound."""
    if bound <= 0:
        return value
    kept: float = min(max(value, -bound), bound)
    return kept
