"""Whether what a ranker says beside its order came true: probabilities, sets, kinds of fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dos.evaluate.bench.resample import Estimate, Flown
from dos.evaluate.rca.judge import Outcome, Said
from dos.model.telemetry import Float64Array, Int64Array
from dos.simulate.faults import FaultType

SURE = 0.9
"""A claim of at least this probability is one that people act on."""
NOTHING = "nothing wrong"
HIDDEN = "cause not known to the case"
MONITORING = "only a measurement wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What the probabilities of one contender on one set were worth."""

    calibration_error: Estimate
    """Expected calibration error of the first hypotheses' probabilities, over 10 bins."""
    sure: Estimate
    """Share that was right of the first hypotheses with probability `SURE` or more."""
    covered: Estimate
    """Share of the prediction sets that hold the cause."""
    stated: float
    """How often they are said to, on average."""
    set_size: float
    """Entities in a prediction set, on average."""
    abstained: Estimate
    """Share of the cases with a cause in which "none of these" was likelier than any."""
    kind: Estimate
    """Share of right kinds of fault, of the first hypotheses that are right and say one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Harmless:
    """Cases in which nothing was wrong with any entity."""

    what: str
    blamed: Estimate
    """Share in which an entity was likelier than "none of these", and for more than a wrong
    measurement."""
    sure: Estimate
    """Share in which such a one was given `SURE` or more."""


def trust_of(
    outcomes: Sequence[Outcome], clusters: Mapping[str, int], drawn: Flown
) -> Trust | None:
    """None of who gives no probabilities.

    Args:
        outcomes: Of one contender on one set.
        clusters: Place of each cluster.
        drawn: Draws of the clusters.
    """
    known = [(one, one.said) for one in outcomes if one.said is not None]
    if not known:
        return None
    where = np.array([clusters[one.cluster] for one, _ in known], np.int64)

    def share(hits: Sequence[bool], of: Sequence[bool]) -> Estimate:
        both = [hit and counted for hit, counted in zip(hits, of, strict=True)]
        return drawn.share(_by_cluster(both, where, drawn), _by_cluster(of, where, drawn))

    said: list[Said] = [one for _, one in known]
    everyone = [True] * len(said)
    right = [one.right for one in said]
    return Trust(
        calibration_error=drawn.calibration(
            np.array([one.given for one in said]), np.array(right, np.bool_), where
        ),
        sure=share(right, [one.given >= SURE for one in said]),
        covered=share([one.covered for one in said], everyone),
        stated=float(np.mean([one.stated for one in said])),
        set_size=float(np.mean([one.set_size for one in said])),
        abstained=share([one.abstained for one in said], [one.harmful for one, _ in known]),
        kind=share(
            [one.kind_right is True for one in said], [one.kind_right is not None for one in said]
        ),
    )


def harmless_of(
    outcomes: Sequence[Outcome], clusters: Mapping[str, int], drawn: Flown
) -> tuple[Harmless, ...]:
    """Who was named without anything being wrong but, at most, a measurement."""
    monitoring = (FaultType.METRIC_CORRUPTION.value,)
    kinds = {
        NOTHING: [one for one in outcomes if not one.harmful and not one.hidden],
        HIDDEN: [one for one in outcomes if one.hidden],
        MONITORING: [one for one in outcomes if set(one.faults) == set(monitoring)],
    }
    found = []
    for what, cases in kinds.items():
        known = [(one, one.said) for one in cases if one.said is not None]
        if not known:
            continue
        where = np.array([clusters[one.cluster] for one, _ in known], np.int64)
        count = _by_cluster([True] * len(known), where, drawn)
        blamed = _by_cluster([said.blames for _, said in known], where, drawn)
        surely = [said.blames and said.given >= SURE for _, said in known]
        sure = _by_cluster(surely, where, drawn)
        found.append(
            Harmless(what=what, blamed=drawn.share(blamed, count), sure=drawn.share(sure, count))
        )
    return tuple(found)


def _by_cluster(values: Sequence[bool], where: Int64Array, drawn: Flown) -> Float64Array:
    weights = np.array(values, np.float64)
    return np.bincount(where, weights=weights, minlength=drawn.count).astype(np.float64)
