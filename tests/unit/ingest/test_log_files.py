"""Times, severities and bodies of lines as people have them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from dos.ingest.log_files import MAX_LINE, read_lines
from dos.kit.clock import Millis, from_rfc3339, to_rfc3339
from dos.kit.errors import CorruptDataError, PermanentError
from dos.model.logs import LogLine

NOW = from_rfc3339("2026-11-23T12:00:00Z")


def read(path: Path, content: str | bytes, name: str = "cart.log") -> list[LogLine]:
    file = path / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_lines([file], NOW)


@pytest.mark.parametrize(
    ("text", "time", "body", "severity"),
    [
        ("2026-11-23T09:00:00Z INFO up", "2026-11-23T09:00:00.000Z", "INFO up", 9),
        ("2026-11-23 09:00:00,250 ERROR up", "2026-11-23T09:00:00.250Z", "ERROR up", 17),
        ("[2026-11-23T09:00:00+02:00] up", "2026-11-23T07:00:00.000Z", "up", 0),
        ("Nov 23 09:00:00 host up", "2026-11-23T09:00:00.000Z", "host up", 0),
        ("Dec  1 09:00:00 host up", "2025-12-01T09:00:00.000Z", "host up", 0),
        ("[10/Oct/2026:13:55:36 -0700] up", "2026-10-10T20:55:36.000Z", "up", 0),
        ("[Sun Oct 04 04:47:44 2026] [error] up", "2026-10-04T04:47:44.000Z", "[error] up", 17),
        ("Feb 31 09:00:00 up", None, "Feb 31 09:00:00 up", 0),
        ("level=warn msg=up", None, "level=warn msg=up", 13),
        ("Error: no such file", None, "Error: no such file", 17),
        ("liberror-perl is up", None, "liberror-perl is up", 0),
        ("an error-free day", None, "an error-free day", 0),
    ],
)
def test_lines_of_text(
    text: str, time: str | None, body: str, severity: int, tmp_path: Path
) -> None:
    (line,) = read(tmp_path, text + "\n")
    assert line.timestamp == (from_rfc3339(time) if time else 0)
    assert (line.body.decode(), line.severity, line.entity) == (body, severity, "cart")


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (1_790_000_000, "2026-09-21T14:13:20.000Z"),
        (1_790_000_000.5, "2026-09-21T14:13:20.500Z"),
        (1_790_000_000_500, "2026-09-21T14:13:20.500Z"),
        (1_790_000_000_500_000_000, "2026-09-21T14:13:20.500Z"),
        ("2026-09-21T14:13:20Z", "2026-09-21T14:13:20.000Z"),
    ],
)
def test_times_of_structured_lines(time: object, expected: str, tmp_path: Path) -> None:
    raw = {"ts": time, "level": "warning", "msg": "slow", "service": "db", "weight": 3}
    (line,) = read(tmp_path, json.dumps(raw))
    assert to_rfc3339(line.timestamp) == expected
    assert (line.entity, line.body, line.severity, line.weight) == ("db", b"slow", 13, 3.0)


@pytest.mark.parametrize(
    "raw",
    ['{"msg": 5}', "{not json", "{}", '{"body": "x", "time": "soon", "weight": -1}', "{" * 9000],
)
def test_json_that_says_little(raw: str, tmp_path: Path) -> None:
    (line,) = read(tmp_path, raw)
    assert line.weight == 1.0
    assert line.timestamp == 0


def test_indented_lines_go_on_with_the_one_above(tmp_path: Path) -> None:
    text = "boom\n\tat a.b(C.java:1)\n    at d.e\n\nCaused by: x\n"
    assert [one.body for one in read(tmp_path, text)] == [b"boom", b"Caused by: x"]


def test_a_line_without_a_time_has_that_of_the_one_before(tmp_path: Path) -> None:
    first, second = read(tmp_path, "2026-11-23T09:00:00Z up\nmore\n")
    assert first.timestamp == second.timestamp


def test_files_are_merged_by_time(tmp_path: Path) -> None:
    for name, second in (("a.log", 2), ("b.log", 1)):
        (tmp_path / name).write_text(f"2026-11-23T09:00:0{second}Z up\n")
    found = read_lines([tmp_path / "a.log", tmp_path / "b.log"], NOW)
    assert [one.entity for one in found] == ["b", "a"]


def test_huge_lines_are_cut_and_bytes_kept(tmp_path: Path) -> None:
    found = read(tmp_path, b"x" * (2 * MAX_LINE) + b"\n\xff\x00up\n")
    assert [len(one.body) for one in found] == [MAX_LINE, 4]


def test_gzip_and_damaged_gzip(tmp_path: Path) -> None:
    packed = gzip.compress(b"up\n" * 100)
    assert len(read(tmp_path, packed, "a.log.gz")) == 100
    for damaged in (packed[:-9], b"nonsense"):
        with pytest.raises(CorruptDataError, match=r"a\.log\.gz"):
            read(tmp_path, damaged, "a.log.gz")


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(PermanentError, match="cannot be read: No such file"):
        read_lines([Path("/nonexistent/x.log")], Millis(NOW))
