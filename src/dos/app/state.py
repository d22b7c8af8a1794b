"""The pipeline's whole state as bytes, and back: what a checkpoint holds.

The parts are kept apart, so that one that cannot be read any more (another version of the
detection kernel, say) is learned again while the others survive.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np
from pydantic import TypeAdapter, ValidationError

from dos.app.pipeline import Pipeline
from dos.kit import log
from dos.kit.clock import Millis
from dos.kit.errors import CorruptDataError
from dos.model.change import Change
from dos.model.telemetry import Series

_MAGIC = b"DOSSTATE1"
_SERIES: TypeAdapter[list[Series]] = TypeAdapter(list[Series])
_CHANGES: TypeAdapter[list[Change]] = TypeAdapter(list[Change])
_POSITION = struct.Struct("<qqq")
_logger = log.get("app")


def dump(pipeline: Pipeline) -> bytes:
    """The state after the last step."""
    parts = pipeline.parts
    return _pack(
        {
            "position": _POSITION.pack(pipeline.seq, pipeline.offset, pipeline.now),
            "series": _SERIES.dump_json(list(parts.registry.since(0))),
            "last_sample": pipeline.last_sample.astype("<i8").tobytes(),
            "changes": _CHANGES.dump_json(list(pipeline.changes)),
            "topology": parts.topology.dump(),
            "feedback": parts.feedback.dump(),
            "incidents": parts.correlator.dump(),
            "alerts": parts.book.dump(),
            "posted": parts.desk.dump(),
            "rules": parts.rules.dump(),
            "burns": parts.burns.dump(),
            "fallbacks": parts.fallbacks.dump(),
            "escalation": parts.escalation.dump(),
            "detect": parts.host.dump(),
            "logs": parts.logs.detector.dump(),
            "forecasts": parts.forecaster.dump(),
            "budgets": parts.diagnosis.ledger.dump(),
        }
    )


def load(pipeline: Pipeline, data: bytes) -> bool:
    """Put a fresh pipeline into the state that `dump` wrote.

    Returns:
        Whether the baseline came with it; False: it has to be learned again.

    Raises:
        CorruptDataError: The data is damaged. A detection state of another version is not: it
            is left out with a warning, and the baseline is learned again.
    """
    sections, parts = _unpack(data), pipeline.parts
    try:
        pipeline.seq, pipeline.offset, now = _POSITION.unpack(sections["position"])
        pipeline.now = Millis(now)
        series = _SERIES.validate_json(sections["series"])
        parts.registry.add(series)
        pipeline.last_sample = np.frombuffer(sections["last_sample"], "<i8").astype(np.int64)
        pipeline.changes.extend(_CHANGES.validate_json(sections["changes"]))
        parts.topology.load(sections["topology"])
        if "feedback" in sections:  # not in checkpoints of earlier versions
            parts.feedback.load(sections["feedback"])
        parts.correlator.load(sections["incidents"])
        parts.book.load(sections["alerts"])
        if "posted" in sections:  # nor these
            parts.desk.load(sections["posted"], pipeline.now)
        parts.fallbacks.load(sections.get("fallbacks", b"{}"))
        parts.escalation.load(sections.get("escalation", b"{}"))
        rules = sections.get("rules", b"{}")
        parts.burns.load(sections.get("burns", b"{}"))
        parts.rules.load(rules, series, pipeline.last_sample, pipeline.now)
        if "logs" in sections:  # checkpoints of earlier versions have none
            parts.logs.detector.load(sections["logs"])
        if "budgets" in sections:  # nor these
            parts.diagnosis.ledger.load(sections["budgets"])
    except (KeyError, ValueError, ValidationError, struct.error) as error:
        msg = f"The checkpoint cannot be read: {error}."
        raise CorruptDataError(msg) from error
    kept = True
    try:
        parts.host.load(sections["detect"], series)
    except CorruptDataError as error:
        kept = False
        _logger.warning("baseline lost", reason=str(error))
        parts.host.reset(series)
        pipeline.rescale(series)
        parts.correlator.disown()
    try:
        parts.forecaster.load(sections.get("forecasts", b""), series)
    except CorruptDataError as error:
        _logger.warning("trends lost", reason=str(error))
        parts.forecaster.reset(series)
    return kept


def _pack(sections: Mapping[str, bytes]) -> bytes:
    packed = [_MAGIC]
    for name, body in sections.items():
        packed += [struct.pack("<BQ", len(name), len(body)), name.encode(), body]
    return b"".join(packed)


def _unpack(data: bytes) -> dict[str, bytes]:
    if not data.startswith(_MAGIC):
        msg = "The checkpoint is not one of this version of DOS."
        raise CorruptDataError(msg)
    sections: dict[str, bytes] = {}
    at = len(_MAGIC)
    try:
        while at < len(data):
            name_size, size = struct.unpack_from("<BQ", data, at)
            at += 9
            name = data[at : at + name_size].decode()
            at += name_size
            sections[name] = data[at : at + size]
            at += size
    except (struct.error, UnicodeDecodeError) as error:
        msg = f"The checkpoint is cut short: {error}."
        raise CorruptDataError(msg) from error
    return sections
