"""An intake as bytes, and back: what the intake log and recordings are made of.

Layout (all little-endian)::

    u32   length of the header
    ...   header: canonical JSON, padded with spaces so that the arrays start at a multiple of 8
    f64   value      [sample]
    i64   timestamp  [sample], left out when `metrics.timestamp` is one time for all samples
    i32   series_id  [sample]
    ...   log lines, if there are any (see `codec_logs`)

Equal intakes give equal bytes. Sources that scrape take all samples at one time, so most entries
cost 12 bytes a sample. Encoding 600 samples takes about 15 µs.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from pydantic import TypeAdapter, ValidationError

from dos.bus.codec_logs import decode_logs, encode_logs
from dos.kit.clock import Millis
from dos.kit.errors import CorruptDataError, PermanentError
from dos.model.alert import Acknowledgement, Notification, PostedAlert
from dos.model.change import Change
from dos.model.entity import Entity
from dos.model.feedback import Feedback
from dos.model.graph import EdgeEvidence
from dos.model.intake import Intake
from dos.model.silence import Silence
from dos.model.telemetry import Float64Array, Int32Array, Int64Array, MetricBatch, Series

VERSION = 5
"""2 added feedback, 3 log lines, 4 alerts and silences, 5 notifications that were not delivered. An
entry without any is still version 1, to the byte."""
_LATER = {
    "feedback": 2,
    "logs": 3,
    "alerts": 4,
    "silences": 4,
    "acknowledgements": 4,
    "undelivered": 5,
}
"""What an entry may have since which version."""
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    version: int
    now: Millis
    source: str
    history: bool
    samples: int
    at: int | None
    """The one timestamp of all samples, or None: then they have a column of their own."""
    series: tuple[Series, ...]
    entities: tuple[Entity, ...]
    edges: tuple[EdgeEvidence, ...]
    changes: tuple[Change, ...]
    feedback: tuple[Feedback, ...] = ()
    logs: int = 0
    """Bytes of the log lines."""
    alerts: tuple[PostedAlert, ...] = ()
    silences: tuple[Silence, ...] = ()
    acknowledgements: tuple[Acknowledgement, ...] = ()
    undelivered: tuple[Notification, ...] = ()


_HEADER: TypeAdapter[_Header] = TypeAdapter(_Header)


def encode(intake: Intake) -> bytes:
    """`intake` as bytes; see the module for the layout."""
    batch = intake.metrics
    at = _common_time(batch.timestamp)
    logs = encode_logs(intake.logs) if intake.logs else b""
    absent = {name for name in _LATER if not getattr(intake, name)}
    header = _HEADER.dump_json(
        _Header(
            version=max((_LATER[name] for name in _LATER.keys() - absent), default=1),
            now=intake.now,
            source=intake.source,
            history=intake.history,
            samples=len(batch),
            at=at,
            series=intake.series,
            entities=intake.entities,
            edges=intake.edges,
            changes=intake.changes,
            feedback=intake.feedback,
            logs=len(logs),
            alerts=intake.alerts,
            silences=intake.silences,
            acknowledgements=intake.acknowledgements,
            undelivered=intake.undelivered,
        ),
        exclude=absent or None,
    )
    header += b" " * (-(len(header) + _LENGTH.size) % 8)
    columns = [np.asarray(batch.value, "<f8").tobytes()]
    if at is None:
        columns.append(np.asarray(batch.timestamp, "<i8").tobytes())
    columns.append(np.asarray(batch.series_id, "<i4").tobytes())
    return b"".join((_LENGTH.pack(len(header)), header, *columns, logs))


def decode(data: bytes) -> Intake:
    """The intake that `encode` wrote. Its arrays are read-only views of `data`.

    Raises:
        CorruptDataError: These are not such bytes.
        PermanentError: Written by a newer version of DOS.
    """
    if len(data) < _LENGTH.size:
        msg = f"An intake of {len(data)} bytes is too short to be one."
        raise CorruptDataError(msg)
    body = _LENGTH.size + int(_LENGTH.unpack_from(data)[0])
    try:
        header = _HEADER.validate_json(data[_LENGTH.size : body])
    except ValidationError as error:
        msg = f"An intake has a header that cannot be read: {error.errors()[0]['msg']}."
        raise CorruptDataError(msg) from error
    if header.version > VERSION:
        msg = f"An intake has format {header.version}; this DOS reads up to {VERSION}."
        raise PermanentError(msg, remedy="Use the version of DOS that wrote it, or a newer one.")
    end = len(data) - header.logs
    return Intake(
        now=header.now,
        source=header.source,
        history=header.history,
        series=header.series,
        metrics=_columns(data[:end], body, header),
        entities=header.entities,
        edges=header.edges,
        changes=header.changes,
        feedback=header.feedback,
        logs=decode_logs(data[end:]) if header.logs else None,
        alerts=header.alerts,
        silences=header.silences,
        acknowledgements=header.acknowledgements,
        undelivered=header.undelivered,
    )


def _common_time(timestamp: Int64Array) -> int | None:
    if len(timestamp) == 0:
        return 0
    first = int(timestamp[0])
    return first if bool((timestamp == first).all()) else None


def _columns(data: bytes, body: int, header: _Header) -> MetricBatch:
    count = header.samples
    expected = body + count * (12 if header.at is not None else 20)
    if count < 0 or len(data) != expected:
        msg = f"An intake of {count} samples should have {expected} bytes and has {len(data)}."
        raise CorruptDataError(msg)
    if count == 0:
        return MetricBatch.empty()
    value: Float64Array = np.frombuffer(data, "<f8", count, body)
    timestamp: Int64Array
    if header.at is None:
        timestamp = np.frombuffer(data, "<i8", count, body + 8 * count)
    else:
        timestamp = np.full(count, header.at, np.int64)
    series_id: Int32Array = np.frombuffer(data, "<i4", count, len(data) - 4 * count)
    return MetricBatch(series_id=series_id, timestamp=timestamp, value=value)
