"""From scores to probabilities that sum to one with `unknown`.

Not calibrated yet: the numbers order hypotheses and grow with the evidence, but 0.7 does not mean
right in seven cases of ten until they are fitted on recorded incidents.
"""

from __future__ import annotations

import numpy as np

from dos.model.telemetry import Float64Array

TEMPERATURE = 0.6
"""Difference in score that makes a hypothesis e times as probable."""
WEAK = 2.5
"""Score at which a lone hypothesis is as probable as `unknown`."""


def probabilities(scores: Float64Array) -> tuple[Float64Array, float]:
    """Softmax over the scores and a fixed alternative `WEAK`, "none of these".

    Args:
        scores: `[entity]`, 0 for an entity that shows nothing.

    Returns:
        `[entity]` probabilities and that of the alternative; together they sum to 1. Entities that
        show nothing get 0.
    """
    shows = scores > 0
    logits = np.append(np.where(shows, scores, -np.inf), WEAK) / TEMPERATURE
    weights = np.exp(logits - logits.max())
    weights /= weights.sum()
    return weights[:-1], float(weights[-1])
