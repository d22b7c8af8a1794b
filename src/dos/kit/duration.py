"""Durations as people write them in configuration: `15s`, `1h30m`, `500ms`, `2d`.

The grammar is Prometheus' (`[0-9]+(ms|[smhdwy])` repeated, largest unit first); a bare number
means seconds. In memory a duration is a float in seconds.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000}
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhdwy]))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdwy])")


def parse_duration(text: object) -> float:
    """Seconds from `text`.

    Raises:
        ValueError: `text` is not a duration; the message shows what one looks like.
    """
    if isinstance(text, bool) or not isinstance(text, (int, float, str)):
        msg = "a duration is a number of seconds or text such as 15s, 5m, 1h30m"
        raise ValueError(msg)  # noqa: TRY004  pydantic reports ValueError, not TypeError, per field
    if isinstance(text, str):
        plain = text.strip()
        if _WHOLE.fullmatch(plain):
            return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(plain))
        try:
            text = float(plain)
        except ValueError:
            msg = f"{plain!r} is not a duration; write for example 15s, 5m or 1h30m"
            raise ValueError(msg) from None
    seconds = float(text)
    if not 0 <= seconds < float("inf"):
        msg = "a duration must be zero or more"
        raise ValueError(msg)
    return seconds


def format_duration(seconds: float) -> str:
    """The shortest of `1h30m`, `15s`, `500ms` that `parse_duration` reads back."""
    left = round(seconds * 1000)
    if left == 0:
        return "0s"
    parts: list[str] = []
    for unit in ("d", "h", "m", "s", "ms"):
        size = round(_UNITS[unit] * 1000)
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, when_used="json"),
    WithJsonSchema({"type": ["string", "number"], "examples": ["15s", "5m", "1h30m"]}),
]
"""A pydantic field that reads `15s` and holds seconds."""
