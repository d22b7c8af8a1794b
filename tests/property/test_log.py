"""The intake log against a plain list, over any intakes, sizes of segments, kills and restarts."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dos.bus.codec import decode, encode
from dos.bus.segment import SegmentLog
from dos.kit.clock import Millis
from dos.kit.errors import CorruptDataError
from dos.model.change import Change, ChangeKind
from dos.model.entity import Entity, EntityKind
from dos.model.graph import EdgeEvidence, EdgeKind
from dos.model.ids import ChangeId, EntityId, SeriesId
from dos.model.intake import Intake
from dos.model.telemetry import MetricBatch, MetricKind, Role, Series, SeriesSpec
from tests.unit.bus.intakes import numbered, same

names = st.text(st.characters(codec="utf-8"), max_size=8)
ids = names.map(EntityId)
times = st.integers(-(2**53), 2**53).map(Millis)
labels = st.lists(st.tuples(names, names), max_size=2).map(tuple)


@st.composite
def batches(draw: st.DrawFn) -> MetricBatch:
    count = draw(st.integers(0, 20))
    bits = draw(st.lists(st.integers(0, 2**64 - 1), min_size=count, max_size=count))
    one_time = draw(st.booleans())
    stamps = [draw(times)] * count if one_time else [draw(times) for _ in range(count)]
    series = draw(st.lists(st.integers(0, 2**31 - 1), min_size=count, max_size=count))
    return MetricBatch(
        series_id=np.array(series, np.int32),
        timestamp=np.array(stamps, np.int64),
        value=np.array(bits, np.uint64).view(np.float64),
    )


series_specs = st.builds(
    SeriesSpec,
    entity=ids,
    metric=names,
    labels=labels,
    role=st.sampled_from(Role),
    unit=names,
    kind=st.sampled_from(MetricKind),
)
intakes = st.builds(
    Intake,
    now=times,
    source=names,
    history=st.booleans(),
    series=st.lists(
        st.builds(Series, id=st.integers(0, 9).map(SeriesId), spec=series_specs), max_size=2
    ).map(tuple),
    metrics=batches(),
    entities=st.lists(
        st.builds(Entity, id=ids, kind=st.sampled_from(EntityKind), attributes=labels), max_size=2
    ).map(tuple),
    edges=st.lists(
        st.builds(
            EdgeEvidence,
            caller=ids,
            callee=ids,
            kind=st.sampled_from(EdgeKind),
            source=names,
            seen_at=times,
            confidence=st.floats(0, 1),
        ),
        max_size=2,
    ).map(tuple),
    changes=st.lists(
        st.builds(
            Change,
            id=names.map(ChangeId),
            at=times,
            kind=st.sampled_from(ChangeKind),
            entity=st.none() | ids,
            summary=names,
        ),
        max_size=2,
    ).map(tuple),
)


@given(intakes)
@settings(max_examples=100, deadline=None)
def test_any_intake_goes_there_and_back(intake: Intake) -> None:
    data = encode(intake)
    back = decode(data)
    assert same(back, intake)
    assert encode(back) == data
    assert back.metrics.value.tobytes() == intake.metrics.value.tobytes()


@given(intakes, st.data())
@settings(max_examples=100, deadline=None)
def test_a_piece_of_an_intake_is_never_taken_for_one(intake: Intake, data: st.DataObject) -> None:
    whole = encode(intake)
    size = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(CorruptDataError):
        decode(whole[:size])


@given(
    sizes=st.lists(st.integers(0, 60), min_size=1, max_size=12),
    segment_bytes=st.integers(1, 3000),
    steps=st.lists(st.sampled_from(["append", "restart", "tear", "trim"]), max_size=12),
    cut=st.integers(1, 10_000),
)
@settings(max_examples=40, deadline=None)
def test_the_log_is_a_list(
    sizes: list[int], segment_bytes: int, steps: list[str], cut: int
) -> None:
    with tempfile.TemporaryDirectory() as place:
        log = SegmentLog(place, segment_bytes=segment_bytes)
        kept: list[tuple[int, int]] = []  # offset after it, number
        number = 0
        for step in ["append", *steps]:
            if step == "append":
                for size in sizes:
                    kept.append((log.append(numbered(number, size)), number))
                    number += 1
            elif step == "trim":
                log.trim(kept[len(kept) // 2][0])
                kept = [one for one in kept if one[0] > log.start]
            else:
                log.close()
                if step == "tear" and kept:
                    lost = _tear(Path(place), cut)
                    kept = kept[:-1] if lost else kept
                log = SegmentLog(place, segment_bytes=segment_bytes)
            found = [(entry.offset, entry.intake.now) for entry in log.read(log.start)]
            assert found == kept
            assert log.end == (kept[-1][0] if kept else log.start)
            if not kept:
                break
        log.close()


def _tear(directory: Path, cut: int) -> bool:
    """Cut the last record short, as a killed writer would; False when the segment is empty."""
    path = max(directory.glob("*.log"))
    data = path.read_bytes()
    last = data.rfind(b"DOSi")
    if last == -1:
        return False
    path.write_bytes(data[: last + cut % (len(data) - last)])
    return True
