"""Which part of a recording counts as healthy, and the simulation cut like it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from dos.evaluate.healthy import Measure, labelled, measure_of, recorded, simulated
from dos.kit.errors import CorruptDataError, PermanentError
from dos.simulate.worlds import world

BEGAN = 1_700_000_000


def write(folder: Path, header: str, rows: list[str], about: dict[str, object]) -> Path:
    folder.mkdir(parents=True)
    text = "\n".join([f"time,{header}", *rows]) + "\n"
    (folder / "metrics.csv").write_text(text)
    (folder / "case.json").write_text(json.dumps(about))
    return folder


def steady(count: int, step: int = 60) -> list[str]:
    return [f"{BEGAN + i * step},{0.3 + 0.001 * (i % 7)},{100 + i % 5}" for i in range(count)]


def test_incidents_of_every_case_and_excluded_windows_are_cut_out(tmp_path: Path) -> None:
    header = "web|cpu,web|requests_Sum"
    about = {"inject_time": BEGAN + 40 * 60, "end_time": BEGAN + 45 * 60}
    write(tmp_path / "set/case-001", header, steady(100), about)
    other = {
        "inject_time": BEGAN + 90 * 60,
        "end_time": BEGAN + 99 * 60,
        "exclude": [[BEGAN + 60 * 60, BEGAN + 65 * 60]],
    }
    write(tmp_path / "set/case-002", header, steady(100), other)
    found = recorded(tmp_path / "set")
    assert found.step_s == 60
    # Up to a minute before the first injection; from 2 min after its end to the excluded window;
    # from there to a minute before the second injection.
    assert [len(piece) for piece in found.pieces] == [39, 12, 23]
    assert found.rate == pytest.approx(102 / 60, rel=0.01)


def test_a_recording_filled_between_scrapes_is_thinned_to_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    scraped = rng.normal(10.0, 1.0, 60)
    rows = [f"{BEGAN + i},{scraped[i // 15]:.6f}" for i in range(900)]
    about = {"inject_time": BEGAN + 2_000, "end_time": BEGAN + 2_300}
    write(tmp_path / "set/case-001", "web|lat_50", rows, about)
    found = recorded(tmp_path / "set")
    assert found.step_s == 15
    assert found.pieces[0][:, 0] == pytest.approx(scraped, abs=1e-6)


def test_a_baseline_file_is_taken_instead_of_the_cases(tmp_path: Path) -> None:
    folder = tmp_path / "set/case-001"
    about = {"inject_time": BEGAN + 60, "end_time": BEGAN + 600, "normal": "../normal.csv"}
    write(folder, "web|availability_Average", [f"{BEGAN + i * 300},50" for i in range(4)], about)
    rows = [f"{BEGAN - 86_400 + i * 300},{99 + i % 2}" for i in range(50)]
    text = "time,web|availability_Average\n" + "\n".join(rows) + "\n"
    (tmp_path / "set/normal.csv").write_text(text)
    found = recorded(tmp_path / "set")
    assert [column.measure for column in found.columns] == [Measure.ERRORS]
    assert np.unique(found.pieces[0]) == pytest.approx([0.0, 0.01])
    assert found.rate is None


def test_nodes_and_other_metrics_are_left_out(tmp_path: Path) -> None:
    rows = [f"{BEGAN + i * 60},{i},{i % 3},{i % 4}" for i in range(30)]
    header = "10.0.0.1|cpu,web|cpu,web|disk_io_time"
    write(tmp_path / "set/case-001", header, rows, {"inject_time": BEGAN + 9_000})
    (column,) = recorded(tmp_path / "set").columns
    assert (column.entity, column.measure) == ("web", Measure.CPU)


def test_requests_are_those_that_an_entity_was_called_with(tmp_path: Path) -> None:
    write(tmp_path / "set/case-001", "web|cpu,web|lod", steady(30), {"inject_time": BEGAN + 9_000})
    spans = [
        "trace,span,parent,pod,operation,start_us,duration_us",
        "1,a,,web,page,1000,900000",
        "1,b,a,web,call,1100,500000",
        "1,c,b,db,query,1200,300000",
    ]
    (tmp_path / "set/normal_traces.csv.gz").write_bytes(gzip.compress("\n".join(spans).encode()))
    db, web = recorded(tmp_path / "set").requests
    assert db == pytest.approx([0.3])
    assert web == pytest.approx([0.9])


def test_a_set_without_a_quiet_stretch_says_so(tmp_path: Path) -> None:
    about = {"inject_time": BEGAN + 120, "end_time": BEGAN + 1_740}
    write(tmp_path / "set/case-001", "web|cpu,web|lod", steady(30), about)
    with pytest.raises(PermanentError, match="no stretch of 8 samples"):
        recorded(tmp_path / "set")


@pytest.mark.parametrize(
    ("metric", "measure"),
    [
        ("PodWorkload(Ops)", Measure.TRAFFIC),
        ("lat_90", Measure.LATENCY),
        ("latency_p95", Measure.LATENCY),
        ("NodeCpuUsageRate(%)", None),
        ("cpu_usage_extra", None),
    ],
)
def test_metric_names_are_matched_whole(metric: str, measure: Measure | None) -> None:
    assert measure_of(metric) is measure


def write_series(folder: Path, name: str, labels: list[int]) -> Path:
    rows = [f"{i / 10},{label}" for i, label in enumerate(labels)]
    path = folder / name
    path.write_bytes(gzip.compress(("Data,Label\n" + "\n".join(rows) + "\n").encode()))
    return path


def test_of_a_labelled_series_only_the_clean_prefix_counts(tmp_path: Path) -> None:
    name = "039_WSD_id_11_WebService_tr_50_1st_60.csv.gz"
    found = labelled(write_series(tmp_path, name, [0] * 60 + [1] * 5))
    assert found is not None
    assert (found.name, found.step_s) == ("WSD WebService", 60.0)
    assert found.pieces[0][:, 0] == pytest.approx(np.arange(50) / 10)
    assert not found.scaled


def test_series_that_are_not_of_services_or_not_clean_are_left_out(tmp_path: Path) -> None:
    sensor = "531_SMAP_id_1_Sensor_tr_50_1st_60.csv.gz"
    assert labelled(write_series(tmp_path, sensor, [0] * 60)) is None
    dirty = "113_WSD_id_85_WebService_tr_50_1st_35.csv.gz"
    assert labelled(write_series(tmp_path, dirty, [0] * 35 + [1] + [0] * 30)) is None


def test_a_series_with_words_for_numbers_names_its_file(tmp_path: Path) -> None:
    path = tmp_path / "001_NAB_id_1_Facility_tr_2_1st_9.csv"
    path.write_text("Data,Label\n1,0\nmany,0\n")
    with pytest.raises(CorruptDataError, match=r"001_NAB.*not 'Data,Label'"):
        labelled(path)


def test_the_simulated_world_is_cut_like_a_recording() -> None:
    found = simulated(world("sketch"), seed=3, step_s=30.0, lengths=[20, 12])
    assert [len(piece) for piece in found.pieces] == [20, 12]
    entities = {column.entity for column in found.columns}
    assert len(entities) == 4
    assert {column.measure for column in found.columns} >= {
        Measure.TRAFFIC,
        Measure.ERRORS,
        Measure.LATENCY,
        Measure.CPU,
        Measure.MEMORY,
        Measure.NETWORK,
    }
    assert len(found.requests) == 4
    again = simulated(world("sketch"), seed=3, step_s=30.0, lengths=[20, 12])
    for one, other in zip(found.pieces, again.pieces, strict=True):
        assert np.array_equal(one, other)
    assert not np.array_equal(found.pieces[0][:12], found.pieces[1])


def test_traffic_can_be_brought_to_that_of_a_recording() -> None:
    busy = simulated(world("sketch"), seed=3, step_s=60.0, lengths=[40])
    quiet = simulated(world("sketch"), seed=3, step_s=60.0, lengths=[40], rate=4.0)
    assert busy.rate is not None
    assert quiet.rate is not None
    assert busy.rate > 20
    assert quiet.rate == pytest.approx(4.0, rel=0.5)
    # Fewer requests to count, but as busy as before.
    cpu = [i for i, one in enumerate(busy.columns) if one.measure is Measure.CPU]
    assert quiet.pieces[0][:, cpu].mean() == pytest.approx(busy.pieces[0][:, cpu].mean(), rel=0.2)
