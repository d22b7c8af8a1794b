"""What the graph network learns from: voyages of the simulator, each incident in several variants.

    seed ─▶ voyage ─▶ incident ─▶ as it is, and as other systems would have measured it ─▶ inputs

Voyages are independent of each other and are made side by side in processes; their examples are in
the order of their seeds whatever finishes first.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random

from dos.evaluate.cases import discover, load_case
from dos.evaluate.rca.habits import vary
from dos.evaluate.rca.kinds import SIMULATED, right_kinds
from dos.evaluate.rca.perturb import without_series
from dos.evaluate.rca.simulated import SimulatedIncident, voyage
from dos.evaluate.rca.stress import quiet, stressed
from dos.ingest.recorded import workload_of
from dos.rca.case import Case
from dos.rca.examples import WHOLE, Cause, Example, example_of
from dos.rca.inputs import Inputs, read

FIRST_SEED = 100
"""Seeds below are for development (`--split dev`), those from 10,000 on are held out."""
_WHOLE, _AGAIN = 0.5, 0.6
"""Chances that an incident is learned from as it is, and in a second variant."""
_LOSSES, _LOST = 0.5, (0.05, 0.4)
"""Chance that an incident is learned from with some of its series missing, and how many."""
_STRESSED, _VARIED = 0.35, 0.8
"""Chances that stress is put into the time before an incident, and that this is varied."""
_QUIET = 0.15
"""Chance that the time before an incident is learned from as an alarm for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RcaLessons:
    """How much to learn from."""

    voyages: int = 640
    first: int = FIRST_SEED
    jobs: int = 1
    """Processes."""


def rca_lessons(
    options: RcaLessons, progress: Callable[[float], None] | None = None
) -> list[Example]:
    """All examples of the voyages, in order.

    Args:
        options: Which.
        progress: Is told the share that is done.
    """
    examples: list[Example] = []
    seeds = range(options.first, options.first + options.voyages)
    for done, some in enumerate(_made(seeds, options.jobs), 1):
        examples += some
        if progress is not None:
            progress(done / len(seeds))
    return examples


def _made(seeds: range, jobs: int) -> Iterator[list[Example]]:
    if jobs <= 1:
        yield from map(examples_of_voyage, seeds)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        yield from pool.map(examples_of_voyage, seeds, chunksize=4)


def examples_of_voyage(seed: int) -> list[Example]:
    """The examples of one voyage."""
    found: list[Example] = []
    for number, incident in enumerate(voyage(seed)):
        rng = Random(f"{seed}/{number}")  # noqa: S311  a simulation
        for about, case in _variants(incident.case, rng):
            inputs = read(case)
            found.append(example_of(inputs, causes_of(incident, inputs), seed, about))
        if rng.random() < _STRESSED and (put := stressed(incident.case, rng)) is not None:
            inputs = read(vary(put.case, rng) if rng.random() < _VARIED else put.case)
            at = inputs.entities.index(put.entity) if put.entity in inputs.entities else None
            cause = Cause(entities=() if at is None else (at,), kind=put.kind)
            found.append(example_of(inputs, (cause,), seed, "stressed"))
        if rng.random() < _QUIET and (calm := quiet(incident.case, rng)) is not None:
            inputs = read(vary(calm, rng) if rng.random() < _VARIED else calm)
            found.append(example_of(inputs, (), seed, "quiet"))
    return found


def _variants(case: Case, rng: Random) -> Iterator[tuple[str, Case]]:
    if rng.random() < _WHOLE:
        yield WHOLE, case
    if rng.random() < _LOSSES:
        yield "lost", without_series(case, rng.uniform(*_LOST), rng)
    yield "varied", vary(case, rng)
    if rng.random() < _AGAIN:
        yield "varied", vary(case, rng)


def confirmed(folder: Path) -> list[Example]:
    """Recorded cases with a known cause, to learn from; those without one are left out.

    Each is a world of its own, with a number below those of voyages, so that none of them is kept
    for validation or calibration.

    Raises:
        PermanentError: There is no recorded case.
        CorruptDataError: A file is malformed.
    """
    found: list[Example] = []
    for number, path in enumerate(discover(folder)):
        loaded = load_case(path)
        if loaded.truth is None:
            continue
        inputs = read(loaded.case)
        right = tuple(
            at
            for at, entity in enumerate(inputs.entities)
            if entity == loaded.truth.entity or workload_of(entity) == loaded.truth.service
        )
        kinds = right_kinds([loaded.truth.fault or ""])
        cause = Cause(entities=right, kind=min(kinds, default=None))
        found.append(example_of(inputs, (cause,), -1 - number, "confirmed"))
    return found


def causes_of(incident: SimulatedIncident, inputs: Inputs) -> tuple[Cause, ...]:
    """What was wrong, as places in `inputs`."""
    place = {entity: at for at, entity in enumerate(inputs.entities)}
    return tuple(
        Cause(
            entities=tuple(place[one] for one in fault.causes if one in place),
            kind=SIMULATED[fault.fault][0],
        )
        for fault in incident.faults
    )
