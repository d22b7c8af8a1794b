"""Which series are watched closely: a stated number of slots, given to those that matter.

Detectors that look at windows cost more than the everyday statistics, so they watch only series
that have a slot. Golden signals come first, then traffic and saturation, then the rest while
there is room. Once all slots are taken, a series under suspicion takes the slot of the one that
was under suspicion longest ago; golden signals keep theirs. All of that depends on samples and
their order alone, never on a clock, and is kept in columns: a restart changes nothing.

In several partitions each has that many slots of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from dos.detect.columns import Column, Columns
from dos.kit.clock import MINUTE
from dos.model.telemetry import (
    BoolArray,
    Float32Array,
    Int8Array,
    Int32Array,
    Int64Array,
    Role,
    Series,
)

ROWS = {
    "slot": Column(dtype="<i4", initial=-1),
    "rank": Column(dtype="|i1"),
    "suspected": Column(dtype="<i8"),
}
"""Columns that the engine keeps a row each for: the slot of a series or -1, how much it matters
(0 most), and when it was last under suspicion."""

SLOTS = {"row": Column(dtype="<i4", initial=-1)}
"""The row that has a slot, or -1."""

OTHER = 2
"""Rank of series of which nobody knows what they say."""
_HOLD = 30 * MINUTE
"""A series keeps its slot at least so long after it was last suspected, by its samples' times."""
_ANY_TIME = int(np.iinfo(np.int64).max)
_MOST_AT_ONCE = 16
"""Series that may take a slot over in one step: each is warmed up from its past."""


def rank_of(role: Role) -> int:
    """How much a series matters: 0 golden signals, 1 traffic and saturation, 2 the rest."""
    if role.is_golden:
        return 0
    return 1 if role in {Role.TRAFFIC, Role.SATURATION} else OTHER


class Slots:
    """Gives slots to rows.

    Args:
        most: How many there are.
    """

    def __init__(self, most: int) -> None:
        self._most = most

    def enter(self, engine: Columns, first: int, series: Sequence[Series]) -> None:
        """Rows `first…` are new: note how much they matter."""
        engine["rank"][first:] = [rank_of(one.spec.role) for one in series]

    def claim_new(self, engine: Columns, slots: Columns, first: int) -> Int32Array:
        """Give slots to the new rows `first…`, those that matter most first; the rows that got one.

        When there is no free slot, golden signals take those of lesser series, latest row first.
        """
        rank = cast(Int8Array, engine["rank"])
        order = first + np.argsort(rank[first:], kind="stable")
        free = self._most - len(slots)
        taken = order[:free].astype(np.int32)
        start = len(slots)
        slots.grow(len(taken))
        slots["row"][start:] = taken
        engine["slot"][taken] = np.arange(start, start + len(taken))
        golden = order[free:][rank[order[free:]] == 0].astype(np.int32)
        return np.concatenate([taken, _take_over(engine, slots, golden, _ANY_TIME)])

    def claim(
        self, engine: Columns, slots: Columns, row: Int32Array, at: Int64Array, by: Float32Array
    ) -> Int32Array:
        """Give slots to some of `row`, suspected at `at`, most suspected first; who got one.

        Only slots of series that were not suspected for a while are given away.
        """
        order = np.lexsort((row, -by))[:_MOST_AT_ONCE]
        return _take_over(engine, slots, row[order], int(at[order].min()) - _HOLD)


def _take_over(engine: Columns, slots: Columns, row: Int32Array, before: int) -> Int32Array:
    """Slots of those that matter least and were suspected longest ago, for as many as can."""
    holders = cast(Int32Array, slots["row"])
    rank = cast(Int8Array, engine["rank"])[holders]
    suspected = cast(Int64Array, engine["suspected"])[holders]
    abnormal = cast(BoolArray, engine["abnormal"])[holders]
    may = np.flatnonzero((rank > 0) & ~abnormal & (suspected < before))
    order = may[np.lexsort((-holders[may], -rank[may], suspected[may]))][: len(row)]
    taken = row[: len(order)]
    engine["slot"][holders[order]] = -1
    engine["leader"][holders[order]] = 0
    slots["row"][order] = taken
    engine["slot"][taken] = order
    return taken
