"""One meaning of a score everywhere: how rare it is, and whether that is true.

Scores of different detectors and series have nothing in common but this: the share of healthy
samples that are at least as strange. So a score from 0 to 1 *is* such a share, written so that
people can read it: 0.5 where an anomaly may begin, and half of what is missing to 1 is gained
whenever the rarity, in orders of magnitude, grows by as much again. `reliability` compares the
shares that were claimed with those that came to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dos.model.telemetry import Float64Array

_LEAST = 1e-300


def score_of_rarity(rarity: Float64Array, begins: float) -> Float64Array:
    """Score 0 to 1 of how rare something is.

    Args:
        rarity: `[…]` share of healthy samples at least as strange, 0 to 1.
        begins: The rarity from which on something may be an anomaly, 0 to 1; its score is 0.5.
    """
    orders: Float64Array = np.log(np.clip(rarity, _LEAST, 1.0)) / np.log(begins)
    return 1.0 - np.exp2(-orders)


def rarity_of_score(score: Float64Array, begins: float) -> Float64Array:
    """The inverse of `score_of_rarity`."""
    orders: Float64Array = -np.log2(np.clip(1.0 - score, _LEAST, 1.0))
    out: Float64Array = np.exp(orders * np.log(begins))
    return out


def fisher(rarities: Float64Array) -> float:
    """How rare it is that independent things are at least as rare as these together.

    Fisher's method: -2 times the sum of the logarithms is chi-squared with two degrees of freedom
    for each (*Statistical Methods for Research Workers*, 1925, sec. 21.1). For an even number of
    degrees of freedom its tail is a finite sum.

    Args:
        rarities: `[thing]` shares, 0 to 1; at least one.
    """
    half = float(-np.log(np.clip(rarities, _LEAST, 1.0)).sum())
    orders = np.arange(len(rarities), dtype=np.float64)
    # exp(-half) * sum(half**k / k!) over k < count, in logarithms.
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, len(rarities))))])
    terms = orders * np.log(max(half, _LEAST)) - factorials - half
    top = terms.max()
    return float(min(1.0, np.exp(top) * np.exp(terms - top).sum()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """One claim about rarity, checked."""

    claimed: float
    """Share of healthy samples that are said to be at least as strange, 0 to 1."""
    seen: float
    """Share that were."""
    lower: float
    upper: float
    """95 % interval of the share, were samples independent (Wilson's)."""
    samples: int


def reliability(rarity: Float64Array, claims: Sequence[float]) -> tuple[Reliability, ...]:
    """How often healthy samples were at least as strange as claimed.

    Args:
        rarity: `[sample]` what was said of healthy samples; NaN where nothing was said.
        claims: Shares to be checked.
    """
    said = rarity[~np.isnan(rarity)]
    return tuple(_checked(int((said <= one).sum()), len(said), one) for one in claims)


def _checked(count: int, total: int, claimed: float) -> Reliability:
    """Wilson, *Probable inference*, JASA 22, 1927."""
    if not total:
        return Reliability(claimed=claimed, seen=0.0, lower=0.0, upper=1.0, samples=0)
    z = 1.959964
    share = count / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    reach = z / (1 + z * z / total)
    reach *= float(np.sqrt(share * (1 - share) / total + z * z / (4 * total * total)))
    return Reliability(
        claimed=claimed,
        seen=share,
        lower=max(0.0, middle - reach),
        upper=min(1.0, middle + reach),
        samples=total,
    )
