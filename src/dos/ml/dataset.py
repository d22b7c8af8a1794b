"""Examples in columns: what a network is trained and validated on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dos.model.telemetry import Float32Array, Int64Array


class Batch(Protocol):
    """Some examples, as a network takes them."""

    @property
    def columns(self) -> Mapping[str, npt.NDArray[Any]]:
        """By name."""
        ...

    def __len__(self) -> int:
        """Examples."""
        ...


class Lessons(Protocol):
    """Anything a network can be trained and validated on."""

    def __len__(self) -> int:
        """Examples."""
        ...

    def batches(self, size: int, rng: np.random.Generator | None = None) -> Iterator[Batch]:
        """All of them, `size` at a time; shuffled by `rng`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examples:
    """Columns of equal length, one row an example."""

    columns: Mapping[str, Float32Array]
    """`[example, …]` by name."""

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in self.columns.items()}
        if len(set(lengths.values())) != 1:
            msg = f"columns of examples differ in length: {lengths}"
            raise ValueError(msg)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def take(self, which: Int64Array | slice) -> Examples:
        """Some of them."""
        return Examples(columns={name: column[which] for name, column in self.columns.items()})

    def batches(self, size: int, rng: np.random.Generator | None = None) -> Iterator[Examples]:
        """All of them, `size` at a time.

        Args:
            size: The last batch may be smaller.
            rng: Shuffles; in order if None.
        """
        order = np.arange(len(self)) if rng is None else rng.permutation(len(self))
        for first in range(0, len(order), size):
            yield self.take(order[first : first + size])
