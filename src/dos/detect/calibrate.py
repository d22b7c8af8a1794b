"""Whether claims about rarity are true.

Scores of different detectors and series have nothing in common but this: the share of healthy
samples that are at least as strange. `reliability` compares the shares that were claimed with
those that came to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dos.model.telemetry import Float64Array


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
