"""A line cut into tokens, those that are variable by their looks masked; no regular expressions.

One walk over the bytes tells words from numbers, paths and addresses, so that the cost is linear in
the length of a line whatever is in it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dos.kit.compiled import compiled
from dos.model.telemetry import Float64Array, Int64Array, UInt8Array

UInt64Array = npt.NDArray[np.uint64]

MAX_BYTES = 2048
"""Of a line that are looked at; what comes after them is cut off."""
MAX_TOKENS = 48
"""Of a line that are looked at."""

WILD = np.uint64(0)
"""In a template: a word that turned out to vary."""
MASK = np.uint64(1)
"""A token that is variable by its looks."""

_LETTER, _DIGIT, _OTHER, _SEPARATOR, _END = 0, 1, 2, 3, 4


def _classes() -> UInt8Array:
    """`[byte]` what a byte is to the tokeniser."""
    found = np.full(256, _OTHER, np.uint8)
    found[:33] = found[127] = _SEPARATOR
    found[[10, 13]] = _END
    found[128:] = _LETTER
    for byte in b"=,;()[]{}<>\"'|`":
        found[byte] = _SEPARATOR
    for first, last in (b"az", b"AZ"):
        found[first : last + 1] = _LETTER
    found[ord("_")] = _LETTER
    found[ord("0") : ord("9") + 1] = _DIGIT
    return found


_CLASS = _classes()
_SPACE, _COMMA = 32, 44
_SIZES = np.array([ord("k"), ord("m"), ord("g"), ord("t")], np.uint8)
_COLON, _SLASH, _BACKSLASH, _AT, _DOT = 58, 47, 92, 64, 46
_MINUS, _PLUS, _PERCENT, _EQUALS, _QUOTE = 45, 43, 37, 61, 34
OFFSET, PRIME = np.uint64(14695981039346656037), np.uint64(1099511628211)
"""Of FNV-1a with 64 bits (RFC 9923)."""


class Line(NamedTuple):
    """The tokens of one line; scratch space that is used again and again."""

    token: UInt64Array
    """`[token]` hash of the word, or `MASK`."""
    word: UInt64Array
    """`[token]` hash of the bytes, masked or not."""
    value: Float64Array
    """`[token]` number that the token is, NaN where it is none."""
    start: Int64Array
    stop: Int64Array
    """`[token]` bytes of the line, from its begin."""
    tally: Int64Array
    """`[token]` templates that differ from the line there only."""


@compiled
def tokenise(data: UInt8Array, begin: int, end: int, line: Line) -> int:
    """Cut the first line of `data[begin:end]` into tokens; returns how many there are."""
    limit = min(end, begin + MAX_BYTES)
    count = 0
    masked = False
    i = begin
    while i < limit and count < MAX_TOKENS:
        kind = _CLASS[data[i]]
        if kind == _END and count > 0:
            break
        if kind >= _SEPARATOR:
            i += 1
            continue
        start = i
        i, variable, solid = _token(data, start, limit)
        if not solid:  # punctuation only
            continue
        stop = i
        while _CLASS[data[stop - 1]] == _OTHER and data[stop - 1] != _PERCENT:
            stop -= 1
        line.start[count] = start - begin
        line.stop[count] = stop - begin
        line.value[count] = _number(data, start, stop) if variable else np.nan
        if masked and _goes_on(data, begin, line, count, variable):
            if not variable:
                line.value[count - 1] *= _unit(data, start, stop)
            line.stop[count - 1] = stop - begin
            continue
        masked = variable
        line.word[count] = _hash(data, start, stop, begin)
        line.token[count] = MASK if variable else line.word[count]
        count += 1
    return count


@compiled
def _goes_on(data: UInt8Array, begin: int, line: Line, last: int, variable: bool) -> bool:
    """Whether token `last` belongs to the masked one before it: a list goes on, or its unit."""
    before, start = line.stop[last - 1], line.start[last]
    comma = False
    for i in range(begin + before, begin + start):
        comma = comma or data[i] == _COMMA
        if data[i] != _COMMA and data[i] != _SPACE:
            return False
    number = not np.isnan(line.value[last - 1])
    if not variable:
        near = number and not comma and start == before + 1
        return bool(near and _unit(data, begin + start, begin + line.stop[last]) > 0.0)
    if comma:
        return True
    # Numbers side by side are columns, names of one form side by side are a list.
    alike = _CLASS[data[begin + line.start[last - 1]]] == _CLASS[data[begin + start]]
    return bool(alike and not number and np.isnan(line.value[last]))


@compiled
def _unit(data: UInt8Array, start: int, stop: int) -> float:
    """What a unit of time or size is in seconds or bytes; 0 for any other word."""
    size = stop - start
    first = data[start] | 32  # lower case
    last = data[stop - 1]
    if size == 1:
        return 1.0 if data[start] == ord("s") or data[start] == ord("B") else 0.0
    if size == 2 and last == ord("s"):
        return _prefix(data[start])
    middle = size == 2 or (size == 3 and data[start + 1] == ord("i"))
    if not middle or last != ord("B"):
        return 0.0
    for power in range(4):
        if first == _SIZES[power]:
            return 1024.0 ** (power + 1)
    return 0.0


@compiled
def _token(data: UInt8Array, start: int, limit: int) -> tuple[int, bool, bool]:
    """Where the token ends, whether it is variable, and whether it is more than punctuation."""
    digits = letters = slashes = ats = 0
    i = start
    while i < limit:
        byte = data[i]
        kind = _CLASS[byte]
        if kind >= _SEPARATOR:
            break
        if kind == _DIGIT:
            digits += 1
        elif kind == _LETTER:
            letters += 1
        elif byte in (_SLASH, _BACKSLASH):
            slashes += 1
        elif byte == _AT:
            ats += 1
        elif byte == _COLON and digits + slashes + ats == 0:
            i += 1  # key:value
            break
        i += 1
    path = slashes > 1 or (slashes == 1 and data[start] == _SLASH)
    return (
        i,
        digits > 0 or (ats > 0 and letters > 0) or (path and letters > 0),
        digits + letters > 0,
    )


@compiled
def _hash(data: UInt8Array, start: int, stop: int, begin: int) -> np.uint64:
    """FNV-1a; the last bit says whether the word looks like a name or a value."""
    found = OFFSET
    name = start > begin and (data[start - 1] == _EQUALS or data[start - 1] == _QUOTE)
    for i in range(start, stop):
        found = (found ^ np.uint64(data[i])) * PRIME
        name = name or _CLASS[data[i]] == _OTHER
    found = found & ~MASK
    found = found if found != WILD else OFFSET & ~MASK
    return found | MASK if name else found


@compiled
def _number(data: UInt8Array, start: int, stop: int) -> float:
    """The number that a token is, in seconds or bytes; NaN for ids, addresses, dates."""
    i = start
    sign = 1.0
    if data[i] in (_MINUS, _PLUS):
        sign = -1.0 if data[i] == _MINUS else 1.0
        i += 1
    whole, digits, scale, dots = 0.0, 0, 1.0, 0
    while i < stop and (_CLASS[data[i]] == _DIGIT or (data[i] == _DOT and dots == 0)):
        if data[i] == _DOT:
            dots = 1
        else:
            whole = whole * 10.0 + (data[i] - 48)
            scale *= 10.0 if dots else 1.0
            digits += 1
        i += 1
    if digits == 0 or digits > 15:
        return np.nan
    unit = stop - i
    if unit > 3:
        return np.nan
    for j in range(i, stop):
        if _CLASS[data[j]] != _LETTER and data[j] != _PERCENT:
            return np.nan
    factor = _unit(data, i, stop) if unit > 0 else 1.0
    return sign * whole / scale * (factor if factor > 0.0 else 1.0)


@compiled
def _prefix(byte: int) -> float:
    if byte == ord("m"):
        return 1e-3
    if byte == ord("u"):
        return 1e-6
    return 1e-9 if byte == ord("n") else 0.0
