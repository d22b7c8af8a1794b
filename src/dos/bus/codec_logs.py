"""Log lines as bytes, and back: the last part of an intake that carries some.

Layout (all little-endian)::

    u32   length of the header
    ...   header: JSON with the entities and the number of lines
    f64   weight     [line]
    i64   timestamp  [line]
    i64   offset     [line + 1]
    i32   entity     [line]
    u8    severity   [line]
    ...   all lines, one after the other
"""

from __future__ import annotations

import json
import struct

import numpy as np

from dos.kit.errors import CorruptDataError
from dos.model.ids import EntityId
from dos.model.logs import LogBatch

_LENGTH = struct.Struct("<I")
_COLUMNS = (
    ("weight", "<f8"),
    ("timestamp", "<i8"),
    ("offset", "<i8"),
    ("entity", "<i4"),
    ("severity", "|u1"),
)


def encode_logs(logs: LogBatch) -> bytes:
    """`logs` as bytes; see the module for the layout."""
    header = json.dumps({"entities": list(logs.entities), "lines": len(logs)}).encode()
    columns = [np.asarray(getattr(logs, name), dtype).tobytes() for name, dtype in _COLUMNS]
    return b"".join((_LENGTH.pack(len(header)), header, *columns, logs.data))


def decode_logs(data: bytes) -> LogBatch:
    """The lines that `encode_logs` wrote.

    Raises:
        CorruptDataError: These are not such bytes.
    """
    try:
        at = _LENGTH.size + int(_LENGTH.unpack_from(data)[0])
        header = json.loads(data[_LENGTH.size : at])
        lines = int(header["lines"])
        columns = {}
        for name, dtype in _COLUMNS:
            count = lines + 1 if name == "offset" else lines
            columns[name] = np.frombuffer(data, dtype, count, at)
            at += columns[name].nbytes
        entities = tuple(EntityId(str(name)) for name in header["entities"])
        logs = LogBatch(entities=entities, data=data[at:], **columns)
        ends = np.diff(logs.offset)
        sound = logs.offset[0] == 0 and logs.offset[-1] == len(logs.data) and (ends >= 0).all()
        if not sound or (lines and not 0 <= logs.entity.min() <= logs.entity.max() < len(entities)):
            msg = "its parts do not fit together"
            raise ValueError(msg)
    except (ValueError, KeyError, TypeError, struct.error) as error:
        msg = f"The log lines of an intake cannot be read: {error}."
        raise CorruptDataError(msg) from error
    return logs
