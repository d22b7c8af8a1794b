"""Labelled series as files."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from dos.evaluate.series.files import (
    PUBLISHED,
    discover,
    published,
    read_all,
    read_series,
)
from dos.kit.errors import CorruptDataError, PermanentError

NAMED = "039_WSD_id_11_WebService_tr_30_1st_60.csv"


def write(path: Path, rows: list[str], header: str = "Data,Label") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join([header, *rows, ""])
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def rows(count: int = 100, anomalous: range = range(60, 65)) -> list[str]:
    return [f"{place / 10},{int(place in anomalous)}" for place in range(count)]


def test_the_name_says_group_and_prefix(tmp_path: Path) -> None:
    series = read_series(write(tmp_path / f"{NAMED}.gz", rows()))
    assert (series.name, series.group) == (NAMED.removesuffix(".csv"), "WSD")
    assert (series.prefix, series.assumed_prefix, series.step_s) == (30, False, 60.0)
    assert series.values[:3].tolist() == [0.0, 0.1, 0.2]
    assert np.flatnonzero(series.labels).tolist() == [60, 61, 62, 63, 64]
    assert (series.anomalies, series.clean) == (1, 30)


def test_another_name_belongs_to_its_folder_and_may_fit_on_fifteen_percent(tmp_path: Path) -> None:
    series = read_series(write(tmp_path / "payments" / "checkout.csv", rows()))
    assert (series.group, series.prefix, series.assumed_prefix) == ("payments", 15, True)
    assert series.step_s == 60.0
    assert read_series(tmp_path / "payments" / "checkout.csv", step_s=5.0).step_s == 5.0


def test_a_prefix_is_clean_up_to_its_first_anomaly(tmp_path: Path) -> None:
    series = read_series(write(tmp_path / NAMED, rows(anomalous=range(20, 25))))
    assert (series.prefix, series.clean) == (30, 20)


def test_rows_without_a_value_are_left_out_and_the_others_know_their_row(tmp_path: Path) -> None:
    lines = rows()
    lines[3], lines[40], lines[99] = ",0", "nan,0", "inf,1"
    series = read_series(write(tmp_path / NAMED, lines))
    assert (len(series), series.rows) == (97, 100)
    assert series.row[[2, 3, 96]].tolist() == [2, 4, 98]
    # 30 rows of the prefix, one of which has no value.
    assert series.prefix == 29
    assert series.values[series.prefix] == 3.0


def test_columns_may_be_in_any_order_and_others_are_ignored(tmp_path: Path) -> None:
    lines = [f"t{place},{int(place == 50)},{place}" for place in range(100)]
    series = read_series(write(tmp_path / "x.csv", lines, "time,label,data"))
    assert series.values[7] == 7.0
    assert np.flatnonzero(series.labels).tolist() == [50]


@pytest.mark.parametrize(
    ("header", "lines", "said"),
    [
        ("Data", ["1"] * 50, "no column Label"),
        ("value,anomaly", ["1,0"] * 50, "no column Data and Label"),
        ("Data,Label", ["1,0"] * 19, "19 points with a value"),
        ("Data,Label", ["1,0"] * 50 + ["1,2"], "neither 0 nor 1"),
        ("Data,Label", ["1,0"] * 50 + ["abc,0"], "not a number"),
        ("Data,Label", ["1,0"] * 50 + ["1,0,0"], "not a CSV table"),
    ],
)
def test_a_file_that_is_no_series_is_refused_by_name(
    tmp_path: Path, header: str, lines: list[str], said: str
) -> None:
    with pytest.raises(CorruptDataError, match=said) as caught:
        read_series(write(tmp_path / "odd.csv", lines, header))
    assert "odd.csv" in str(caught.value)


def test_folders_are_searched_and_the_published_figures_are_no_series(tmp_path: Path) -> None:
    one = write(tmp_path / "a" / "b" / NAMED, rows())
    two = write(tmp_path / "a" / "x.csv.gz", rows())
    write(tmp_path / "a" / PUBLISHED, [f"{NAMED},0.5,0.25"], "file,FIRST,SECOND")
    found = discover([tmp_path, tmp_path / "a", two])
    assert sorted(found) == sorted([one.resolve(), two.resolve()])
    assert published(found) == {
        "FIRST": {NAMED.removesuffix(".csv"): 0.5},
        "SECOND": {NAMED.removesuffix(".csv"): 0.25},
    }


def test_series_of_one_name_are_told_apart(tmp_path: Path) -> None:
    write(tmp_path / "a" / "x.csv", rows())
    write(tmp_path / "b" / "x.csv", rows())
    write(tmp_path / "b" / "y.csv", rows())
    assert [one.name for one in read_all(discover([tmp_path]))] == ["a__x", "b__x", "y"]


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="no such directory"):
        discover([tmp_path / "missing"])
    with pytest.raises(PermanentError, match="no labelled series"):
        discover([tmp_path])
