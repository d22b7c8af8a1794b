"""State as a structure of arrays: named columns, one row per series, that grow together."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dos.kit.errors import CorruptDataError

_MAGIC = b"DOSCOLS1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """How one column starts: its type, the value of a new row, and its width beyond one."""

    dtype: str
    initial: float | bool = 0.0
    width: int = 0
    """0 for one value per row, else `[row, width]`."""


class Columns:
    """Growable named arrays of equal length. Spare capacity doubles, so growing is O(1) a row."""

    def __init__(self, layout: Mapping[str, Column]) -> None:
        self._layout = dict(layout)
        self._rows = 0
        self._arrays: dict[str, npt.NDArray[np.generic]] = {}
        self._in_use: dict[str, npt.NDArray[np.generic]] = {}
        self._reserve(64)
        self._show()

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, name: str) -> npt.NDArray[np.generic]:
        """The column's rows in use, as a view; valid until the next `grow`."""
        return self._in_use[name]

    @property
    def names(self) -> Collection[str]:
        """Of the columns."""
        return self._layout.keys()

    def grow(self, count: int) -> None:
        """Add `count` rows with initial values."""
        if self._rows + count > self._capacity:
            self._reserve(max(2 * self._rows, self._rows + count))
        self._rows += count
        self._show()

    def reset(self, row: int) -> None:
        """Give `row` its initial values again."""
        for name, column in self._layout.items():
            self._arrays[name][row] = column.initial

    def part(self, first: int, stop: int) -> Columns:
        """Rows `first` to `stop` as columns of their own over the same memory; not to be grown."""
        made = Columns.__new__(Columns)
        made._layout = self._layout
        made._rows = made._capacity = stop - first
        made._arrays = {name: array[first:stop] for name, array in self._arrays.items()}
        made._show()
        return made

    @property
    def nbytes(self) -> int:
        """Bytes of the rows in use."""
        return sum(self[name].nbytes for name in self._layout)

    def dump(self) -> bytes:
        """All rows, exactly."""
        names = sorted(self._layout)
        header = {"rows": self._rows, "columns": {n: self[n].dtype.str for n in names}}
        text = json.dumps(header, sort_keys=True).encode()
        body = b"".join(self[name].tobytes() for name in names)
        return _MAGIC + len(text).to_bytes(4, "little") + text + body

    @staticmethod
    def load(layout: Mapping[str, Column], data: bytes) -> Columns:
        """What `dump` wrote, for the same layout.

        Raises:
            CorruptDataError: `data` is not that.
        """
        columns = Columns(layout)
        try:
            if data[:8] != _MAGIC:
                msg = "wrong magic number"
                raise ValueError(msg)
            size = int.from_bytes(data[8:12], "little")
            header = json.loads(data[12 : 12 + size])
            if sorted(header["columns"]) != sorted(layout):
                msg = f"columns are {sorted(header['columns'])}, not {sorted(layout)}"
                raise ValueError(msg)
            columns.grow(int(header["rows"]))
            at = 12 + size
            for name in sorted(layout):
                view = columns[name]
                if header["columns"][name] != view.dtype.str:
                    msg = f"column {name} has type {header['columns'][name]}, not {view.dtype.str}"
                    raise ValueError(msg)
                part = np.frombuffer(data, view.dtype, count=view.size, offset=at)
                view[...] = part.reshape(view.shape)
                at += view.nbytes
            if at != len(data):
                msg = f"{len(data) - at} bytes too many"
                raise ValueError(msg)
        except (ValueError, KeyError, TypeError) as error:
            msg = f"The detection state cannot be read: {error}."
            raise CorruptDataError(msg) from error
        return columns

    def _show(self) -> None:
        """Cut the rows in use out of all columns, which are asked for much more often."""
        self._in_use = {name: array[: self._rows] for name, array in self._arrays.items()}

    def _reserve(self, capacity: int) -> None:
        self._capacity = capacity
        for name, column in self._layout.items():
            shape = (capacity, column.width) if column.width else (capacity,)
            fresh = np.full(shape, column.initial, dtype=column.dtype)
            if self._rows:
                fresh[: self._rows] = self._arrays[name][: self._rows]
            self._arrays[name] = fresh
