"""Several detectors, one judgement.

Each detector says how far a sample is from what it expects, as a *strength*: its distance over
the threshold that the same detector learned for the same series, so that 1 is where a sample
becomes suspicious, whatever the detector measures. That makes strengths of different detectors
comparable, and the strongest is the judgement. A detector that is still learning, or does not
watch the series, abstains (NaN). With one detector the judgement is that detector's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dos.model.telemetry import Float64Array, UInt8Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verdict:
    """What the detectors say together, in columns `[sample]`."""

    strength: Float64Array
    """Suspicious from 1 on; 0 where all abstain."""
    leader: UInt8Array
    """Place of the detector that says most; 0, the everyday one, where all abstain."""


def combine(detectors: Sequence[str], strength: Float64Array) -> Verdict:
    """Judge each sample by what every detector says of it.

    Pure: depends on nothing but its arguments, sample by sample.

    Args:
        detectors: Their names, in the order of the rows of `strength`.
        strength: `[detector, sample]`, 0 or more; NaN where a detector abstains.
    """
    if len(detectors) == 1:
        none = np.zeros(strength.shape[1], np.uint8)
        return Verdict(strength=np.nan_to_num(strength[0], nan=0.0), leader=none)
    said = np.where(np.isnan(strength), -1.0, strength)
    leader = said.argmax(axis=0)
    strongest = np.take_along_axis(said, leader[None], axis=0)[0]
    return Verdict(strength=np.maximum(strongest, 0.0), leader=leader.astype(np.uint8))


def score_of(strength: Float64Array) -> Float64Array:
    """Anomaly score 0 to 1 from a strength: 0.5 at the threshold, 0.75 at twice it."""
    return 1.0 - np.exp2(-np.maximum(strength, 0.0))
