"""The port of the intake log: append-only, ordered, read from any offset."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from dos.model.intake import Intake


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An input in its place."""

    offset: int
    """Position after this entry: reading from here yields the next one. The first entry is
    read from offset 0; offsets only grow."""
    intake: Intake


class StreamLog(Protocol):
    """Append-only log of intakes. One writer; synchronous (the embedded one is a local file)."""

    def append(self, intake: Intake) -> int:
        """Write and hand to the operating system; returns the entry's `offset`."""
        ...

    def read(self, offset: int = 0) -> Iterator[Entry]:
        """Entries from `offset` on, up to the end at the time of the call.

        Raises:
            CorruptDataError: An entry fails its checksum; names file and position.
        """
        ...

    @property
    def start(self) -> int:
        """The smallest offset that can still be read (older entries were dropped)."""
        ...

    @property
    def end(self) -> int:
        """Offset after the last entry."""
        ...

    def trim(self, offset: int) -> None:
        """Entries before `offset` are needed no more; may drop them."""
        ...

    def sync(self) -> None:
        """Put all that was appended where it survives a power cut."""
        ...

    def close(self) -> None:
        """Flush and release; idempotent."""
        ...
