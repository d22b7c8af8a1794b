from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dos.app.past import read_past, stretches
from dos.kit.clock import MINUTE, Millis
from dos.kit.errors import PermanentError
from dos.model.ids import EntityId, SeriesId
from dos.model.telemetry import MetricBatch, Series, SeriesSpec
from dos.storage.history.segments import SegmentHistory

START = 1_767_571_200_000


def test_stretches_are_even_cut_at_gaps_and_filled_in_between() -> None:
    place = np.concatenate([np.arange(300), np.arange(400, 900)])
    place = np.delete(place, [50, 51, 600])  # two samples are missing, and later one
    got = list(stretches(START + place * MINUTE, np.sin(place / 10.0)))
    assert [len(one) for one in got] == [300, 500]
    assert np.allclose(got[0][50:52], np.sin(np.array([50, 51]) / 10.0), atol=0.05)
    assert np.allclose(got[1], np.sin(np.arange(400, 900) / 10.0), atol=0.05)


def test_what_is_short_constant_or_no_number_gives_no_stretch() -> None:
    times = START + np.arange(300) * MINUTE
    assert not list(stretches(times[:100], np.arange(100.0)))
    assert not list(stretches(times, np.ones(300)))
    assert not list(stretches(times, np.full(300, np.nan)))
    assert not list(stretches(np.full(300, START), np.arange(300.0)))


def test_long_term_history_is_read(tmp_path: Path) -> None:
    history = SegmentHistory(tmp_path / "history")
    history.add_series(
        Series(id=SeriesId(one), spec=SeriesSpec(entity=EntityId("cart"), metric=f"m{one}"))
        for one in range(3)
    )
    rng = np.random.default_rng(1)
    values = rng.normal(10.0, 1.0, (400, 3))
    for tick, line in enumerate(values):
        history.append(
            MetricBatch(
                series_id=np.arange(3, dtype=np.int32),
                timestamp=np.full(3, START + tick * MINUTE, np.int64),
                value=line,
            )
        )
    history.flush(Millis(START + 1_000 * MINUTE))
    history.close()
    for folder in (tmp_path, tmp_path / "history"):
        got = read_past(folder)
        assert len(got) == 3
        assert np.allclose(np.sort([one[7] for one in got]), np.sort(values[7]), rtol=1e-6)


def test_metrics_files_are_read(tmp_path: Path) -> None:
    for name in ("a", "b"):
        case = tmp_path / name
        case.mkdir()
        lines = [f"{1_767_571_200 + 60 * i},{np.sin(i / 9):.4f}" for i in range(250)]
        (case / "metrics.csv").write_text("\n".join(["time,cart|cpu", *lines, ""]))
    got = read_past(tmp_path)
    assert [len(one) for one in got] == [250, 250]
    assert len(read_past(tmp_path / "a")) == 1


def test_a_folder_with_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="neither history nor a metrics file"):
        read_past(tmp_path)
