from __future__ import annotations

import pytest

from dos.bus.memory import MemoryLog
from tests.unit.bus.intakes import numbered


def test_it_keeps_order_and_trims() -> None:
    log = MemoryLog()
    offsets = [log.append(numbered(number)) for number in range(5)]
    assert [entry.intake.now for entry in log.read(offsets[1])] == [2, 3, 4]
    assert [entry.offset for entry in log.read()] == offsets
    log.trim(offsets[2])
    assert (log.start, log.end) == (offsets[2], offsets[4])
    assert [entry.intake.now for entry in log.read(offsets[2])] == [3, 4]
    log.trim(99)
    assert list(log.read(log.end)) == []
    assert log.append(numbered(9)) == offsets[4] + 1
    with pytest.raises(ValueError, match="offset 0 is not in the log"):
        log.read(0)
    log.close()
