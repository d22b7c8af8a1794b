from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import structlog

from dos.kit.clock import Millis
from dos.kit.errors import TransientError
from dos.model.ids import SeriesId
from dos.model.telemetry import MetricBatch
from dos.storage.history.ring import LANES, RingHistory
from tests.unit.bus.intakes import batch

NAN = float("nan")


@pytest.fixture(params=["memory", "file"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path if request.param == "file" else None


def ring(place: Path | None, resolution: int = 10, retention: int = 100) -> RingHistory:
    return RingHistory(place, resolution_ms=resolution, retention_ms=retention)


def read(
    history: RingHistory, series: list[int], start: int, end: int
) -> tuple[list[int], list[list[float]]]:
    window = history.window([SeriesId(one) for one in series], Millis(start), Millis(end))
    assert window.values.shape == (len(window.times), len(series))
    return window.times.tolist(), window.values.tolist()


def test_an_empty_ring_has_nothing(place: Path | None) -> None:
    assert read(ring(place), [0, 1], 0, 1000) == ([], [])


def test_samples_come_back_on_their_grid(place: Path | None) -> None:
    history = ring(place)
    history.append(batch([0, 1], [100, 103], [1.0, 2.0]))
    history.append(batch([1], [129], [3.0]))
    times, values = read(history, [1, 0], 100, 129)
    assert times == [100, 110, 120]
    np.testing.assert_array_equal(values, [[2.0, 1.0], [NAN, NAN], [3.0, NAN]])
    assert history.resolution == 10


def test_a_window_covers_the_slots_of_its_ends(place: Path | None) -> None:
    history = ring(place)
    history.append(batch([0, 0, 0], [108, 112, 121], [1.0, 2.0, 3.0]))
    assert read(history, [0], 108, 120) == ([100, 110, 120], [[1.0], [2.0], [3.0]])
    assert read(history, [0], 110, 119) == ([110], [[2.0]])
    assert read(history, [0], 120, 110) == ([], [])
    assert read(history, [], 110, 119) == ([110], [[]])


def test_of_a_slot_the_last_to_arrive_counts(place: Path | None) -> None:
    history = ring(place)
    history.append(batch([0, 1, 0], [109, 100, 101], [1.0, 5.0, 2.0]))
    assert read(history, [0], 100, 100)[1] == [[2.0]]
    history.append(batch([0], [100], [3.0]))
    assert read(history, [0, 1], 100, 100)[1] == [[3.0, 5.0]]


def test_old_samples_are_overwritten_and_never_shown_as_new(place: Path | None) -> None:
    history = ring(place)
    for slot in range(40):
        history.append(batch([0, LANES + 5], [slot * 10] * 2, [slot, -slot]))
    history.append(batch([0], [390 + 50], [44.0]))
    times, values = read(history, [0, LANES + 5], 0, 10**6)
    assert times == list(range(340, 450, 10))
    expected = [[s, -s] if s < 40 else [44.0 if s == 44 else NAN, NAN] for s in range(34, 45)]
    np.testing.assert_array_equal(values, expected)


def test_late_samples_go_to_their_slot_and_too_late_ones_nowhere(place: Path | None) -> None:
    history = ring(place)
    history.append(batch([0], [1000], [1.0]))
    history.append(batch([0, 1, 2], [900, 899, 950], [2.0, 3.0, 4.0]))
    history.append(batch([1], [100], [5.0]))
    times, values = read(history, [0, 1, 2], 0, 2000)
    assert (times[0], times[-1], len(times)) == (900, 1000, 11)
    found = np.array(values)
    assert found[0, 0] == 2.0
    assert found[5, 2] == 4.0
    assert found[10, 0] == 1.0
    assert np.isfinite(found).sum() == 3


def test_a_back_fill_of_many_slots_at_once(place: Path | None) -> None:
    history = ring(place, retention=1000)
    ids, slots = np.meshgrid(np.arange(3000), np.arange(50), indexing="ij")
    history.append(batch(ids.ravel(), slots.ravel() * 10, (ids * 100 + slots).ravel()))
    _, values = read(history, [0, 1023, 1024, 2999], 0, 1000)
    expected = [[one * 100 + slot for one in (0, 1023, 1024, 2999)] for slot in range(50)]
    assert values == expected


def test_unknown_series_are_not_a_number(place: Path | None) -> None:
    history = ring(place)
    history.append(batch([0], [100], [1.0]))
    _, values = read(history, [-1, 0, 5, 10**6], 100, 100)
    np.testing.assert_array_equal(values, [[NAN, 1.0, NAN, NAN]])


def test_the_first_slot_of_all_time_is_like_the_others(place: Path | None) -> None:
    """Virtual time may begin at 0, and so may be mistaken for memory never written."""
    history = ring(place)
    history.append(batch([1], [0], [7.0]))
    np.testing.assert_array_equal(read(history, [0, 1], 0, 9)[1], [[NAN, 7.0]])


def test_huge_values_stay_finite(place: Path | None) -> None:
    history = ring(place)
    history.append(batch([0, 1], [100, 100], [1e300, -1e300]))
    values = np.array(read(history, [0, 1], 100, 100)[1])
    assert np.isfinite(values).all()
    assert (np.sign(values) == [[1, -1]]).all()


def test_it_survives_a_restart(tmp_path: Path) -> None:
    first = ring(tmp_path)
    first.append(batch([0, 2000], [100, 110], [1.0, 2.0]))
    del first
    second = ring(tmp_path)
    np.testing.assert_array_equal(read(second, [0, 2000], 100, 200)[1], [[1.0, NAN], [NAN, 2.0]])
    second.append(batch([2000], [120], [3.0]))
    second.close()
    assert read(second, [0], 100, 200) == ([], [])
    assert read(ring(tmp_path), [2000], 120, 120) == ([120], [[3.0]])


@pytest.mark.parametrize("change", [{"resolution": 20}, {"retention": 200}])
def test_other_dimensions_begin_anew_with_a_warning(tmp_path: Path, change: dict[str, int]) -> None:
    ring(tmp_path).append(batch([0], [100], [1.0]))
    with structlog.testing.capture_logs() as logs:
        other = ring(tmp_path, **change)
    assert [line["event"] for line in logs] == ["history_started_anew"]
    assert read(other, [0], 0, 1000) == ([], [])
    other.append(batch([0], [100], [2.0]))
    assert read(ring(tmp_path, **change), [0], 100, 100)[1] == [[2.0]]


def test_a_file_that_is_no_ring_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "ring.dat").write_bytes(b"garbage" * 3000)
    with structlog.testing.capture_logs() as logs:
        history = ring(tmp_path)
    assert [line["event"] for line in logs] == ["history_started_anew"]
    history.append(batch([0], [100], [2.0]))
    assert read(history, [0], 100, 100)[1] == [[2.0]]


def test_a_full_disk_is_an_error_and_not_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = ring(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("dos.storage.history.ring._reserve", full)
        with pytest.raises(TransientError, match=r"ring\.dat to \d+ bytes: No space left"):
            history.append(batch([0], [100], [1.0]))
    history.append(batch([0], [110], [1.0]))
    assert read(history, [0], 110, 110)[1] == [[1.0]]


def test_a_negative_series_is_refused() -> None:
    with pytest.raises(ValueError, match="-3 is no series id"):
        ring(None).append(batch([1, -3], [100, 100], [1.0, 2.0]))


@pytest.mark.parametrize(("resolution", "retention"), [(0, 10), (10, 0), (-1, 5)])
def test_impossible_dimensions_are_refused(resolution: int, retention: int) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        ring(None, resolution, retention)


WRITER = """
import os, sys
import numpy as np
from dos.model.telemetry import MetricBatch
from dos.storage.history.ring import RingHistory
history = RingHistory(sys.argv[1], resolution_ms=10, retention_ms=100)
slot = 0
while True:
    history.append(MetricBatch(
        series_id=np.arange(3000, dtype=np.int32),
        timestamp=np.full(3000, slot * 10),
        value=np.full(3000, float(slot)),
    ))
    os.write(1, slot.to_bytes(4, "little"))
    slot += 1
"""


def test_kill_9_leaves_no_value_of_another_time(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.read(4 * 700)
    writer.kill()
    rest = writer.stdout.read()
    writer.wait()
    writer.stdout.close()
    last = int.from_bytes(rest[-4:], "little") if rest else 699
    history = ring(tmp_path)
    series = [SeriesId(one) for one in range(3000)]
    window = history.window(series, Millis(0), Millis(10**9))
    slots = window.times // 10
    assert slots[-1] >= last
    known = np.isfinite(window.values)
    right = window.values == slots[:, None]
    assert (right | ~known).all()
    assert known[slots <= last].all()


@pytest.mark.serial
def test_large_batches_are_appended_in_the_time_of_a_few_copies(tmp_path: Path) -> None:
    history = RingHistory(tmp_path, resolution_ms=15_000, retention_ms=600_000)
    count = 200_000
    batches = [
        MetricBatch(
            series_id=np.arange(count, dtype=np.int32),
            timestamp=np.full(count, slot * 15_000),
            value=np.full(count, float(slot)),
        )
        for slot in range(60)
    ]
    for one in batches[:41]:  # once around, so that all pages are there
        history.append(one)
    table = np.zeros((41, count), np.float32)
    append, copy = float("inf"), float("inf")
    for slot, one in enumerate(batches[41:]):
        started = time.process_time()  # of this process only: the machine may be busy
        history.append(one)
        append = min(append, time.process_time() - started)
        started = time.process_time()
        table[slot, one.series_id] = one.value
        copy = min(copy, time.process_time() - started)
    assert append / copy < 13, append / copy
