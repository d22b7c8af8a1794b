"""Of what is called abnormal, how much is not: false discovery rates over thousands of series.

With 10,000 series and a p-value threshold of 0.001 ten are called abnormal at every tick of a
healthy fleet. Two remedies. `benjamini_hochberg` judges all series of one tick together
(Benjamini & Hochberg, *Controlling the False Discovery Rate*, JRSS B 57, 1995). `Lord` and
`Saffron` judge one after the other as they come, for ever: each test spends from a wealth that
discoveries fill up again (Ramdas, Yang, Wainwright & Jordan, *Online control of the false
discovery rate with decaying memory*, NeurIPS 2017, LORD++; Ramdas, Zrnic, Wainwright & Jordan,
*SAFFRON: an adaptive algorithm for online control of the false discovery rate*, ICML 2018).
All of them hold for independent p-values, and those of Benjamini and Hochberg also where series
go up together, as those of one service do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from dos.model.telemetry import BoolArray, Float64Array

_HORIZON = 100_000
"""Over so many tests the wealth is spread; what is spent later is too little to matter."""


def benjamini_hochberg(p: Float64Array, rate: float) -> BoolArray:
    """Which hypotheses of one batch to reject, so that `rate` of those rejected are false.

    Args:
        p: `[test]` p-values; NaN for tests that were not made.
        rate: Share of false ones among the rejected that is tolerated, 0 to 1.

    Returns:
        `[test]`.
    """
    made = np.flatnonzero(~np.isnan(p))
    rejected = np.zeros(len(p), np.bool_)
    if not len(made):
        return rejected
    order = made[np.argsort(p[made], kind="stable")]
    allowed = rate * np.arange(1, len(order) + 1) / len(order)
    below = np.flatnonzero(p[order] <= allowed)
    if len(below):
        rejected[order[: below[-1] + 1]] = True
    return rejected


def _lord_shares() -> Float64Array:
    """How LORD spreads wealth over the tests to come (Ramdas et al. 2017, sec. 3); sums to 1."""
    place = np.arange(1, _HORIZON + 1, dtype=np.float64)
    shares = np.log(np.maximum(place, 2.0)) / (place * np.exp(np.sqrt(np.log(place))))
    out: Float64Array = shares / shares.sum()
    return out


def _saffron_shares() -> Float64Array:
    """How SAFFRON does: as the power -1.6 (Ramdas et al. 2018, sec. 4); sums to 1."""
    shares = np.arange(1, _HORIZON + 1, dtype=np.float64) ** -1.6
    out: Float64Array = shares / shares.sum()
    return out


_LORD = _lord_shares()
_SAFFRON = _saffron_shares()


def _share(shares: Float64Array, place: int) -> float:
    """Share for the test number `place`, from 1; 0 beyond the horizon."""
    return float(shares[place - 1]) if 1 <= place <= len(shares) else 0.0


@dataclass(slots=True)
class Lord:
    """LORD++: an alarm is worth `rate` of further tests.

    Args:
        rate: Share of false ones among all discoveries so far that is tolerated, 0 to 1.
        wealth: What there is to spend before the first discovery, up to `rate`; half of it by
            default.
    """

    rate: float
    wealth: float = math.nan
    _tests: int = field(default=0, init=False)
    _found: list[int] = field(default_factory=list, init=False)
    """When something was discovered: the last `_KEPT` times and the first."""
    _first: int = field(default=0, init=False)

    _KEPT = 200
    """Older discoveries give next to nothing any more."""

    def __post_init__(self) -> None:
        if math.isnan(self.wealth):
            self.wealth = self.rate / 2
        if not 0 < self.wealth <= self.rate < 1:
            msg = f"a wealth of {self.wealth} at a rate of {self.rate}: 0 < wealth <= rate < 1"
            raise ValueError(msg)

    def level(self) -> float:
        """Below which p-value the next test is a discovery (LORD++, eq. 9)."""
        now = self._tests + 1
        level = _share(_LORD, now) * self.wealth
        if self._first:
            level += (self.rate - self.wealth) * _share(_LORD, now - self._first)
        return level + self.rate * sum(_share(_LORD, now - at) for at in self._found)

    def test(self, p: float) -> bool:
        """Make one test; True for a discovery."""
        found = p <= self.level()
        self._tests += 1
        if found and not self._first:
            self._first = self._tests
        elif found:
            self._found = [*self._found, self._tests][-self._KEPT :]
        return found


@dataclass(slots=True)
class Saffron:
    """SAFFRON: learns from large p-values how many of the tests are of nothing.

    Candidates cost no wealth, so that it has more power than LORD where many tests are of
    something real and come in bursts, as they do in an incident.

    Args:
        rate: As for `Lord`.
        candidate: A p-value up to it is a candidate, 0 to 1.
        wealth: As for `Lord`.
    """

    rate: float
    candidate: float = 0.5
    wealth: float = math.nan
    _tests: int = field(default=0, init=False)
    _candidates: int = field(default=0, init=False)
    _found: list[tuple[int, int]] = field(default_factory=list, init=False)
    """Of each discovery but the first: its test, and how many candidates there were by then."""
    _first: tuple[int, int] | None = field(default=None, init=False)

    _KEPT = 200

    def __post_init__(self) -> None:
        if math.isnan(self.wealth):
            self.wealth = self.rate / 2
        if not (0 < self.wealth <= self.rate < 1 and 0 < self.candidate < 1):
            msg = f"a wealth of {self.wealth} at a rate of {self.rate}: 0 < wealth <= rate < 1"
            raise ValueError(msg)

    def level(self) -> float:
        """Below which p-value the next test is a discovery (SAFFRON, algorithm 1)."""
        now = self._tests + 1

        def share(found: tuple[int, int]) -> float:
            at, candidates = found
            return _share(_SAFFRON, now - at - (self._candidates - candidates))

        level = self.wealth * _share(_SAFFRON, now - self._candidates)
        if self._first is not None:
            level += (self.rate - self.wealth) * share(self._first)
        level += self.rate * sum(share(one) for one in self._found)
        return min(self.candidate, (1.0 - self.candidate) * level)

    def test(self, p: float) -> bool:
        """Make one test; True for a discovery."""
        found = p <= self.level()
        self._tests += 1
        candidate = p <= self.candidate
        if found:
            here = (self._tests, self._candidates + candidate)
            if self._first is None:
                self._first = here
            else:
                self._found = [*self._found, here][-self._KEPT :]
        self._candidates += candidate
        return found
