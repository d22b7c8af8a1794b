"""The intake log as files: the embedded `StreamLog`, and the format of recordings.

A directory holds segments `<offset of the first record, 20 digits>.log`. An offset is the number
of bytes ever written before it, so it only grows, over segments and restarts. A record handed to
the operating system survives `kill -9`; `sync` (and every change of segment) also puts it on the
disk. On opening for writing, a torn tail is cut off; damage anywhere else is an error, because
going on would skip input silently. Not for use from several threads.
"""

from __future__ import annotations

import fcntl
import os
import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from dos.bus.base import Entry
from dos.bus.codec import decode, encode
from dos.bus.frame import HEAD_BYTES, Flaw, frame, intact_after, payload_at
from dos.kit import log
from dos.kit.errors import CorruptDataError, PermanentError, TransientError
from dos.model.intake import Intake

MIB = 1024 * 1024
_NAME = re.compile(r"(\d{20})\.log")
_REMEDY = (
    "Restore the file from a backup, or move the directory away: DOS then starts with an empty "
    "intake log and keeps its incidents and alerts."
)
_RECORDING_REMEDY = "Fetch an undamaged copy of the recording, or record anew."
_logger = log.get("bus")


class SegmentLog:
    """A `StreamLog` in a directory.

    Args:
        directory: Where the segments are; created when it is missing.
        segment_bytes: A segment that has reached this size is closed and the next one begun.
        read_only: Open a recording: nothing is written, not even to cut off a torn tail.

    Raises:
        CorruptDataError: A segment is missing or damaged; names the file and the position.
        PermanentError: Another process writes here, or there is no recording to read.
    """

    def __init__(
        self, directory: Path | str, *, segment_bytes: int = 64 * MIB, read_only: bool = False
    ) -> None:
        self._directory = Path(directory)
        self._segment_bytes = segment_bytes
        self._file: int | None = None
        self._lock: int | None = None
        self._remedy = _RECORDING_REMEDY if read_only else _REMEDY
        if read_only:
            self._bases = self._find()
            if not self._bases:
                msg = f"{self._directory} holds no recording: there is no *.log file in it."
                raise PermanentError(msg, remedy="Give the directory that `--record` wrote.")
            self._end = self._bases[-1] + self._intact_size(self._bases[-1], repair=False)
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        self._lock = self._take_lock()
        try:
            self._bases = self._find() or [0]
            self._open_last()
        except BaseException:
            self.close()
            raise

    def append(self, intake: Intake) -> int:
        """Write `intake` and hand it to the operating system; returns the offset after it.

        Raises:
            TransientError: The disk is full or fails; the log is as before the call.
        """
        if self._file is None:
            msg = f"the log in {self._directory} is closed or was opened read-only"
            raise ValueError(msg)
        if self._end - self._bases[-1] >= self._segment_bytes:
            self._roll(self._file)
        record = frame(encode(intake))
        try:
            written = os.write(self._file, record)
            while written < len(record):
                written += os.write(self._file, record[written:])
        except OSError as error:
            os.ftruncate(self._file, self._end - self._bases[-1])
            msg = f"Cannot write to {self._path(self._bases[-1])}: {error.strerror}."
            raise TransientError(msg, remedy="Free some disk space.") from error
        self._end += len(record)
        return self._end

    def read(self, offset: int = 0) -> Iterator[Entry]:
        """Entries from `offset` on, up to the end at the time of the call.

        Raises:
            CorruptDataError: An entry fails its checksum, or the log does not reach back or
                forth to `offset`; names file and position.
        """
        if not self.start <= offset <= self._end:
            msg = (
                f"The intake log in {self._directory} holds offsets {self.start} to {self._end}, "
                f"but {offset} was asked for."
            )
            raise CorruptDataError(msg, remedy=self._remedy)
        return self._entries(offset, self._end)

    @property
    def start(self) -> int:
        """The smallest offset that can still be read."""
        return self._bases[0]

    @property
    def end(self) -> int:
        """Offset after the last entry."""
        return self._end

    def trim(self, offset: int) -> None:
        """Delete the segments that hold nothing from `offset` on; never the last one."""
        while len(self._bases) > 1 and self._bases[1] <= offset and self._file is not None:
            self._path(self._bases[0]).unlink(missing_ok=True)
            del self._bases[0]

    def sync(self) -> None:
        """Put all that was written on the disk (`fsync`): then it survives a power cut too."""
        if self._file is not None:
            os.fsync(self._file)

    def close(self) -> None:
        """Put everything on the disk and release; idempotent."""
        if self._file is not None:
            os.fsync(self._file)
            os.close(self._file)
            self._file = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _path(self, base: int) -> Path:
        return self._directory / f"{base:020d}.log"

    def _take_lock(self) -> int:
        """Keep other processes out; the lock goes with the process, however that ends."""
        lock = os.open(self._directory / "writer.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            msg = f"Another DOS process writes to {self._directory}."
            raise PermanentError(msg, remedy="Stop it, or use another data directory.") from error
        return lock

    def _find(self) -> list[int]:
        """Offsets at which the segments begin, ascending, checked to follow each other."""
        if not self._directory.is_dir():
            return []
        names = sorted(path.name for path in self._directory.iterdir())
        bases = [int(match[1]) for name in names if (match := _NAME.fullmatch(name))]
        for base, following in pairwise(bases):
            size = self._path(base).stat().st_size
            if base + size != following:
                msg = (
                    f"{self._path(base)} should have {following - base} bytes and has {size}: "
                    f"a part of it, or the segment after it, is missing."
                )
                raise CorruptDataError(msg, remedy=self._remedy)
        return bases

    def _open_last(self) -> None:
        base = self._bases[-1]
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        self._file = os.open(self._path(base), flags, 0o600)
        size = self._intact_size(base, repair=True)
        os.ftruncate(self._file, size)
        self._end = base + size

    def _roll(self, finished: int) -> None:
        os.fsync(finished)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self._file = os.open(self._path(self._end), flags, 0o600)
        self._bases.append(self._end)
        os.close(finished)

    def _intact_size(self, base: int, *, repair: bool) -> int:
        """Bytes of the last segment up to its torn tail, if it has one.

        When writing, anything that no intact record follows may be cut off: a power cut can
        leave a last record of the right length with wrong bytes. A recording is only forgiven
        what a killed writer leaves.
        """
        path = self._path(base)
        data = memoryview(path.read_bytes())
        position = 0
        while position < len(data):
            found = payload_at(data, position)
            if isinstance(found, Flaw):
                if not (repair or found.unfinished) or intact_after(data, position):
                    raise self._damaged(path, position, found.text)
                _logger.warning(
                    "torn_tail", file=str(path), position=position, bytes=len(data) - position,
                    cut_off=repair,
                )  # fmt: skip
                break
            position += HEAD_BYTES + len(found)
        return position

    def _entries(self, offset: int, end: int) -> Iterator[Entry]:
        while offset < end:
            base = self._bases[bisect_right(self._bases, offset) - 1]
            path = self._path(base)
            with path.open("rb") as file:
                file.seek(offset - base)
                data = memoryview(file.read(end - offset))
            position = 0
            while position < len(data):
                found = payload_at(data, position)
                if isinstance(found, Flaw):
                    raise self._damaged(path, offset - base + position, found.text)
                try:
                    intake = decode(bytes(found))
                except CorruptDataError as error:
                    where = offset - base + position
                    raise self._damaged(path, where, error.message.rstrip(".")) from error
                position += HEAD_BYTES + len(found)
                yield Entry(offset=offset + position, intake=intake)
            offset += position

    def _damaged(self, path: Path, position: int, why: str) -> CorruptDataError:
        msg = f"{path} is damaged at byte {position}: {why}."
        return CorruptDataError(msg, remedy=self._remedy)
