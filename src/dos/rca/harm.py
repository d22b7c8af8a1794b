"""How often changes of each kind do harm, by what followed those in the history of a case.

A change of the past was harmful if what it touched was clearly abnormal on average in the minutes
after it, or if the samples of that time were cut out of the history, as those of incidents are.
How often a kind of change does harm is then the mean of a beta distribution: a prior worth
`PRIOR_WEIGHT` changes and what was seen (Gelman et al., *Bayesian Data Analysis*, 3rd ed., section
2.4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dos.kit.clock import MINUTE
from dos.model.change import Change, ChangeKind
from dos.model.ids import EntityId
from dos.rca.case import LARGEST, Case
from dos.rca.evidence import NOTABLE
from dos.rca.measure import DRIFT, FARTHEST, normal

PRIOR = {
    ChangeKind.DEPLOY: 0.10,
    ChangeKind.CONFIG: 0.10,
    ChangeKind.FLAG: 0.10,
    ChangeKind.SCALE: 0.03,
    ChangeKind.RESTART: 0.03,
    ChangeKind.OTHER: 0.03,
}
"""Share of changes that do harm. Of what carries new behaviour a tenth: between the change fail
rates of medium and high performers in the yearly DORA reports. Of what runs the same as before a
third of that."""
PRIOR_WEIGHT = 10.0
"""Changes that the prior is worth."""
AFTERMATH = 5 * MINUTE
"""How long after a change its harm is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is known of one kind of change."""

    seen: int = 0
    """Changes of the past after which samples were taken."""
    harmful: int = 0

    def rate(self, kind: ChangeKind) -> float:
        """Expected share of changes that do harm, 0 to 1."""
        return (self.harmful + PRIOR[kind] * PRIOR_WEIGHT) / (self.seen + PRIOR_WEIGHT)


def track_record(case: Case, until: int) -> Mapping[ChangeKind, Record]:
    """What became of the changes before `until`, ms; O(changes x samples of one entity).

    Changes of nothing in particular, of what has no series, or from before the first sample are
    passed over: nobody can say what became of them.
    """
    columns: dict[EntityId, list[int]] = {}
    for at, spec in enumerate(case.series):
        columns.setdefault(spec.entity, []).append(at)
    found: dict[ChangeKind, Record] = {}
    for change in case.changes:
        mine = columns.get(change.entity) if change.entity is not None else None
        if mine is None or change.at + AFTERMATH > until:
            continue
        harm = _did_harm(case, change, mine, until)
        if harm is not None:
            record = found.get(change.kind, Record())
            found[change.kind] = Record(seen=record.seen + 1, harmful=record.harmful + harm)
    return found


def _did_harm(case: Case, change: Change, mine: list[int], until: int) -> bool | None:
    """None where nobody looked at that time."""
    times = case.times
    if not len(times) or change.at < times[0]:
        return None
    after = (times > change.at) & (times <= change.at + AFTERMATH)
    if not after.any():
        step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
        # Coarse samples may lie further apart than the time that is looked at.
        return True if step < AFTERMATH and times[-1] > change.at else None
    # What was usual without the change: a long harm must not become its own yardstick.
    rest = (times <= change.at) | (times > change.at + 2 * AFTERMATH)
    present = np.abs(case.values[:, mine]) <= LARGEST
    values = np.where(present, case.values[:, mine], np.nan)
    usual = np.where((rest & (times < until))[:, None], values, np.nan)
    series = tuple(case.series[at] for at in mine)
    center, scale = normal(usual, series, values[after])
    z = (values[after] - center) / scale
    known = ~np.isnan(z)
    if not known.any():
        return None
    off = np.where(known, np.clip(z, -FARTHEST, FARTHEST), 0.0).sum(axis=0)
    mean = np.abs(off / np.maximum(known.sum(axis=0), 1))
    return bool(mean.max() >= DRIFT + np.expm1(NOTABLE))
