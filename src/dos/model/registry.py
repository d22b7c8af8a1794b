"""The series registry: each series is described once and is a small integer ever after."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from dos.model.ids import EntityId, SeriesId
from dos.model.telemetry import Int8Array, Int32Array, Role, Series, SeriesSpec

ROLE_CODES: dict[Role, int] = {role: code for code, role in enumerate(Role)}
"""`Role` as the small integer used in arrays."""


class SeriesRegistry:
    """Append-only table of series; ids are dense, from 0, in order of first sight.

    One writer (the intake, or the pipeline that applies its log). Column views (`entity_index`,
    `role_code`) are arrays `[series]`, valid until the next `add`.
    """

    def __init__(self) -> None:
        self._series: list[Series] = []
        self._ids: dict[SeriesSpec, SeriesId] = {}
        self._entities: dict[EntityId, int] = {}
        self._by_entity: dict[EntityId, list[SeriesId]] = {}
        self._entity_index: list[int] = []
        self._role_code: list[int] = []
        self._entity_column = np.empty(0, np.int32)
        self._role_column = np.empty(0, np.int8)

    def __len__(self) -> int:
        return len(self._series)

    def __getitem__(self, series_id: SeriesId | int) -> Series:
        return self._series[series_id]

    def find(self, spec: SeriesSpec) -> SeriesId | None:
        """The id of `spec`, or None when it was never seen."""
        return self._ids.get(spec)

    def intern(self, spec: SeriesSpec) -> tuple[Series, bool]:
        """The series of `spec` and whether it is new."""
        known = self._ids.get(spec)
        if known is not None:
            return self._series[known], False
        series = Series(id=SeriesId(len(self._series)), spec=spec)
        self._append(series)
        return series, True

    def add(self, series: Iterable[Series]) -> None:
        """Apply series interned elsewhere (a log being replayed); known ones are skipped.

        Raises:
            ValueError: An id leaves a gap or contradicts a known series.
        """
        for one in series:
            if one.id < len(self._series):
                if self._series[one.id].spec != one.spec:
                    msg = f"series {one.id} is {self._series[one.id].spec.describe()!r} already"
                    raise ValueError(msg)
            elif one.id == len(self._series):
                self._append(one)
            else:
                msg = f"series {one.id} leaves a gap after {len(self._series) - 1}"
                raise ValueError(msg)

    def since(self, count: int) -> Sequence[Series]:
        """The series from id `count` on."""
        return self._series[count:]

    def of_entity(self, entity: EntityId) -> Sequence[SeriesId]:
        """Ids of the series of `entity`, oldest first."""
        return self._by_entity.get(entity, ())

    @property
    def entities(self) -> Sequence[EntityId]:
        """Entities in order of first sight; `entity_index` points in here."""
        return list(self._entities)

    @property
    def entity_index(self) -> Int32Array:
        """`[series]` position of each series' entity in `entities`."""
        self._refresh()
        return self._entity_column

    @property
    def role_code(self) -> Int8Array:
        """`[series]` code of each series' role, see `ROLE_CODES`."""
        self._refresh()
        return self._role_column

    def _refresh(self) -> None:
        if len(self._entity_column) != len(self._series):
            self._entity_column = np.array(self._entity_index, dtype=np.int32)
            self._role_column = np.array(self._role_code, dtype=np.int8)

    def _append(self, series: Series) -> None:
        entity = series.spec.entity
        self._series.append(series)
        self._ids[series.spec] = series.id
        self._by_entity.setdefault(entity, []).append(series.id)
        self._entity_index.append(self._entities.setdefault(entity, len(self._entities)))
        self._role_code.append(ROLE_CODES[series.spec.role])
