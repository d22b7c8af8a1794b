"""What is shown of the series: the newest sample beside its band, and which detector says most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from dos.detect.ensemble import score_of
from dos.detect.judge import Opinions, Rules, weigh_rows
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
class Readings:
    """The newest sample of every series beside its band, in columns `[series]`; NaN: unknown."""

    series_id: Int32Array
    timestamp: Int64Array
    value: Float64Array
    expected: Float64Array
    lower: Float64Array
    upper: Float64Array
    score: Float64Array
    abnormal: BoolArray
    detector: UInt8Array
    """The detector that says most of the newest sample, by its place in the kernel's list."""
    closely: BoolArray
    """Whether the series is watched closely."""
    rarity: Float64Array
    """Share of the series' healthy samples that are at least as strange, by that detector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """One detector at work."""

    name: str
    closely: bool
    """Whether it watches only the series that matter or are suspected."""
    series: int
    """How many it watches."""
    bytes_per_series: float


def readings_of(
    state: EngineState, everyday: Member, rules: Rules, config: ThresholdConfig
) -> Readings:
    """Newest value, expectation, band and score of every row; the band is the everyday one."""
    engine, own = state.engine, state.members[0].own
    row = np.arange(len(engine), dtype=np.int32)
    expected = cast(Float32Array, engine["expected"]).astype(np.float64)
    sigma = cast(Float32Array, engine["sigma"]).astype(np.float64)
    strength = cast(Float32Array, engine["strength"]).astype(np.float64)
    said = Opinions(sigma, np.zeros(len(row)), np.zeros(len(row), np.bool_))
    _, limit = weigh_rows(rules, state.rows(), *state.tails(0), row, row, said, True)
    unit = everyday.detector.to_unit
    return Readings(
        series_id=cast(Int32Array, engine["id"]).copy(),
        timestamp=cast(Int64Array, engine["last"]).copy(),
        value=cast(Float64Array, engine["value"]).copy(),
        expected=unit(own, row, expected),
        lower=unit(own, row, expected - limit * sigma),
        upper=unit(own, row, expected + limit * sigma),
        score=score_of(strength),
        abnormal=cast(BoolArray, engine["abnormal"]).copy(),
        detector=cast(UInt8Array, engine["leader"]).copy(),
        closely=state.slot >= 0,
        rarity=_rarities(state, rarity(config, strength)),
    )


def _rarities(state: EngineState, rare: Float64Array) -> Float64Array:
    """`rare`, `[series]`, but what a close detector says where that says most."""
    leader = cast(UInt8Array, state.engine["leader"])
    for place, member in enumerate(state.members):
        if "rarity" in member.tails.names:
            mine = np.flatnonzero(leader == place)
            rare[mine] = member.tails["rarity"][state.slot[mine]]
    return rare


def merged(found: Sequence[Findings]) -> Findings:
    """Findings of one kernel in order of time, then series."""
    parts = [one for one in found if len(one)]
    if not parts:
        return Findings.empty()
    columns = {
        name: np.concatenate([getattr(one, name) for one in parts])
        for name in Findings.__dataclass_fields__
    }
    order = np.lexsort((columns["series_id"], columns["timestamp"]))
    return Findings(**{name: column[order] for name, column in columns.items()})
