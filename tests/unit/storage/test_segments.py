from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import structlog

from dos.kit.clock import DAY, HOUR, MINUTE, Millis, from_rfc3339
from dos.kit.errors import CorruptDataError, TransientError
from dos.model.ids import EntityId, SeriesId
from dos.model.telemetry import MetricBatch, Role, Series, SeriesSpec
from dos.storage.history.files import write_samples
from dos.storage.history.segments import SegmentHistory
from tests.unit.bus.intakes import batch

NOON = from_rfc3339("2026-11-23T12:00:00Z")


def rows(samples: MetricBatch) -> list[tuple[int, int, float]]:
    columns = (samples.series_id, samples.timestamp - NOON, samples.value)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def read(history: SegmentHistory, series: list[int], start: int = 0, end: int = DAY) -> list[
    tuple[int, int, float]
]:  # fmt: skip
    ids = [SeriesId(one) for one in series]
    return rows(history.read(ids, Millis(NOON + start), Millis(NOON + end)))


def at(minutes: float, ids: list[int], values: list[float]) -> MetricBatch:
    return batch(ids, [NOON + int(minutes * MINUTE)] * len(ids), values)


def names(paths: object, directory: Path) -> list[str]:
    return [str(path.relative_to(directory)) for path in paths]  # type: ignore[attr-defined]


def series(number: int, metric: str = "latency_p95") -> Series:
    spec = SeriesSpec(
        entity=EntityId("checkout"),
        metric=metric,
        labels=(("code", "500"), ("path", "/")),
        role=Role.LATENCY,
        unit="seconds",
    )
    return Series(id=SeriesId(number), spec=spec)


def test_finished_spans_are_written_and_the_rest_waits(tmp_path: Path) -> None:
    history = SegmentHistory(tmp_path)
    for minutes in range(12):
        history.append(at(minutes, [1, 0], [minutes, -minutes]))
    written = history.flush(Millis(NOON + 10 * MINUTE + 1))
    assert names(written, tmp_path) == [
        "2026-11-23/120000-300s.parquet",
        "2026-11-23/120500-300s.parquet",
    ]
    assert list(history.flush(Millis(NOON + 14 * MINUTE))) == []
    assert read(history, [1], 9 * MINUTE) == [(1, m * MINUTE, m) for m in (9, 10, 11)]
    assert names(history.flush(), tmp_path) == ["2026-11-23/121000-300s.parquet"]
    assert len(read(history, [0, 1])) == 24


def test_reading_is_sorted_and_clipped_and_unknown_series_are_absent(tmp_path: Path) -> None:
    history = SegmentHistory(tmp_path)
    history.append(at(6, [3, 1], [63, 61]))
    history.append(at(1, [1, 3, 2], [11, 13, 12]))
    history.flush()
    history.append(at(2, [1], [21]))
    assert read(history, [3, 1, 99]) == [
        (1, 1 * MINUTE, 11),
        (1, 2 * MINUTE, 21),
        (1, 6 * MINUTE, 61),
        (3, 1 * MINUTE, 13),
        (3, 6 * MINUTE, 63),
    ]
    assert read(history, [1], 1 * MINUTE, 2 * MINUTE) == [(1, MINUTE, 11), (1, 2 * MINUTE, 21)]
    assert read(history, [1], 1 * MINUTE + 1, 2 * MINUTE - 1) == []
    assert read(history, []) == []


def test_a_segment_is_one_table_sorted_by_series_and_time(tmp_path: Path) -> None:
    history = SegmentHistory(tmp_path)
    history.append(at(1, [2, 1], [1, 2]))
    history.append(at(0, [2, 1], [3, 4]))
    (path,) = history.flush()
    table = pq.read_table(path)
    assert table.schema.to_string() == (
        "series_id: int32 not null\n"
        "timestamp: timestamp[ms, tz=UTC] not null\n"
        "value: float not null"
    )
    assert table["series_id"].to_pylist() == [1, 1, 2, 2]
    assert table["value"].to_pylist() == [4, 2, 3, 1]


def test_late_samples_are_merged_and_replays_change_nothing(tmp_path: Path) -> None:
    history = SegmentHistory(tmp_path)
    history.append(at(1, [0, 1], [1, 2]))
    (path,) = history.flush()
    before = path.read_bytes()
    history.append(at(1, [0, 1], [1, 2]))
    assert list(history.flush()) == [path]
    assert path.read_bytes() == before
    history.append(at(2, [0], [5]))
    history.append(at(1, [0], [9]))
    history.flush()
    assert read(history, [0, 1]) == [(0, MINUTE, 9), (0, 2 * MINUTE, 5), (1, MINUTE, 2)]
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_values_read_the_same_before_and_after_they_are_written(tmp_path: Path) -> None:
    history = SegmentHistory(tmp_path)
    history.append(at(1, [0, 1], [0.1, 1e300]))
    before = read(history, [0, 1])
    history.flush()
    assert read(history, [0, 1]) == before
    assert np.isfinite([value for _, _, value in before]).all()


def test_the_series_table_lies_beside(tmp_path: Path) -> None:
    history = SegmentHistory(tmp_path)
    history.add_series([series(1, "errors"), series(0)])
    history.append(at(0, [0, 1], [1, 2]))
    history.close()
    table = pq.read_table(tmp_path / "series.parquet").to_pylist()
    assert table[0] == {
        "id": 0,
        "entity": "checkout",
        "metric": "latency_p95",
        "labels": [("code", "500"), ("path", "/")],
        "role": "latency",
        "unit": "seconds",
        "kind": "gauge",
    }
    again = SegmentHistory(tmp_path)
    assert list(again.series()) == [series(0), series(1, "errors")]
    again.add_series([series(0)])
    with pytest.raises(ValueError, match="series 1 is 'checkout errors"):
        again.add_series([series(1, "other")])
    assert len(read(again, [0, 1])) == 2


def test_expired_files_are_deleted(tmp_path: Path) -> None:
    history = SegmentHistory(tmp_path, span_ms=HOUR)
    for hours in (-13, -1, 0, 1):
        history.append(at(hours * 60, [0], [hours]))
    history.flush()
    assert history.expire(Millis(NOON + 30 * MINUTE)) == 2
    assert [value for _, _, value in read(history, [0], -DAY)] == [0, 1]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["2026-11-23"]


def test_a_damaged_file_is_named_when_it_is_read(tmp_path: Path) -> None:
    history = SegmentHistory(tmp_path)
    history.append(at(0, [0], [1]))
    history.append(at(6, [0], [2]))
    bad, _ = history.flush()
    bad.write_bytes(bad.read_bytes()[:-20])
    with pytest.raises(CorruptDataError, match=rf"{bad.name} of the history cannot be read"):
        read(history, [0])
    assert read(history, [0], 5 * MINUTE) == [(0, 6 * MINUTE, 2)]
    with structlog.testing.capture_logs() as logs:
        (error,) = history.check()
    assert str(bad) in str(error)
    assert logs[0]["event"] == "history_segment_damaged"


def test_a_damaged_file_is_moved_aside_when_it_is_to_be_merged(tmp_path: Path) -> None:
    history = SegmentHistory(tmp_path)
    history.append(at(0, [0], [1]))
    (bad,) = history.flush()
    bad.write_bytes(b"PAR1 no more")
    history.append(at(1, [0], [2]))
    with structlog.testing.capture_logs() as logs:
        history.flush()
    assert logs[0]["event"] == "history_segment_damaged"
    assert read(history, [0]) == [(0, MINUTE, 2)]
    assert bad.with_name(f"{bad.name}.damaged").exists()


def test_half_written_files_are_passed_over(tmp_path: Path) -> None:
    history = SegmentHistory(tmp_path)
    history.append(at(0, [0], [1]))
    (path,) = history.flush()
    path.with_name("120500-300s.parquet.new").write_bytes(b"PAR1")
    (tmp_path / "notes.txt").write_text("mine")
    assert read(history, [0]) == [(0, 0, 1)]
    assert list(history.check()) == []


def test_a_damaged_series_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "series.parquet").write_bytes(b"x" * 100)
    with pytest.raises(CorruptDataError, match=r"series\.parquet of the history cannot be read"):
        SegmentHistory(tmp_path)


def test_on_a_full_disk_nothing_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = SegmentHistory(tmp_path)
    for minutes in (0, 6, 12):
        history.append(at(minutes, [0], [minutes]))

    def full(path: Path, samples: MetricBatch) -> None:
        if "1205" in path.name:
            raise OSError(28, "No space left on device")
        write_samples(path, samples)

    with monkeypatch.context() as patch:
        patch.setattr("dos.storage.history.segments.write_samples", full)
        with pytest.raises(TransientError, match="No space left on device"):
            history.flush(Millis(NOON + 10 * MINUTE))
    assert len(read(history, [0])) == 3
    assert len(history.flush()) == 2
    assert [value for _, _, value in read(history, [0])] == [0, 6, 12]


def test_row_groups_without_the_series_are_not_read(tmp_path: Path) -> None:
    history = SegmentHistory(tmp_path)
    count = 150_000
    history.append(at(0, list(range(count)), list(range(count))))
    (path,) = history.flush()
    assert pq.read_metadata(path).num_row_groups == 3
    assert read(history, [5, 70_000, 149_999]) == [
        (5, 0, 5),
        (70_000, 0, 70_000),
        (149_999, 0, 149_999),
    ]


def test_a_sample_costs_few_bytes(tmp_path: Path) -> None:
    history = SegmentHistory(tmp_path)
    rng = np.random.default_rng(1)
    count, steps = 600, 20
    base = rng.lognormal(size=count)
    for step in range(steps):
        values = base * (1 + 0.02 * rng.normal(size=count))
        history.append(at(step / 4, list(range(count)), values.tolist()))
    (path,) = history.flush()
    assert path.stat().st_size / (count * steps) < 4


@pytest.mark.parametrize("span", [0, -5, 1500, 7 * MINUTE])
def test_impossible_spans_are_refused(tmp_path: Path, span: int) -> None:
    with pytest.raises(ValueError, match="divide a day"):
        SegmentHistory(tmp_path, span_ms=span)
