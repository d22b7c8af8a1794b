"""How likely a count is, given the counts before: one test for bursts, rare and new things.

Counts of a stretch of time follow a negative binomial distribution: a Poisson distribution whose
rate is uncertain (a Gamma distribution; Gelman et al., "Bayesian Data Analysis", 3rd ed., section
2.6, with Jeffreys' prior of half an event) and varies by itself, as the variance seen so far
says. What never happened in a thousand stretches and now happens once is unlikely by about half a
thousandth, three times at once by a millionth of a millionth; what comes in bursts every minute
is not unlikely at all.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from dos.kit.compiled import compiled
from dos.model.telemetry import Float64Array

PRIOR = 0.5
"""Events taken as seen before anything was."""
_TERMS = 400
"""Of the sum of the tail; the rest is bounded by a geometric series."""


@compiled
def log_tail(count: float, mean: float, variance: float, exposure: float) -> float:
    """Natural logarithm of the probability of `count` or more events; 0 up to the mean.

    Args:
        count: Events in this stretch.
        mean: Of the stretches before.
        variance: Of the stretches before.
        exposure: Their number, at least 1.
    """
    shape = PRIOR + mean * exposure
    center = shape / exposure
    x = math.ceil(count)
    if x <= center:
        return 0.0
    uncertain = 1.0 / shape
    if variance > mean > 0.0:
        uncertain += (variance - mean) / (mean * mean)
    r = 1.0 / uncertain
    more = center / (r + center)
    first = (
        math.lgamma(x + r)
        - math.lgamma(r)
        - math.lgamma(x + 1.0)
        + r * math.log(r / (r + center))
        + x * math.log(more)
    )
    total, term = 1.0, 1.0
    for step in range(_TERMS):
        j = x + step
        ratio = more * (j + r) / (j + 1.0)
        term *= ratio
        total += term
        if term < 1e-12 * total:
            break
    else:
        total += term * more / (1.0 - more)
    return min(0.0, first + math.log(total))


class Counts(NamedTuple):
    """Counts to be tested, all `[count]`; each line may stand for several."""

    lines: Float64Array
    """Lines, by weight."""
    squares: Float64Array
    """Sum of the squares of their weights."""
    mean: Float64Array
    """Lines of a stretch."""
    variance: Float64Array
    """Of these."""
    exposure: Float64Array
    """Stretches seen."""
    factor: Float64Array
    """How many times as much as usual is to be expected this time."""


@compiled
def log_tails(counts: Counts, found: Float64Array) -> None:
    """Write the `log_tail` of each count to `found`."""
    for i in range(len(found)):
        lines = counts.lines[i]
        if lines <= 0.0:
            found[i] = 0.0
            continue
        each = counts.squares[i] / lines  # lines that one line stands for
        factor = counts.factor[i] / each
        usual, spread = counts.mean[i] * factor, counts.variance[i] * factor * factor
        found[i] = log_tail(lines / each, usual, spread, max(counts.exposure[i], 1.0))
