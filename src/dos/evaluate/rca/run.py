"""Ranks cases with several contenders in a few processes: recorded sets, or simulated incidents.

A piece of work is a few recorded cases of one set, or one voyage. A worker reads or plays one case
at a time, asks every contender, and sends back places and probabilities: memory holds one case
for each process, however large the sets are.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from itertools import count, islice
from pathlib import Path

from dos.evaluate.cases import discover, load_case
from dos.evaluate.rca.card import RcaCard, Source, card_of
from dos.evaluate.rca.contenders import Contender, Side, contender
from dos.evaluate.rca.judge import Outcome, judge_recorded, judge_simulated
from dos.evaluate.rca.perturb import VARIANTS, no_traces
from dos.evaluate.rca.pool import in_order
from dos.evaluate.rca.simulated import SimulatedIncident, voyage
from dos.kit.clock import Clock, SystemClock
from dos.kit.errors import PermanentError
from dos.rca.case import Case

PLAIN = "as they are"
"""Name of the simulated cases that nothing was done to."""
FIRST_HELD_OUT = 10_000
_PIECE = 4
"""Recorded cases of a piece."""

Names = tuple[tuple[Side, str], ...]


class Split(StrEnum):
    """Which simulated voyages."""

    HELD_OUT = "held-out"
    DEV = "dev"

    @property
    def first_seed(self) -> int:
        """The seed of the first voyage."""
        return FIRST_HELD_OUT if self is Split.HELD_OUT else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RcaOptions:
    """Who is measured, and how."""

    contenders: Names
    jobs: int = 1
    late_s: float = 0.0
    """Seconds by which the start of recorded cases is reported too late."""
    traces: bool = True
    """Whether recorded cases keep the series that are made of traces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RcaProgress:
    """How far a bench has come."""

    done: int
    planned: int
    """Cases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recorded:
    """A piece of work: cases of one set."""

    group: str
    paths: tuple[Path, ...]
    options: RcaOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class _Simulated:
    """A piece of work: the cases of one voyage."""

    seed: int
    most: int
    """Cases beyond which nobody asks."""
    options: RcaOptions


def run_recorded(
    folders: Sequence[Path],
    options: RcaOptions,
    progress: Callable[[RcaProgress], None] | None = None,
    clock: Clock | None = None,
) -> RcaCard:
    """Rank every recorded case that names its cause. An interrupt leaves the card incomplete.

    Args:
        folders: Sets (`case-*` inside), folders of sets, or single cases.
        options: Who is measured, and how.
        progress: Called after each piece of work.
        clock: Times the bench; the machine's by default.

    Raises:
        ConfigError: There is no such contender.
        PermanentError: A folder holds no case, no case names its cause, or a process died.
        CorruptDataError: A case is malformed.
        KeyboardInterrupt: Interrupted before anything was done.
    """
    sets = _sets(folders)
    pieces = [
        _Recorded(group=name, paths=tuple(paths[at : at + _PIECE]), options=options)
        for name, paths in sets.items()
        for at in range(0, len(paths), _PIECE)
    ]
    planned = sum(len(piece.paths) for piece in pieces)
    source = Source(
        about=", ".join(sets),
        simulated=False,
        late_s=options.late_s,
        traces=options.traces,
        planned=planned,
    )
    found = in_order(_rank_recorded, pieces, min(options.jobs, len(pieces)))
    return _measured(found, options, source, planned, progress, clock or SystemClock())


def run_simulated(
    cases: int,
    split: Split,
    options: RcaOptions,
    progress: Callable[[RcaProgress], None] | None = None,
    clock: Clock | None = None,
) -> RcaCard:
    """Rank simulated incidents, and for rankers of the product their variants.

    Args:
        cases: How many.
        split: Of which voyages.
        options: Who is measured, and how.
        progress: Called after each voyage.
        clock: Times the bench; the machine's by default.

    Raises:
        ConfigError: There is no such contender.
        PermanentError: A process died.
        KeyboardInterrupt: Interrupted before anything was done.
    """
    seeds = count(split.first_seed)
    pieces = (_Simulated(seed=seed, most=cases, options=options) for seed in seeds)
    about = f"simulated incidents of {split} voyages from seed {split.first_seed} on"
    source = Source(about=about, simulated=True, late_s=0.0, planned=cases)
    found = in_order(_rank_simulated, pieces, options.jobs)
    return _measured(found, options, source, cases, progress, clock or SystemClock())


def _sets(folders: Sequence[Path]) -> dict[str, list[Path]]:
    """Cases by the name of their set; sets of the same name are told apart by their folder's."""
    found: dict[Path, list[Path]] = {}
    for folder in folders:
        for path in discover(folder):
            home = found.setdefault(path.resolve().parent, [])
            if path.resolve() not in home:
                home.append(path.resolve())
    names = [home.name for home in found]
    return {
        home.name if names.count(home.name) == 1 else f"{home.parent.name}/{home.name}": paths
        for home, paths in found.items()
    }


def _measured(
    found: Generator[list[list[Outcome]]],
    options: RcaOptions,
    source: Source,
    cases: int,
    progress: Callable[[RcaProgress], None] | None,
    clock: Clock,
) -> RcaCard:
    """Collect outcomes until there are enough cases."""
    for side, name in options.contenders:
        contender(side, name)  # a wrong name is told now, and not by a process
    began, done, complete = clock.monotonic(), list[list[Outcome]](), True
    try:
        with closing(found):
            for piece in found:
                done += piece[: cases - len(done)]
                if progress is not None:
                    progress(RcaProgress(done=len(done), planned=cases))
                if len(done) >= cases:
                    break
    except KeyboardInterrupt:
        if not done:
            raise
        complete = False
    outcomes = [one for case in done for one in case]
    if not outcomes:
        raise PermanentError("No case names its root cause: there is nothing to measure.")
    card = card_of(outcomes, options.contenders, source, complete=complete)
    return replace(card, wall_seconds=round(clock.monotonic() - began, 2))


@cache
def _contender(side: Side, name: str) -> Contender:
    """Built once in each process: a network takes time to load."""
    return contender(side, name)


def _rank_recorded(piece: _Recorded) -> list[list[Outcome]]:
    """Outcomes of each case; none where it does not name its cause."""
    clock, found = SystemClock(), list[list[Outcome]]()
    for path in piece.paths:
        loaded = load_case(path, late_s=piece.options.late_s)
        if loaded.truth is None:
            found.append([])
            continue
        case = loaded.case if piece.options.traces else no_traces(loaded.case)
        found.append(
            [
                judge_recorded(
                    name,
                    piece.group,
                    path.name,
                    loaded.truth,
                    _contender(side, name).answer(case, clock),
                )
                for side, name in piece.options.contenders
            ]
        )
    return found


def _rank_simulated(piece: _Simulated) -> list[list[Outcome]]:
    return [
        list(_outcomes(incident, f"{piece.seed}/{place}", piece.options))
        for place, incident in enumerate(islice(voyage(piece.seed), piece.most))
    ]


def _outcomes(incident: SimulatedIncident, name: str, options: RcaOptions) -> Iterator[Outcome]:
    for side, who in options.contenders:
        yield _asked(incident, incident.case, name, PLAIN, side, who)
    for variant, changed in VARIANTS.items():
        case = changed(incident.case, name)
        for side, who in options.contenders:
            if side is Side.RANKER:
                yield _asked(incident, case, name, variant, side, who)


def _asked(
    incident: SimulatedIncident, case: Case, name: str, group: str, side: Side, who: str
) -> Outcome:
    return judge_simulated(
        who,
        group,
        name,
        str(incident.voyage),
        [(str(fault.fault), fault.causes) for fault in incident.faults],
        _contender(side, who).answer(case, SystemClock()),
        known=incident.known,
    )
