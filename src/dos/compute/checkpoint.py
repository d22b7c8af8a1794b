"""Checkpoints of a host's state: in a file, or in memory for tests and virtual runs.

A checkpoint file is a head (magic, epoch, offset, length and CRC-32 of the data, CRC-32 of the
head; little-endian) and the data. A new one is written beside the old, put on the disk and
renamed over it; the one before is kept as `<name>.previous` and used when the newest is damaged.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dos.compute.base import Checkpoint
from dos.kit import log
from dos.kit.errors import PermanentError, TransientError

_MAGIC = b"DOSCKPT1"
_HEAD = struct.Struct("<8sqqQI")
"""Magic, epoch, offset, length of the data, CRC-32 of the data."""
_CRC = struct.Struct("<I")
_HEAD_BYTES = _HEAD.size + _CRC.size
_logger = log.get("compute")


class MemoryCheckpointStore:
    """A `CheckpointStore` that forgets with the process."""

    def __init__(self) -> None:
        self._newest: Checkpoint | None = None

    def load(self) -> Checkpoint | None:
        """The newest checkpoint, or None."""
        return self._newest

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace.

        Raises:
            PermanentError: A checkpoint with a newer epoch is there.
        """
        if self._newest is not None:
            _check_epoch(self._newest.epoch, checkpoint.epoch, "this process")
        self._newest = checkpoint


class FileCheckpointStore:
    """A `CheckpointStore` in one file and its predecessor.

    Args:
        path: The file; its directory is created when it is missing.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._previous = self._path.with_name(f"{self._path.name}.previous")
        self._path.parent.mkdir(parents=True, exist_ok=True)

    def load(self) -> Checkpoint | None:
        """The newest intact checkpoint, or None; damaged ones are logged and passed over."""
        for path in (self._path, self._previous):
            data = _read(path)
            if data is None:
                continue
            checkpoint = _decode(data)
            if checkpoint is not None:
                return checkpoint
            _logger.warning("checkpoint_damaged", file=str(path), bytes=len(data))
        return None

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace, atomically; returns once it is on the disk.

        Raises:
            PermanentError: A checkpoint with a newer epoch is there: another host took over.
            TransientError: It cannot be written (disk full); the one there stays.
        """
        fresh = self._path.with_name(f"{self._path.name}.new")
        try:
            with self._exclusive():
                self._check_epoch(checkpoint.epoch)
                with fresh.open("wb") as file:
                    file.write(_encode(checkpoint))
                    file.flush()
                    os.fsync(file.fileno())
                if self._is_intact():
                    self._path.replace(self._previous)
                fresh.replace(self._path)
                _sync_directory(self._path.parent)
        except OSError as error:
            msg = f"Cannot write the checkpoint {self._path}: {error.strerror}."
            raise TransientError(msg, remedy="Free some disk space.") from error

    def _check_epoch(self, epoch: int) -> None:
        for path in (self._path, self._previous):
            head = _read(path, _HEAD_BYTES)
            found = None if head is None else _parse_head(head)
            if found is not None:
                _check_epoch(found[0], epoch, str(path))

    def _is_intact(self) -> bool:
        """Whether the current file may replace its predecessor: a damaged one must not."""
        data = _read(self._path)
        return data is not None and _decode(data) is not None

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """One saver at a time, over all processes, so that nobody slips in after the check."""
        lock = os.open(
            self._path.with_name(f"{self._path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600
        )
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _check_epoch(there: int, ours: int, where: str) -> None:
    if there > ours:
        msg = (
            f"The checkpoint in {where} has epoch {there}, ours is {ours}: another host took over."
        )
        raise PermanentError(msg, remedy="Stop this host; the other one does its work.")


def _encode(checkpoint: Checkpoint) -> bytes:
    data = checkpoint.data
    head = _HEAD.pack(_MAGIC, checkpoint.epoch, checkpoint.offset, len(data), zlib.crc32(data))
    return b"".join((head, _CRC.pack(zlib.crc32(head)), data))


def _decode(raw: bytes) -> Checkpoint | None:
    """The checkpoint, or None when it is damaged."""
    head = _parse_head(raw)
    if head is None:
        return None
    epoch, offset, length, checksum = head
    data = raw[_HEAD_BYTES:]
    if len(data) != length or zlib.crc32(data) != checksum:
        return None
    return Checkpoint(epoch=epoch, offset=offset, data=data)


def _parse_head(raw: bytes) -> tuple[int, int, int, int] | None:
    """Epoch, offset, length and CRC-32 of the data, or None when the head is damaged."""
    if len(raw) < _HEAD_BYTES:
        return None
    magic, epoch, offset, length, checksum = _HEAD.unpack_from(raw)
    if magic != _MAGIC or _CRC.unpack_from(raw, _HEAD.size)[0] != zlib.crc32(raw[: _HEAD.size]):
        return None
    return epoch, offset, length, checksum


def _read(path: Path, count: int = -1) -> bytes | None:
    """The first `count` bytes of the file (all by default), or None when there is none."""
    try:
        with path.open("rb") as file:
            return file.read(count)
    except FileNotFoundError:
        return None


def _sync_directory(directory: Path) -> None:
    """Put the renames on the disk."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
