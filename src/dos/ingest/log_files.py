"""Log files of people: plain text or one JSON object a line, plain or gzip.

Of a line of text the time at its front and a word for its severity are read, where they are of a
known form; the rest is its body. Indented lines go on with the one above, as stack traces do, and
are not lines of their own. Only the first bytes of a line are searched, so that no line can take
long.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast

from dos.kit.clock import SECOND, Millis, from_rfc3339, to_datetime
from dos.kit.errors import CorruptDataError, PermanentError
from dos.model.ids import EntityId
from dos.model.logs import LogLine

MAX_LINE = 1 << 20
"""Bytes of a line that are read; the rest of it is skipped."""
STDIN = Path("-")
_FRONT = 64
"""Bytes in which a time is looked for, and after it a severity."""
_BODY = ("body", "message", "msg", "log", "event", "text")
_TIME = ("time", "timestamp", "@timestamp", "ts", "t", "date")
_LEVEL = ("severity", "level", "severity_text", "severityText", "lvl", "levelname")
_ENTITY = ("service", "service.name", "service_name", "entity", "app", "node", "host", "logger")
_SEVERITIES = {
    "TRACE": 1,
    "DEBUG": 5,
    "INFO": 9,
    "INFORMATION": 9,
    "NOTICE": 10,
    "WARN": 13,
    "WARNING": 13,
    "ERR": 17,
    "ERROR": 17,
    "SEVERE": 17,
    "CRIT": 18,
    "CRITICAL": 18,
    "ALERT": 19,
    "FATAL": 21,
    "PANIC": 21,
    "EMERG": 22,
}
"""As OpenTelemetry maps them (Logs Data Model, appendix B)."""
_NAMES = "|".join(_SEVERITIES).encode()
_WORD = re.compile(
    rb"(?<![\w.-])(" + _NAMES + rb")(?![\w.-])"  # as loggers write it, or clearly marked
    rb"|(?i:(?:level|severity|lvl)=\"?(" + _NAMES + rb")\b|\[(" + _NAMES + rb")\])"
    rb"|(?i:(?<![\w.-])(" + _NAMES + rb"): )"
)
_ISO = re.compile(
    rb"\W?(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?(Z|[+-]\d\d:?\d\d)?\W?\s*"
)
_SYSLOG = re.compile(rb"([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d:\d\d:\d\d) ")
_NCSA = re.compile(rb"\W?(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\W?\s*")
_ASCTIME = re.compile(rb"\W?(?:[A-Z][a-z]{2} )?([A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d \d{4})\W?\s*")


def read_lines(paths: list[Path], now: Millis, service: str | None = None) -> list[LogLine]:
    """The lines of all files, in order of time; lines without one have that of the line before.

    Args:
        paths: Files; `-` is standard input.
        now: The time, for the year of times that have none.
        service: Whose lines they are, where they do not say so; the name of the file if left out.

    Raises:
        PermanentError: A file cannot be read.
        CorruptDataError: A file that should be gzip is not.
    """
    lines: list[LogLine] = []
    for path in paths:
        entity = EntityId(service or ("stdin" if path == STDIN else path.name.split(".")[0]))
        lines += _read(path, entity, now)
    return sorted(lines, key=lambda line: line.timestamp)


def _read(path: Path, entity: EntityId, now: Millis) -> Iterator[LogLine]:
    last = Millis(0)
    try:
        with _open(path) as file:
            for raw in _raw_lines(file):
                line = _of_json(raw, entity, last) if raw.startswith(b"{") else None
                line = line or _of_text(raw, entity, last, now)
                last = line.timestamp
                yield line
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise CorruptDataError(f"{path}: not a gzip file, or a damaged one: {error}.") from error
    except OSError as error:
        raise PermanentError(f"{path} cannot be read: {error.strerror or error}.") from error


def _open(path: Path) -> BinaryIO:
    if path == STDIN:
        return sys.stdin.buffer
    return cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _raw_lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines without their end, blank and indented ones left out."""
    cut = False
    while piece := file.readline(MAX_LINE):
        if not cut and not piece[:1].isspace():
            yield piece.rstrip(b"\r\n")
        cut = not piece.endswith(b"\n")


def _of_json(raw: bytes, entity: EntityId, last: Millis) -> LogLine | None:
    """A structured line; None where it is none after all, or has no body."""
    try:
        record = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    body = _first(record, _BODY, str)
    if body is None:
        return None
    at = _first(record, _TIME, str, float, int)
    level = _first(record, _LEVEL, str, int)
    weight = record.get("weight")
    return LogLine(
        entity=EntityId(str(_first(record, _ENTITY, str) or entity)),
        timestamp=_time_of(at, last),
        body=str(body).encode("utf-8", "surrogatepass"),
        severity=_severity_of(level),
        weight=float(weight) if isinstance(weight, int | float) and 0 < weight < 1e9 else 1.0,
    )


def _first(record: Mapping[str, object], names: tuple[str, ...], *kinds: type) -> object:
    """The first of `names` that is there and of one of `kinds`."""
    return next((record[name] for name in names if isinstance(record.get(name), kinds)), None)


def _time_of(value: object, last: Millis) -> Millis:
    if isinstance(value, str):
        try:
            return from_rfc3339(value)
        except ValueError:
            return last
    if isinstance(value, int | float) and 0 < value < 1e20:
        while value >= 1e11:  # milliseconds, microseconds, nanoseconds
            value /= 1000
        return Millis(round(value * SECOND))
    return last


def _severity_of(level: object) -> int:
    if isinstance(level, int):
        return level if 1 <= level <= 24 else 0
    return _SEVERITIES.get(str(level).upper(), 0)


def _of_text(raw: bytes, entity: EntityId, last: Millis, now: Millis) -> LogLine:
    at, size = last, 0
    for pattern, read in _FORMS:
        found = pattern.match(raw, 0, _FRONT)
        if found:
            try:
                at, size = read(found, now), found.end()
            except ValueError:  # the 31st of February
                continue
            break
    body = raw[size:]
    word = _WORD.search(body, 0, _FRONT)
    severity = _SEVERITIES[word[word.lastindex or 0].decode().upper()] if word else 0
    return LogLine(entity=entity, timestamp=at, body=body, severity=severity)


def _iso(found: re.Match[bytes], now: Millis) -> Millis:
    del now
    day, clock, fraction, zone = (part.decode() if part else "" for part in found.groups())
    whole = from_rfc3339(f"{day}T{clock}{zone}")
    return Millis(whole + round(float(f"0.{fraction or 0}") * SECOND))


def _syslog(found: re.Match[bytes], now: Millis) -> Millis:
    """RFC 3164 has no year: the last one in which that was not in the future."""
    month, day, clock = (part.decode() for part in found.groups())
    year = to_datetime(now).year
    at = _parsed(f"{year} {month} {day} {clock}", "%Y %b %d %H:%M:%S")
    if at > now + 86_400 * SECOND:
        at = _parsed(f"{year - 1} {month} {day} {clock}", "%Y %b %d %H:%M:%S")
    return at


def _ncsa(found: re.Match[bytes], now: Millis) -> Millis:
    del now
    return _parsed(found[1].decode(), "%d/%b/%Y:%H:%M:%S %z")


def _asctime(found: re.Match[bytes], now: Millis) -> Millis:
    del now
    return _parsed(found[1].decode(), "%b %d %H:%M:%S %Y")


def _parsed(text: str, form: str) -> Millis:
    parsed = datetime.strptime(text, form)  # noqa: DTZ007  where it has no zone it is UTC
    parsed = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    return Millis(round(parsed.timestamp() * SECOND))


_Reader = Callable[[re.Match[bytes], Millis], Millis]
_FORMS: tuple[tuple[re.Pattern[bytes], _Reader], ...] = (
    (_ISO, _iso),
    (_SYSLOG, _syslog),
    (_NCSA, _ncsa),
    (_ASCTIME, _asctime),
)
