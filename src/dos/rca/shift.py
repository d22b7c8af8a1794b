"""Other ways to say how sure it is that a series changed: Bayesian change point, extreme values.

Both start from samples in robust sigmas of the series' own baseline (`dos.rca.measure`), give a
log evidence for each series `[series]`, and are vectorised over `[time, series]`.
"""

from __future__ import annotations

import numpy as np

from dos.model.telemetry import BoolArray, Float64Array
from dos.rca.case import Case
from dos.rca.measure import FARTHEST, Measured

PRIOR_SHIFT = 5.0
"""Standard deviation, in sigmas, of the shift that a change is expected to be."""
MOST_ALIKE = 0.95
"""Correlation of neighbouring samples beyond which it is not believed."""
TAIL = 0.9
"""Quantile of healthy deviations at which their tail begins."""
TAIL_OF_NORMAL = 0.42
"""Mean excess of the absolute value of a standard normal over that quantile, 1.645."""
NORMAL_TAIL = 1.645
PRIOR_EXCESSES = 10.0
"""Excesses that the tail of a normal distribution is worth beside those that were seen."""
HEAVIEST = 1.0
"""Greatest shape of a tail: with it there is no mean any more."""


def change_evidence(case: Case, measured: Measured) -> Float64Array:
    """`[series]` log Bayes factor of "its level moved at some time" against "it did not".

    The level after the change is normal around the old one with `PRIOR_SHIFT`, the time of the
    change is any of the suspect samples with equal probability, and it lasts to the end of the
    case. The evidence is then a closed form for each time, averaged over times (Smith, *A Bayesian
    approach to inference about a change-point in a sequence of random variables*, Biometrika 62,
    1975, with known variance; Pham et al., *BARO*, FSE 2024, uses its online form to find when).
    Neighbouring samples are alike: a sum of n has `(1 + r) / (1 - r)` times the variance of n
    independent ones, with r the lag-one correlation of the baseline.
    """
    baseline, suspect = case.windows()
    z = _sigmas(case, measured)
    known = suspect & ~np.isnan(z)
    count = np.cumsum(known[::-1], axis=0)[::-1].astype(np.float64)
    total = np.cumsum(np.where(known, z, 0.0)[::-1], axis=0)[::-1]
    alike = _alike(np.where(baseline, z, np.nan))
    wider = (1 + alike) / (1 - alike)
    count, total = count / wider, total / wider
    prior = PRIOR_SHIFT**2
    evidence = 0.5 * total**2 / (count + 1 / prior) - 0.5 * np.log1p(count * prior)
    return _log_mean(evidence, known)


def tail_evidence(case: Case, measured: Measured) -> Float64Array:
    """`[series]` minus log of the share of healthy samples as far off as a typical abnormal one.

    Beyond the `TAIL` quantile of the baseline's deviations a generalised Pareto distribution is
    fitted by probability-weighted moments (Hosking and Wallis, *Parameter and quantile estimation
    for the generalized Pareto distribution*, Technometrics 29, 1987; Siffer et al., *Anomaly
    detection in streams with extreme value theory*, KDD 2017), drawn towards the tail of a normal
    distribution where excesses are few. It is never lighter than exponential: a short history has
    not seen how far its series can go.
    """
    baseline, _ = case.windows()
    away = np.where(baseline, np.abs(_sigmas(case, measured)), np.nan)
    count = np.sum(~np.isnan(away), axis=0)
    ordered = np.sort(away, axis=0)  # NaN last
    first = np.ceil(TAIL * count).astype(np.int64)
    column = np.arange(away.shape[1])
    threshold = np.full(away.shape[1], NORMAL_TAIL)
    if len(ordered):
        reached = ordered[np.clip(first - 1, 0, len(ordered) - 1), column]
        threshold = np.maximum(np.nan_to_num(reached), NORMAL_TAIL)
    row = np.arange(len(ordered))[:, None]
    beyond = (row >= first) & (row < count) & (ordered > threshold)
    excess = np.where(beyond, ordered - threshold, 0.0)
    shape, scale, share = _pareto(excess, beyond, count)
    off = np.abs(measured.observed - measured.center) / measured.scale
    over = np.minimum(np.nan_to_num(off, posinf=FARTHEST), FARTHEST) - threshold
    far = np.maximum(over, 0.0) / scale
    heavy = shape > 1e-6
    minus_log = np.where(heavy, np.log1p(shape * far) / np.where(heavy, shape, 1.0), far)
    evidence: Float64Array = np.where(over > 0, minus_log - np.log(share), 0.0)
    return evidence


def as_sigmas(evidence: Float64Array) -> Float64Array:
    """How many sigmas off a single normal sample would be of the same log evidence."""
    sigmas: Float64Array = np.sqrt(2.0 * np.maximum(evidence, 0.0))
    return sigmas


def _sigmas(case: Case, measured: Measured) -> Float64Array:
    """`[time, series]` samples in sigmas from their normal; NaN where missing or unknown."""
    baseline, suspect = case.windows()
    values = np.where(baseline | suspect, case.values, np.nan)
    with np.errstate(over="ignore"):
        z: Float64Array = (values - measured.center) / measured.scale
    clipped: Float64Array = np.clip(z, -FARTHEST, FARTHEST)
    return clipped


def _alike(z: Float64Array) -> Float64Array:
    """`[series]` correlation of neighbouring samples, 0 to `MOST_ALIKE`."""
    pairs = ~np.isnan(z[1:]) & ~np.isnan(z[:-1])
    before, after = np.where(pairs, z[:-1], 0.0), np.where(pairs, z[1:], 0.0)
    power = (before**2 + after**2).sum(axis=0) / 2
    product = (before * after).sum(axis=0)
    some = power > 0
    alike = np.where(some, product / np.where(some, power, 1.0), 0.0)
    # Few pairs prove little: ten are worth half of what they say.
    number = pairs.sum(axis=0)
    believed: Float64Array = np.clip(alike * number / (number + 10.0), 0.0, MOST_ALIKE)
    return believed


def _log_mean(evidence: Float64Array, known: BoolArray) -> Float64Array:
    """`[series]` log of the mean of exp(evidence) over what is known; 0 where nothing is."""
    some = known.any(axis=0)
    if not len(evidence):
        return np.zeros(evidence.shape[1])
    greatest = np.where(known, evidence, -np.inf).max(axis=0)
    highest = np.where(some, greatest, 0.0)
    # Far below the greatest nothing adds to the mean, and exp() would only underflow.
    relative = np.where(known, np.clip(evidence - highest, -700.0, 0.0), -700.0)
    mean = np.exp(relative).sum(axis=0, where=known) / np.maximum(known.sum(axis=0), 1)
    return np.where(some, highest + np.log(np.maximum(mean, 1e-300)), 0.0)


def _pareto(
    excess: Float64Array, beyond: BoolArray, count: Float64Array
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Shape, scale and weight of each column's tail; `excess` `[time, series]` is in order."""
    number = beyond.sum(axis=0)
    some = np.maximum(number, 1)
    mean = excess.sum(axis=0) / some
    nth = np.cumsum(beyond, axis=0)
    weight = 1.0 - (nth - 0.35) / some
    weighted = (excess * np.where(beyond, weight, 0.0)).sum(axis=0) / some
    ratio = mean - 2.0 * weighted
    sure = (number >= 3) & (ratio > 0)
    raw = np.where(sure, 2.0 - mean / np.where(sure, ratio, 1.0), 0.0)
    trust = number / (number + PRIOR_EXCESSES)
    shape = np.clip(raw * trust, 0.0, HEAVIEST - 0.1)
    typical = trust * mean + (1 - trust) * TAIL_OF_NORMAL
    scale = typical * (1.0 - shape)
    share = (number + (1 - TAIL) * PRIOR_EXCESSES) / (count + PRIOR_EXCESSES)
    return shape, scale, share
