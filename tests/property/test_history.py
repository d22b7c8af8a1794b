"""Ring and segments against a plain dictionary of samples."""

from __future__ import annotations

import tempfile

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dos.kit.clock import Millis
from dos.model.ids import SeriesId
from dos.storage.history.ring import RingHistory
from dos.storage.history.segments import SegmentHistory
from tests.unit.bus.intakes import batch

RESOLUTION, RETENTION = 10, 70
SERIES = [0, 1, 1023, 1024, 2500]

samples = st.lists(
    st.tuples(
        st.sampled_from(SERIES),
        st.integers(0, 400),
        st.integers(-1000, 1000).map(float),
    ),
    max_size=15,
)


@given(st.lists(samples, max_size=12), st.booleans(), st.integers(0, 400), st.integers(0, 400))
@settings(max_examples=80, deadline=None)
def test_the_ring_is_a_dictionary_that_forgets(
    batches: list[list[tuple[int, int, float]]], on_disk: bool, start: int, end: int
) -> None:
    with tempfile.TemporaryDirectory() as place:
        history = RingHistory(
            place if on_disk else None, resolution_ms=RESOLUTION, retention_ms=RETENTION
        )
        rows = RETENTION // RESOLUTION + 1
        model: dict[tuple[int, int], float] = {}
        newest = -1
        for one in batches:
            newest = max([newest, *(time // RESOLUTION for _, time, _ in one)])
            for series, time, value in one:
                if time // RESOLUTION > newest - rows:
                    model[series, time // RESOLUTION] = value
            history.append(batch(*map(list, zip(*one, strict=True))) if one else batch([], [], []))
            if on_disk and len(one) % 3 == 0:
                history = RingHistory(place, resolution_ms=RESOLUTION, retention_ms=RETENTION)
        window = history.window([SeriesId(s) for s in SERIES], Millis(start), Millis(end))
        first = max(0, newest - rows + 1, start // RESOLUTION)
        slots = list(range(first, min(newest, end // RESOLUTION) + 1))
        assert window.times.tolist() == [slot * RESOLUTION for slot in slots]
        expected = [[model.get((s, slot), np.nan) for s in SERIES] for slot in slots]
        np.testing.assert_array_equal(window.values, np.array(expected).reshape(-1, len(SERIES)))


@given(
    st.lists(st.tuples(samples, st.sampled_from(["keep", "flush", "some", "replay"])), max_size=8),
    st.sets(st.sampled_from(SERIES)),
    st.integers(0, 400),
    st.integers(0, 400),
)
@settings(max_examples=40, deadline=None)
def test_the_segments_are_a_dictionary(
    steps: list[tuple[list[tuple[int, int, float]], str]], wanted: set[int], start: int, end: int
) -> None:
    """Times are in seconds here, so that they spread over many segments."""
    with tempfile.TemporaryDirectory() as place:
        history = SegmentHistory(place, span_ms=60_000)
        model: dict[tuple[int, int], float] = {}
        unwritten: list[list[tuple[int, int, float]]] = []
        for one, then in steps:
            unwritten.append(one)
            _append(history, one)
            model |= {(series, time * 1000): value for series, time, value in one}
            if then == "flush":
                history.flush()
                unwritten = []
            elif then == "some":
                history.flush(Millis(200_000))
            elif then == "replay":  # killed: what was not written comes again from the log
                history = SegmentHistory(place, span_ms=60_000)
                for again in unwritten:
                    _append(history, again)
        found = history.read(
            [SeriesId(s) for s in wanted], Millis(start * 1000), Millis(end * 1000)
        )
        expected = sorted(
            (*key, value)
            for key, value in model.items()
            if key[0] in wanted and start * 1000 <= key[1] <= end * 1000
        )
        columns = (found.series_id.tolist(), found.timestamp.tolist(), found.value.tolist())
        assert list(zip(*columns, strict=True)) == expected


def _append(history: SegmentHistory, one: list[tuple[int, int, float]]) -> None:
    if one:
        series, seconds, values = map(list, zip(*one, strict=True))
        history.append(batch(series, [time * 1000 for time in seconds], values))
