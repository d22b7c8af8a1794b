"""What is kept: one row a template, one row an entity, and a table of shapes seen lately.

About 3 KB a template. Everything is in columns, so that the state is written down exactly.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from dos.detect.columns import Column, Columns
from dos.detect.logs.kernel import ODD
from dos.detect.logs.mining import (
    CELLS,
    EXAMPLE,
    FREE,
    SHAPES,
    Mined,
    Store,
)
from dos.detect.logs.parameters import PARAMETERS, WORDS, Slots
from dos.detect.logs.tokens import MASK, MAX_TOKENS, Line, UInt64Array
from dos.kit.errors import CorruptDataError
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array, Int32Array, Int64Array

KINDS = 3
"""Kinds of unusual behaviour; see `LogSignal`."""
_MAGIC = b"DOSLOGS1"
_TEMPLATES: Mapping[str, Column] = {
    "entity": Column(dtype="<i4", initial=-1),
    "next": Column(dtype="<i4", initial=-1),
    "size": Column(dtype="<i4"),
    "serial": Column(dtype="<i8"),
    "used": Column(dtype="<i8"),
    "seen": Column(dtype="<i8"),
    "first": Column(dtype="<i8"),
    "last": Column(dtype="<i8"),
    "severity": Column(dtype="|u1"),
    "token": Column(dtype="<u8", width=MAX_TOKENS),
    "start": Column(dtype="<u2", width=MAX_TOKENS),
    "stop": Column(dtype="<u2", width=MAX_TOKENS),
    "example": Column(dtype="|u1", width=EXAMPLE),
    "length": Column(dtype="<u2"),
    "lines": Column(dtype="<f8"),
    "squares": Column(dtype="<f8"),
    "mean": Column(dtype="<f8"),
    "variance": Column(dtype="<f8"),
    "strange": Column(dtype="<f8"),
    "strange_ever": Column(dtype="<f8"),
    "odd": Column(dtype="|u1", width=ODD),
    "streak": Column(dtype="<i4"),
}
_SLOTS: Mapping[str, Column] = {
    "of": Column(dtype="<i8"),
    "position": Column(dtype="|i1", initial=-1, width=PARAMETERS),
    "seen": Column(dtype="<i8", width=PARAMETERS),
    "numbers": Column(dtype="<i8", width=PARAMETERS),
    "center": Column(dtype="<f8", width=PARAMETERS),
    "spread": Column(dtype="<f8", width=PARAMETERS),
    "tail": Column(dtype="<f8", width=PARAMETERS),
    "word": Column(dtype="<u8", width=PARAMETERS * WORDS),
    "times": Column(dtype="<i8", width=PARAMETERS * WORDS),
}
_ENTITIES: Mapping[str, Column] = {
    "head": Column(dtype="<i4", initial=-1),
    "templates": Column(dtype="<i4"),
    "ticks": Column(dtype="<f8"),
    "fresh": Column(dtype="<f8"),
    "fresh_mean": Column(dtype="<f8"),
    "active": Column(dtype="|b1", initial=False, width=KINDS),
    "calm": Column(dtype="<i4", width=KINDS),
    "onset": Column(dtype="<i8", width=KINDS),
    "reported": Column(dtype="<f8", width=KINDS),
    "score": Column(dtype="<f8", width=KINDS),
}
_SHAPES: Mapping[str, Column] = {
    "shape": Column(dtype="<u8"),
    "shape_row": Column(dtype="<i4"),
    "shape_serial": Column(dtype="<i8", initial=-1),
}
_PART = struct.Struct("<Q")
_FROM_ENTITIES = ("head", "templates", "fresh")


class LogState:
    """Templates of all entities and what is known of them."""

    def __init__(self) -> None:
        self.templates = Columns(_TEMPLATES)
        self.slots = Columns(_SLOTS)
        self.entities = Columns(_ENTITIES)
        self.names: dict[EntityId, int] = {}
        """Row of each entity."""
        self.bucket = -1
        """Number of the open stretch of time, -1 before the first line."""
        self._shapes = Columns(_SHAPES)
        self._shapes.grow(SHAPES)
        self._cell = np.zeros(CELLS, np.int64)
        self._cell[FREE] = -1

    def entity(self, name: EntityId) -> int:
        """The row of an entity, made where it has none."""
        row = self.names.setdefault(name, len(self.entities))
        if row == len(self.entities):
            self.entities.grow(1)
        return row

    def grow(self, count: int) -> None:
        """Add free rows for templates."""
        first = len(self.templates)
        self.templates.grow(count)
        self.slots.grow(count)
        after = cast(Int32Array, self.templates["next"])
        after[first:] = np.arange(first + 1, first + count + 1)
        after[-1] = self._cell[FREE]
        self._cell[FREE] = first

    def store(self) -> Store:
        """Views of the columns for `mine`; valid until the state grows."""
        found: dict[str, Any] = {"cell": self._cell}
        for name in Store._fields:
            if name in _SHAPES:
                found[name] = self._shapes[name]
            elif name in _FROM_ENTITIES:
                found[name] = self.entities[name]
            elif name in _TEMPLATES:
                found[name] = self.templates[name]
        return Store(**found)

    def parameters(self) -> Slots:
        """Views of what is known of variable tokens; valid until the state grows."""
        columns: dict[str, Any] = {name: self.slots[name] for name in Slots._fields}
        return Slots(**columns)

    def text(self, row: int) -> str:
        """A template for people: its first line with `<*>` for what varies."""
        templates = self.templates
        line = templates["example"][row][: int(templates["length"][row])].tobytes()
        shown, at = b"", 0
        for p in range(int(templates["size"][row])):
            start, stop = int(templates["start"][row, p]), int(templates["stop"][row, p])
            if templates["token"][row, p] <= MASK and start < len(line):
                shown += line[at:start] + b"<*>"
                at = stop
        return readable(shown + line[at:])

    def example(self, row: int) -> str:
        """The first line of a template, cut."""
        templates = self.templates
        return readable(templates["example"][row][: int(templates["length"][row])].tobytes())

    def dump(self) -> bytes:
        """All of it, exactly."""
        head = json.dumps({"names": list(self.names), "bucket": self.bucket}).encode()
        tables = (self.templates, self.slots, self.entities, self._shapes)
        parts = [head, self._cell.tobytes(), *(table.dump() for table in tables)]
        return _MAGIC + b"".join(_PART.pack(len(part)) + part for part in parts)

    @staticmethod
    def load(data: bytes) -> LogState:
        """What `dump` wrote.

        Raises:
            CorruptDataError: `data` is not that.
        """
        state = LogState()
        try:
            head, cell, *tables = _parts(data)
            about = json.loads(head)
            state.names = {EntityId(name): row for row, name in enumerate(about["names"])}
            state.bucket = int(about["bucket"])
            state._cell = np.frombuffer(cell, np.int64).copy()
            layouts = (_TEMPLATES, _SLOTS, _ENTITIES, _SHAPES)
            state.templates, state.slots, state.entities, state._shapes = (
                Columns.load(layout, table) for layout, table in zip(layouts, tables, strict=True)
            )
            sound = len(state.names) == len(state.entities) and len(state._cell) == CELLS
            if not sound or len(state.templates) != len(state.slots):
                msg = "its tables do not fit together"
                raise ValueError(msg)
        except (ValueError, KeyError, TypeError, struct.error) as error:
            msg = f"The state of log analysis cannot be read: {error}."
            raise CorruptDataError(msg) from error
        return state


def scratch() -> Line:
    """Room for the tokens of one line."""
    words: UInt64Array = np.zeros(MAX_TOKENS, np.uint64)
    places: Int64Array = np.zeros(MAX_TOKENS, np.int64)
    values: Float64Array = np.zeros(MAX_TOKENS)
    return Line(
        token=words,
        word=words.copy(),
        value=values,
        start=places,
        stop=places.copy(),
        tally=places.copy(),
    )


def room(lines: int, most: int) -> Mined:
    """Room for what becomes of so many lines, where an entity has `most` templates at most."""
    return Mined(
        serial=np.empty(lines, np.int64),
        absorbed=np.empty((2 * most, 2), np.int64),
        merges=np.zeros(1, np.int64),
    )


def readable(line: bytes) -> str:
    """Text for people: its first line, without what would confuse a terminal."""
    text = line.decode("utf-8", "replace").strip()
    first = text.splitlines()[0] if text else ""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in first)


def _parts(data: bytes) -> list[bytes]:
    if data[: len(_MAGIC)] != _MAGIC:
        msg = "wrong magic number"
        raise ValueError(msg)
    at, parts = len(_MAGIC), []
    while at < len(data):
        (size,) = _PART.unpack_from(data, at)
        parts.append(data[at + _PART.size : at + _PART.size + size])
        at += _PART.size + size
    if at != len(data):
        msg = "it is cut short"
        raise ValueError(msg)
    return parts
