"""Series that have fallen silent become anomalies, although no sample comes that could be judged.

A detector that knows how long series are waited for (`missing_data`) is asked at each step which
of them are overdue, by the time of the newest samples. They are abnormal from when the sample was
to be expected that did not come. As with any other anomaly, samples that are calm end it; if none
comes, the pipeline takes it as over after a while, and as not recovered.

The direction is below: there are fewer samples than expected. Value and band are the last known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast, runtime_checkable

import numpy as np

from dos.detect.columns import Columns
from dos.detect.ensemble import score_of
from dos.detect.judge import Rules
from dos.detect.members import Member
from dos.detect.state import EngineState
from dos.detect.thresholds import ThresholdConfig, rarity
from dos.model.anomaly import Findings
from dos.model.telemetry import (
    BoolArray,
    Float32Array,
    Float64Array,
    Int32Array,
    Int64Array,
    UInt8Array,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Overdue:
    """Series that have fallen silent, in columns `[series]`."""

    row: Int32Array
    since: Int64Array
    """When the sample was to be expected that did not come, ms."""
    deviation: Float64Array
    """How strange the silence is, in robust sigmas; above 0."""


@runtime_checkable
class Listener(Protocol):
    """A detector that notices silence."""

    def overdue(self, columns: Columns, now: int) -> Overdue:
        """Series that have become overdue by `now` (ms); each is told once in a silence."""
        ...


def silence(
    state: EngineState,
    members: Sequence[Member],
    rules: Rules,
    config: ThresholdConfig,
    now: int,
) -> list[Findings]:
    """What the listeners among `members`, which watch every series, find at `now` (ms)."""
    found: list[Findings] = []
    for place, (member, own) in enumerate(zip(members, state.members, strict=False)):
        if not isinstance(member.detector, Listener):
            continue
        overdue = member.detector.overdue(own.own, now)
        fresh = ~cast(BoolArray, state.engine["abnormal"])[overdue.row]
        if fresh.any():
            leader = np.full(int(fresh.sum()), place, np.uint8)
            one = Overdue(
                row=overdue.row[fresh],
                since=overdue.since[fresh],
                deviation=overdue.deviation[fresh],
            )
            found.append(
                _started(state, one, members[0], leader, rules=rules, config=config, now=now)
            )
    return found


def _started(
    state: EngineState,
    overdue: Overdue,
    everyday: Member,
    leader: UInt8Array,
    *,
    rules: Rules,
    config: ThresholdConfig,
    now: int,
) -> Findings:
    """The findings, and what the engine notes of them."""
    engine, row = state.engine, overdue.row
    strength = np.maximum(overdue.deviation / rules.minimum, 1.0)
    for name, column in (
        ("abnormal", np.ones(len(row), np.bool_)),
        ("onset", overdue.since),
        ("evidence", np.full(len(row), rules.confirm)),
        ("reported", strength),
        ("strength", strength),
        ("leader", leader),
        ("calm", np.zeros(len(row), np.int32)),
        ("streak", np.zeros(len(row), np.int32)),
    ):
        engine[name][row] = column
    value = cast(Float64Array, engine["value"])[row]
    middle = cast(Float32Array, engine["expected"])[row].astype(np.float64)
    reach = rules.minimum * cast(Float32Array, engine["sigma"])[row].astype(np.float64)
    band = [
        everyday.detector.to_unit(state.detector, row, one)
        for one in (middle - reach, middle, middle + reach)
    ]
    lower, expected, upper = (np.where(np.isnan(one), value, one) for one in band)
    return Findings(
        series_id=cast(Int32Array, engine["id"])[row],
        timestamp=np.full(len(row), now, np.int64),
        started=np.ones(len(row), np.bool_),
        onset=overdue.since,
        deviation=-overdue.deviation,
        score=score_of(strength),
        observed=value,
        expected=expected,
        lower=lower,
        upper=upper,
        detector=leader,
        rarity=rarity(config, strength),
    )
