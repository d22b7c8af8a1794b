"""How values look on the wire: times are RFC 3339 UTC strings, numbers are finite or null."""

from __future__ import annotations

import base64
import binascii
import json
import math
from typing import Annotated, Generic, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

from dos.api.errors import invalid
from dos.kit.clock import Millis, from_rfc3339, to_rfc3339
from dos.kit.duration import parse_duration

T = TypeVar("T")

MAX_SEQ = 2**63 - 1
"""Sequence numbers and ids of a store fit into 64 bits."""

_EXAMPLE = "2026-11-23T14:30:00.000Z"
_LAST = from_rfc3339("9999-12-31T23:59:59.999Z")
_TIME_SCHEMA = {"type": "string", "format": "date-time", "examples": [_EXAMPLE]}


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _pairs(value: object) -> object:
    return dict(value) if isinstance(value, tuple) else value


def parse_time(value: object) -> Millis:
    """Milliseconds from RFC 3339 text.

    Times before 1970 are read as 1970: nothing lies there, and every store can be asked.

    Raises:
        ValueError: Not such text.
    """
    try:
        return Millis(max(0, from_rfc3339(str(value))))
    except (ValueError, OverflowError):
        msg = f"not a time; write it like {_EXAMPLE} (in a URL, a + must be written %2B)"
        raise ValueError(msg) from None


Time = Annotated[
    Millis,
    PlainSerializer(to_rfc3339, return_type=str, when_used="json"),
    WithJsonSchema(_TIME_SCHEMA),
]
"""A time in an answer: milliseconds inside, RFC 3339 outside."""


TimeParam = Annotated[Millis, BeforeValidator(parse_time), WithJsonSchema(_TIME_SCHEMA)]
"""A time in a query."""

Number = Annotated[
    float | None,
    BeforeValidator(_finite),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "null"}]}),
]
"""A number in an answer; NaN and infinities, which JSON has not, become null."""

Labels = Annotated[
    dict[str, str],
    BeforeValidator(_pairs),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string"}}),
]
"""Sorted pairs inside, an object outside."""


def _positive_duration(value: object) -> float:
    seconds = parse_duration(value)
    if not 0.001 <= seconds <= 1e9 * 86_400:  # in ms it must fit into 64 bits
        msg = "must be at least 1ms and at most 1000000000d"
        raise ValueError(msg)
    return seconds


StepParam = Annotated[
    float,
    BeforeValidator(_positive_duration),
    WithJsonSchema(
        {"type": "string", "pattern": "^[1-9][0-9]{0,8}(ms|s|m|h|d)$", "examples": ["15s", "5m"]}
    ),
]
"""A positive duration in a request, in seconds inside."""


class Wire(BaseModel):
    """Base of all answers: filled from the attributes of the model's dataclasses."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class Page(Wire, Generic[T]):
    """One page of a longer list; subclassed for a name in the OpenAPI document."""

    items: list[T]
    next: str | None = Field(
        default=None, description="Give this as `cursor` for the next page; null on the last."
    )


class Listing(Wire, Generic[T]):
    """A list without paging; subclassed for a name in the OpenAPI document."""

    items: list[T]
    truncated: bool = Field(
        default=False, description="True when there is more; narrow the time range or the filter."
    )


def encode_cursor(at: Millis, identity: str) -> str:
    """An opaque cursor that points behind the row `(at, identity)`."""
    text = json.dumps([at, identity], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> tuple[Millis, str]:
    """The row a cursor points behind.

    Raises:
        ProblemError: 422, when it did not come from `encode_cursor`.
    """
    padded = cursor + "=" * (-len(cursor) % 4)
    try:
        decoded = json.loads(base64.b64decode(padded.encode(), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        decoded = None
    match decoded:
        case [int(at), str(identity)] if 0 <= at <= _LAST and identity:
            return Millis(at), identity
        case _:
            where = "query.cursor"
            raise invalid(where, "not a cursor; pass on what `next` of the page before gave")
