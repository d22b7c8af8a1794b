"""How a record lies in a segment file, and how a damaged one is told from an unfinished one.

    4 bytes  magic          u32  length of the payload          u32  CRC-32 of length and payload
    ...      payload

A process killed while it writes leaves a prefix of its last record: a *torn tail*. Everything
else that does not check out is damage. The difference is visible: after a torn tail there is no
intact record.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

MAGIC = b"DOSi"
_LENGTH = struct.Struct("<I")
_HEAD = struct.Struct("<4sII")
HEAD_BYTES = _HEAD.size
MAX_PAYLOAD = 256 * 1024 * 1024
"""Bytes; far beyond any intake (ingest takes 32 MiB), so a larger length is damage."""


def frame(payload: bytes) -> bytes:
    """`payload` as a record.

    Raises:
        ValueError: The payload is larger than a record may be.
    """
    if len(payload) > MAX_PAYLOAD:
        msg = f"a record of {len(payload)} bytes is larger than {MAX_PAYLOAD}"
        raise ValueError(msg)
    return _HEAD.pack(MAGIC, len(payload), _checksum(payload)) + payload


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """Why there is no intact record at a position."""

    text: str
    unfinished: bool
    """The file ends inside the record: what a killed writer leaves."""


def payload_at(data: memoryview, position: int) -> memoryview | Flaw:
    """The payload of the record at `position` of `data`, checked, or what is wrong with it."""
    left = len(data) - position
    if left < HEAD_BYTES:
        prefix = bytes(data[position : position + len(MAGIC)])
        return Flaw(text="the record's head is cut off", unfinished=MAGIC.startswith(prefix))
    magic, length, checksum = _HEAD.unpack_from(data, position)
    if magic != MAGIC:
        return Flaw(text="no record begins here", unfinished=False)
    if length > MAX_PAYLOAD:
        return Flaw(text=f"the record's length, {length}, is impossible", unfinished=False)
    if length > left - HEAD_BYTES:
        return Flaw(
            text=f"the record ends {length + HEAD_BYTES - left} bytes early", unfinished=True
        )
    payload = data[position + HEAD_BYTES : position + HEAD_BYTES + length]
    if _checksum(payload) != checksum:
        return Flaw(text="the record's checksum does not match", unfinished=False)
    return payload


def intact_after(data: memoryview, position: int) -> bool:
    """Whether any intact record begins after `position`."""
    haystack = bytes(data[position:])
    found = haystack.find(MAGIC, 1)
    while found != -1:
        if not isinstance(payload_at(data, position + found), Flaw):
            return True
        found = haystack.find(MAGIC, found + 1)
    return False


def _checksum(payload: bytes | memoryview) -> int:
    return zlib.crc32(payload, zlib.crc32(_LENGTH.pack(len(payload))))
