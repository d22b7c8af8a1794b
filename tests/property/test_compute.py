"""However samples of a batch are mixed, each series sees its own in order, once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dos.compute.base import ColumnBatch
from dos.compute.local import LocalHost
from dos.kit.errors import CorruptDataError
from dos.model.anomaly import Findings
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array, Int32Array, MetricBatch, Series, SeriesSpec
from tests.unit.detect.watch import interned

WIDTH = 12


@dataclass
class Diary:
    """Rows of one partition: series ids, and what each of them saw."""

    ids: list[int] = field(default_factory=list)
    seen: dict[int, list[tuple[int, float]]] = field(default_factory=dict)


class Witness:
    """A kernel that writes down what it is given, and checks that it is given it as promised."""

    version = "1"

    def create(self) -> Diary:
        return Diary()

    def grow(self, state: Diary, series: Sequence[Series]) -> Diary:
        state.ids += [one.id for one in series]
        return state

    def step(self, state: Diary, batch: ColumnBatch) -> tuple[Diary, Findings]:
        assert (np.diff(batch.row) >= 0).all(), "ascending"
        for row, at, value in zip(batch.row, batch.timestamp, batch.value, strict=True):
            state.seen.setdefault(state.ids[row], []).append((int(at), float(value)))
        return state, Findings.empty()

    def adjust(self, state: Diary, row: Int32Array, scale: Float64Array) -> Diary:
        raise AssertionError(f"nobody asked for rows {row} of {state} times {scale}")

    def settle(self, state: Diary, row: Int32Array) -> Diary:
        raise AssertionError(f"nobody asked for rows {row} of {state}")

    def dump(self, state: Diary) -> bytes:
        return repr(state.ids).encode()

    def load(self, data: bytes, series: Sequence[Series]) -> Diary:
        if not data.startswith(b"["):
            raise CorruptDataError("That is no diary.")
        return Diary(ids=[int(part) for part in data[1:-1].split(b",") if part])


SAMPLES = st.lists(
    st.tuples(st.integers(0, WIDTH - 1), st.integers(0, 6), st.floats(-1e9, 1e9)), max_size=60
)


@given(samples=SAMPLES)
@pytest.mark.parametrize("partitions", [1, 3, 256])
def test_each_series_sees_its_samples_in_order(
    partitions: int, samples: list[tuple[int, int, float]]
) -> None:
    specs = [SeriesSpec(entity=EntityId(f"s{i}"), metric="m") for i in range(WIDTH)]
    host = LocalHost(Witness(), partitions)
    host.register(interned(specs))
    host.step(
        MetricBatch(
            series_id=np.array([one[0] for one in samples], np.int32),
            timestamp=np.array([one[1] for one in samples], np.int64),
            value=np.array([one[2] for one in samples], np.float64),
        )
    )
    seen: dict[int, list[tuple[int, float]]] = {}
    for state in host.states:
        seen |= state.seen
    for series in range(WIDTH):
        mine = [(at, value) for one, at, value in samples if one == series]
        # Stable: of two samples of one time the one that came first is first.
        assert seen.get(series, []) == sorted(mine, key=lambda pair: pair[0])
