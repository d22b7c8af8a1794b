"""The log in files: order, restarts, kills, damage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from dos.bus.frame import HEAD_BYTES, MAGIC
from dos.bus.segment import SegmentLog
from dos.kit.errors import CorruptDataError, PermanentError, TransientError
from tests.unit.bus.intakes import numbered


def numbers(log: SegmentLog, offset: int = 0) -> list[int]:
    return [entry.intake.now for entry in log.read(offset)]


def files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.log"))


def written(directory: Path, count: int = 5, segment_bytes: int = 64 * 2**20) -> list[int]:
    """A closed log of `count` entries; returns their offsets."""
    log = SegmentLog(directory, segment_bytes=segment_bytes)
    offsets = [log.append(numbered(number)) for number in range(count)]
    log.close()
    return offsets


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 0x01
    path.write_bytes(data)


def test_offsets_lead_to_the_next_entry(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path, segment_bytes=700)
    assert (log.start, log.end) == (0, 0)
    offsets = [log.append(numbered(number)) for number in range(9)]
    assert offsets == sorted(set(offsets))
    assert log.end == offsets[-1]
    assert len(files(tmp_path)) > 2
    assert [entry.offset for entry in log.read()] == offsets
    for index, offset in enumerate(offsets):
        assert numbers(log, offset) == list(range(index + 1, 9))
    log.close()


def test_reading_sees_what_was_there_at_the_call(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path)
    log.append(numbered(1))
    entries = log.read()
    log.append(numbered(2))
    assert [entry.intake.now for entry in entries] == [1]
    log.close()


def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    offsets = written(tmp_path, 5, segment_bytes=700)
    log = SegmentLog(tmp_path, segment_bytes=700)
    assert log.end == offsets[-1]
    assert log.append(numbered(5)) > offsets[-1]
    assert numbers(log) == [0, 1, 2, 3, 4, 5]
    log.close()
    log.close()


def test_trim_drops_whole_old_segments_only(tmp_path: Path) -> None:
    offsets = written(tmp_path, 9, segment_bytes=700)
    log = SegmentLog(tmp_path, segment_bytes=700)
    log.trim(offsets[3])
    assert 0 < log.start <= offsets[3]
    assert numbers(log, offsets[3]) == [4, 5, 6, 7, 8]
    log.trim(log.end)
    assert len(files(tmp_path)) == 1
    with pytest.raises(CorruptDataError, match=r"holds offsets \d+ to \d+, but 0 was asked for"):
        log.read(0)
    log.close()
    again = SegmentLog(tmp_path)
    assert again.end == offsets[-1]
    again.close()


def test_an_offset_beyond_the_end_is_an_error(tmp_path: Path) -> None:
    """Seen when a power cut took back the end of the log, but not the store's position."""
    offsets = written(tmp_path)
    log = SegmentLog(tmp_path, read_only=True)
    with pytest.raises(CorruptDataError, match=f"but {offsets[-1] + 1} was asked for"):
        log.read(offsets[-1] + 1)


def test_only_one_process_may_write(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path)
    with pytest.raises(PermanentError, match="Another DOS process writes to"):
        SegmentLog(tmp_path)
    log.append(numbered(1))
    assert numbers(SegmentLog(tmp_path, read_only=True)) == [1]
    log.close()
    SegmentLog(tmp_path).close()


def test_a_closed_or_read_only_log_takes_nothing(tmp_path: Path) -> None:
    written(tmp_path)
    reader = SegmentLog(tmp_path, read_only=True)
    with pytest.raises(ValueError, match="closed or was opened read-only"):
        reader.append(numbered(9))
    reader.trim(reader.end)
    reader.sync()
    reader.close()
    assert numbers(reader) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("missing", [True, False])
def test_a_directory_without_a_recording_is_named(tmp_path: Path, missing: bool) -> None:
    place = tmp_path / "none" if missing else tmp_path
    with pytest.raises(PermanentError, match=r"none|holds no recording"):
        SegmentLog(place, read_only=True)
    assert not (tmp_path / "none").exists()


def test_a_full_disk_leaves_the_log_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = SegmentLog(tmp_path)
    end = log.append(numbered(1))
    write = os.write
    calls: list[int] = []

    def full(file: int, data: bytes) -> int:
        calls.append(len(data))
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return write(file, data[:50])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(TransientError, match="No space left on device"):
        log.append(numbered(2))
    monkeypatch.setattr(os, "write", write)
    assert log.end == end
    log.append(numbered(3))
    assert numbers(log) == [1, 3]
    log.close()


# --------------------------------------------------------------------------------------- damage


def test_every_torn_tail_is_cut_off(tmp_path: Path) -> None:
    offsets = written(tmp_path, 3)
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    for size in range(offsets[1] + 1, offsets[2]):
        path.write_bytes(whole[:size])
        reader = SegmentLog(tmp_path, read_only=True)
        assert reader.end == offsets[1]
        assert path.stat().st_size == size, "read-only must not write"
        log = SegmentLog(tmp_path)
        assert log.end == offsets[1]
        log.close()
        assert path.read_bytes() == whole[: offsets[1]]


def test_after_a_torn_tail_the_log_goes_on(tmp_path: Path) -> None:
    offsets = written(tmp_path, 3)
    (path,) = files(tmp_path)
    path.write_bytes(path.read_bytes()[:-7])
    log = SegmentLog(tmp_path)
    assert log.append(numbered(7)) == offsets[2]
    assert numbers(log) == [0, 1, 7]
    log.close()


def test_zeros_after_a_power_cut_are_cut_off(tmp_path: Path) -> None:
    offsets = written(tmp_path, 3)
    (path,) = files(tmp_path)
    path.write_bytes(path.read_bytes() + bytes(4096))
    log = SegmentLog(tmp_path)
    assert log.end == offsets[-1]
    log.close()


@pytest.mark.parametrize("where", [0, 5, 9, HEAD_BYTES + 3, HEAD_BYTES + 100])
def test_damage_in_the_middle_is_an_error_with_its_place(tmp_path: Path, where: int) -> None:
    """In the magic, the length, the checksum, the header, the arrays."""
    offsets = written(tmp_path, 4)
    (path,) = files(tmp_path)
    flip(path, offsets[0] + where)
    place = rf"{path.name} is damaged at byte {offsets[0]}: .*\. Restore the file"
    with pytest.raises(CorruptDataError, match=place):
        SegmentLog(tmp_path)
    with pytest.raises(CorruptDataError, match=rf"damaged at byte {offsets[0]}: .*\. Fetch an"):
        SegmentLog(tmp_path, read_only=True)


def test_a_length_that_reaches_beyond_the_end_does_not_hide_what_follows(tmp_path: Path) -> None:
    offsets = written(tmp_path, 4)
    (path,) = files(tmp_path)
    flip(path, offsets[0] + len(MAGIC) + 2)
    with pytest.raises(CorruptDataError, match=f"damaged at byte {offsets[0]}"):
        SegmentLog(tmp_path)


def test_a_damaged_last_record_of_a_recording_is_an_error(tmp_path: Path) -> None:
    offsets = written(tmp_path, 3)
    (path,) = files(tmp_path)
    flip(path, offsets[2] - 1)
    with pytest.raises(CorruptDataError, match="checksum does not match"):
        SegmentLog(tmp_path, read_only=True)


def test_damage_in_an_old_segment_is_found_when_it_is_read(tmp_path: Path) -> None:
    written(tmp_path, 9, segment_bytes=700)
    old = files(tmp_path)[0]
    flip(old, 100)
    log = SegmentLog(tmp_path)
    with pytest.raises(CorruptDataError, match=f"{old.name} is damaged at byte 0"):
        list(log.read())
    log.close()


def test_a_missing_segment_is_an_error(tmp_path: Path) -> None:
    written(tmp_path, 9, segment_bytes=700)
    files(tmp_path)[1].unlink()
    with pytest.raises(CorruptDataError, match="the segment after it, is missing"):
        SegmentLog(tmp_path)


def test_an_entry_that_is_intact_but_no_intake_is_an_error(tmp_path: Path) -> None:
    from dos.bus.frame import frame

    written(tmp_path, 1)
    (path,) = files(tmp_path)
    position = path.stat().st_size
    path.write_bytes(path.read_bytes() + frame(b"\x05\x00\x00\x00hello"))
    log = SegmentLog(tmp_path, read_only=True)
    with pytest.raises(CorruptDataError, match=rf"damaged at byte {position}: An intake has"):
        list(log.read())


WRITER = """
import os, sys
from dos.bus.segment import SegmentLog
from tests.unit.bus.intakes import numbered
log = SegmentLog(sys.argv[1], segment_bytes=200_000)
number = len(list(log.read()))
while True:
    log.append(numbered(number, samples=3000))
    os.write(1, number.to_bytes(4, "little"))
    number += 1
"""


def test_kill_9_loses_nothing_that_was_appended(tmp_path: Path) -> None:
    rng = Random(5)
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        told = writer.stdout.read(4 * rng.randint(5, 150))
        writer.send_signal(signal.SIGKILL)
        told += writer.stdout.read()
        writer.wait()
        writer.stdout.close()
        last = int.from_bytes(told[-4:], "little")
        log = SegmentLog(tmp_path)
        found = numbers(log)
        log.close()
        assert found == list(range(len(found)))
        assert last < len(found) <= last + 2
