"""Blocks of the past at once: the same state and decisions as one input after the other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import pytest

from dos.app import state, wiring
from dos.app.pipeline import Pipeline
from dos.app.settings import Settings
from dos.bus.base import Entry
from dos.evaluate.backtest.inject import injected
from dos.model.events import Decisions
from tests.unit.app import played
from tests.unit.evaluate.test_inject import calm

TAKEN = 1500
"""Inputs: six hours of a quiet day with faults in it."""


def pipeline() -> Pipeline:
    settings = Settings.model_validate({"storage": {"url": wiring.IN_MEMORY}})
    return wiring.build_pipeline(settings, wiring.open_history(settings, None), played.RECEIVERS)


def skimmed(one: Pipeline, entries: Sequence[Entry], block: int) -> tuple[list[Decisions], int]:
    """What is decided when quiet blocks are taken at once, and how many inputs those had."""
    decided: list[Decisions] = []
    quiet = 0
    for first in range(0, len(entries), block):
        part = entries[first : first + block]
        if one.skim([entry.intake for entry in part], part[-1].offset):
            quiet += len(part)
        else:
            decided += played.run(one, part)
    return decided, quiet


@pytest.mark.parametrize("block", [1, 7, 64])
def test_blocks_change_no_decision_and_no_state(block: int) -> None:
    entries = list(islice(injected(calm()).read(), TAKEN))
    one, other = pipeline(), pipeline()
    decided, quiet = skimmed(one, entries, block)
    whole = played.run(other, entries)
    assert played.lines(decided) == played.lines(whole)
    assert len(played.incidents_of(whole)) >= 2
    assert quiet > TAKEN / 8
    assert state.dump(one) == state.dump(other)


def test_what_is_not_quiet_changes_nothing() -> None:
    one = played.pipeline()
    entries = played.intakes()
    history = [entry for entry in entries if entry.intake.history]
    assert not one.skim([history[0].intake], history[0].offset)
    assert one.offset == 0
    live = entries.index(next(entry for entry in entries if not entry.intake.history))
    played.run(one, entries[:live])
    before = state.dump(one)
    rest = entries[live:]
    assert not one.skim([entry.intake for entry in rest], rest[-1].offset)  # faults are in it
    assert state.dump(one) == before
