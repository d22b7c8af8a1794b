"""An intake log in memory, for tests and runs on virtual time. Nothing survives the process."""

from __future__ import annotations

from collections.abc import Iterator

from dos.bus.base import Entry
from dos.model.intake import Intake


class MemoryLog:
    """A `StreamLog` as a list; the offset is the number of intakes appended so far."""

    def __init__(self) -> None:
        self._intakes: list[Intake] = []
        self._start = 0

    def append(self, intake: Intake) -> int:
        """Keep; costs nothing."""
        self._intakes.append(intake)
        return self.end

    def read(self, offset: int = 0) -> Iterator[Entry]:
        """Entries from `offset` on, up to the end at the time of the call.

        Raises:
            ValueError: `offset` lies before `start` or beyond `end`.
        """
        if not self._start <= offset <= self.end:
            msg = f"offset {offset} is not in the log, which holds {self._start} to {self.end}"
            raise ValueError(msg)
        entries = enumerate(self._intakes[offset - self._start :], start=offset + 1)
        return (Entry(offset=after, intake=intake) for after, intake in entries)

    @property
    def start(self) -> int:
        """The smallest offset that can still be read."""
        return self._start

    @property
    def end(self) -> int:
        """Offset after the last entry."""
        return self._start + len(self._intakes)

    def trim(self, offset: int) -> None:
        """Drop the entries before `offset`."""
        count = min(max(0, offset - self._start), len(self._intakes))
        del self._intakes[:count]
        self._start += count

    def sync(self) -> None:
        """Nothing survives this process anyway."""

    def close(self) -> None:
        """Nothing to release."""
