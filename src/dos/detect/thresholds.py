"""Adaptive thresholds: each series learns how far its healthy samples stray.

A series with heavy tails would cross any fixed number of sigmas again and again. So for each
series the `tail` quantile of |z| is tracked by stochastic approximation in log space (Robbins &
Monro, 1951): up by a large step when a sample lies beyond, down by a small one when not, in the
proportion that balances at the wanted quantile. The threshold is that quantile times a margin,
and never less than the configured minimum (`dos.detect.judge`, compiled).

What lasts is stranger than what is over at once. So the mean of the last few deviations is tracked
beside the single ones, as a control chart with exponential weights does (Roberts, *Control chart
tests based on geometric moving averages*, Technometrics 1, 1959), with a quantile and a threshold
of its own, which are lower. The stronger of the two counts.

A detector that looks closely is judged by the fitted tail of its own past deviations
(`dos.detect.evt`): its threshold is what a stated share of healthy samples reaches.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from dos.model.telemetry import Float64Array


class ThresholdConfig(BaseModel):
    """How far from normal is abnormal."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    minimum: float = Field(default=6.0, gt=0, le=100)
    """Robust sigmas that are needed at least."""
    margin: float = Field(default=1.5, ge=1, le=10)
    """The threshold is this many times the tail quantile of the series' own past."""
    tail: float = Field(default=0.999, gt=0.5, lt=1)
    """Which quantile of |z| is tracked."""
    lasting: float = Field(default=3.5, gt=0, le=100)
    """Robust sigmas that the mean of the last samples needs at least."""
    lasting_half_life: float = Field(default=4.0, ge=1, le=1000)
    """Samples after which half of that mean is of newer ones."""
    closely: float = Field(default=5.0, gt=0, le=100)
    """Deviation that a detector that looks closely needs at least."""
    risk: float = Field(default=0.002, gt=0, lt=0.02)
    """Share of healthy samples that may reach the threshold of such a detector; one of them alone
    is no anomaly."""
    rate: float = Field(default=0.15, gt=0, le=2)
    """Size of an upward step, in log units; smaller is steadier and slower."""


def rarity(config: ThresholdConfig, strength: Float64Array) -> Float64Array:
    """Share of healthy samples as strong to the everyday detector, were the tail exponential.

    A share `1 - tail` lies beyond the tracked quantile, and the threshold is `margin` times it.

    Args:
        config: The configuration.
        strength: |z| over the threshold.
    """
    return (1 - config.tail) ** (config.margin * strength)
