"""Drift: whether what was learned still fits what comes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dos.kit.clock import Millis


class Fit(StrEnum):
    """How well the baseline of a group of series fits them."""

    LEARNING = "learning"
    """The reference is still being collected."""
    FITS = "fits"
    SHIFTED = "shifted"
    """Clearly different from the reference: worth a look."""
    GONE = "gone"
    """No longer fits: the model should be trained again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReading:
    """One group of series, as of the last look at them."""

    group: str
    """Namespace and role: `shop/latency`."""
    series: int
    """Of the group, at the last look."""
    fit: Fit
    stability: float | None
    """Population stability index of recent deviations against the reference; None while
    learning."""
    bias: float | None
    """Mean deviation of recent samples, in half widths of the band; 0 is in its middle."""
    outside: float | None
    """Share of recent samples outside the band."""
    outside_before: float | None
    """The same in the reference."""
    reference_since: Millis
    """When the reference began."""
    hint: str = ""
    """What to do, as a sentence; empty while it fits."""
