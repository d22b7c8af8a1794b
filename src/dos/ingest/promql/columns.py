"""Answers of many queries as one frame.

Every label set of every query is mapped to its row once; after that an answer costs a dictionary
look-up per label set, and the rest is arrays. As long as no new label set comes, frames share
one `series` tuple, which the intake has interned already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dos.ingest.promql.identity import Identities, merged
from dos.ingest.promql.queries import Combine, Query
from dos.ingest.roles import meaning_of
from dos.model.entity import Entity
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array, Int32Array, Int64Array, SampleFrame, SeriesSpec

_NONE = -1
"""Row of a label set that names no entity, or whose series another query provides."""
_SPARE = 1_000
"""Rows that may be left of label sets which are gone before the table is built anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundQuery:
    """A query ready to be sent."""

    key: str
    """Unique; names it in messages: `latency_p95 of preset istio`."""
    promql: str
    query: Query


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """The samples a query returned."""

    labels: Sequence[Mapping[str, str]]
    """`[label set]`."""
    which: Int32Array
    """`[sample]` position in `labels`."""
    at: Int64Array
    """`[sample]` ms."""
    value: Float64Array

    def __len__(self) -> int:
        return len(self.value)


class Columns:
    """Maps answers to rows of one table of series, and collects the entities they name."""

    def __init__(self, identities: Identities) -> None:
        self._identities = identities
        self._epoch = identities.epoch
        self._rows: dict[str, dict[tuple[str, ...], int]] = {}
        self._owner: dict[SeriesSpec, str] = {}
        self._row_of: dict[SeriesSpec, int] = {}
        self._series: tuple[SeriesSpec, ...] = ()
        self._entities: dict[EntityId, Entity] = {}
        self._changed: dict[EntityId, Entity] = {}

    def __len__(self) -> int:
        return len(self._series)

    def frame(self, answers: Sequence[tuple[BoundQuery, Answer]]) -> SampleFrame | None:
        """All samples of `answers` in one frame, sorted by time; None when there are none.

        Queries in front provide a series before those behind. Cost: O(samples).
        """
        self._forget_gone(sum(len(answer.labels) for _, answer in answers))
        parts = self._collect(answers)
        if self._identities.epoch != self._epoch:  # a name turned out to be two: name all again
            self._reset()
            parts = self._collect(answers)
        if not parts:
            return None
        index = np.concatenate([part[0] for part in parts])
        at = np.concatenate([part[1] for part in parts])
        value = np.concatenate([part[2] for part in parts])
        if len(at) and (at[1:] < at[:-1]).any():
            order = np.argsort(at, kind="stable")
            index, at, value = index[order], at[order], value[order]
        return SampleFrame(series=self._series, index=index, timestamp=at, value=value)

    def saw(self, entity: Entity) -> None:
        """Note an entity that was named elsewhere (by an edge)."""
        known = self._entities.get(entity.id)
        now = merged(known, entity)
        if now is not known:
            self._entities[now.id] = self._changed[now.id] = now

    def new_entities(self) -> tuple[Entity, ...]:
        """Entities that are new or known better since the last call, sorted by id."""
        changed = tuple(self._changed[key] for key in sorted(self._changed))
        self._changed.clear()
        return changed

    def _collect(
        self, answers: Sequence[tuple[BoundQuery, Answer]]
    ) -> list[tuple[Int32Array, Int64Array, Float64Array]]:
        found = [
            _combined(bound.query.combine, self._rows_of(bound, answer)[answer.which], answer)
            for bound, answer in answers
        ]
        if len(self._series) != len(self._row_of):
            self._series = tuple(self._row_of)
        return [part for part in found if len(part[0])]

    def _rows_of(self, bound: BoundQuery, answer: Answer) -> Int32Array:
        """`[label set]` row of each label set of the answer."""
        query = bound.query
        keys = (*query.entity.labels, *query.labels)
        known = self._rows.setdefault(bound.key, {})
        rows = np.empty(len(answer.labels), np.int32)
        for position, labels in enumerate(answer.labels):
            get = labels.get
            identity = tuple([get(key, "") for key in keys])
            row = known.get(identity)
            if row is None:
                row = known[identity] = self._new_row(bound, labels)
            rows[position] = row
        return rows

    def _new_row(self, bound: BoundQuery, labels: Mapping[str, str]) -> int:
        entity = self._identities.entity(bound.query.entity, labels)
        if entity is None:
            return _NONE
        self.saw(entity)
        spec = _spec(bound.query, entity.id, labels)
        if self._owner.setdefault(spec, bound.key) != bound.key:
            return _NONE
        return self._row_of.setdefault(spec, len(self._row_of))

    def _forget_gone(self, label_sets: int) -> None:
        """Pods come and go: do not keep the label sets of all that ever were."""
        if sum(map(len, self._rows.values())) > 2 * label_sets + _SPARE:
            self._reset()

    def _reset(self) -> None:
        self._epoch = self._identities.epoch
        self._rows.clear()
        self._owner.clear()
        self._row_of.clear()
        self._series = ()


def _spec(query: Query, entity: EntityId, labels: Mapping[str, str]) -> SeriesSpec:
    meaning = meaning_of(query.metric, query.unit)
    return SeriesSpec(
        entity=entity,
        metric=query.metric,
        labels=tuple(sorted((key, labels.get(key, "")) for key in query.labels)),
        role=query.role or meaning.role,
        unit=query.unit or meaning.unit,
    )


def _combined(
    how: Combine, rows: Int32Array, answer: Answer
) -> tuple[Int32Array, Int64Array, Float64Array]:
    """One value per row and time, without what has no value (no traffic: 0/0)."""
    keep = (rows != _NONE) & np.isfinite(answer.value)
    rows, at, value = rows[keep], answer.at[keep], answer.value[keep]
    if not len(rows):
        return rows, at, value
    first = at.min()
    cell = rows.astype(np.int64) * (int(at.max() - first) + 1) + (at - first)
    cells, positions, member = np.unique(cell, return_index=True, return_inverse=True)
    if len(cells) == len(cell):
        return rows, at, value
    combined: Float64Array = value[positions]
    if how is Combine.MAX:
        np.maximum.at(combined, member, value)
    elif how is Combine.MIN:
        np.minimum.at(combined, member, value)
    else:
        combined = np.zeros(len(cells), np.float64)
        np.add.at(combined, member, value)
        if how is Combine.MEAN:
            combined /= np.bincount(member).astype(np.float64)
    return rows[positions], at[positions], combined
