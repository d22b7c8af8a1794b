"""One answer against the truth: the place of the cause, and whether its probabilities came true.

Entities that tie stand at the worst of their places; a cause that is not ranked at all is never
found. Where several entities are right to name, they do not stand in each other's way. A truth
that names a service over pods is right in any of its pods (`dos.evaluate.score.place_of`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from dos.evaluate.cases import Truth
from dos.evaluate.rca.contenders import Answer
from dos.evaluate.rca.kinds import right_kinds
from dos.evaluate.score import place_of
from dos.ingest.recorded import workload_of
from dos.model.ids import EntityId
from dos.model.rootcause import FaultKind, Hypothesis, RootCause

COVERAGE = 0.9
"""How often a set of hypotheses is to hold the cause where the ranker does not choose one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the probabilities of an answer were worth."""

    given: float
    """Probability of the first hypothesis; 0 where there is none."""
    right: bool
    """Whether it is right."""
    abstained: bool
    """Whether "none of these" was likelier."""
    blames: bool
    """Whether it names an entity for more than a wrong measurement."""
    covered: bool
    """Whether the prediction set holds the cause, or stands for "none of these" where the cause
    is none of the hypotheses."""
    stated: float
    """How often it is said to."""
    set_size: int
    """Entities in that set."""
    kind_right: bool | None
    """Whether the kind of fault is right; None where it is not said or the entity is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One contender on one case."""

    contender: str
    group: str
    """The set, or the variant of the simulated cases."""
    case: str
    cluster: str
    """Cases of one cluster are not independent: the case itself, or its voyage."""
    faults: tuple[str, ...]
    """What was injected, of causes that the case knows; empty where there are none."""
    hidden: bool = False
    """Whether something was wrong of which the case knows nothing, and nothing else."""
    place: int | None
    """Of the best right entity, from 1; None where none is ranked, or there is no cause."""
    each: tuple[int | None, ...]
    """The same of each fault."""
    seconds: float
    said: Said | None
    """None of who gives no probabilities."""

    @property
    def harmful(self) -> bool:
        """Whether there was a cause to be found."""
        return bool(self.faults)


def judge_recorded(contender: str, group: str, case: str, truth: Truth, answer: Answer) -> Outcome:
    """An answer to a recorded case."""
    place = place_of(truth, answer.order)
    by_service = all(entity != truth.entity for entity, _ in answer.order)

    def right(entity: EntityId) -> bool:
        if by_service:
            return workload_of(entity) == truth.service
        return entity == truth.entity

    fault = truth.fault or "unknown"
    return Outcome(
        contender=contender,
        group=group,
        case=case,
        cluster=case,
        faults=(fault,),
        place=place,
        each=(place,),
        seconds=answer.seconds,
        said=_said(answer.cause, right, (fault,)),
    )


def judge_simulated(
    contender: str,
    group: str,
    case: str,
    cluster: str,
    faults: Sequence[tuple[str, Collection[EntityId]]],
    answer: Answer,
    *,
    known: frozenset[EntityId],
) -> Outcome:
    """An answer to a simulated case.

    Args:
        contender: Who answered.
        group: Which variant of the cases.
        case: Its name.
        cluster: Its voyage.
        faults: Type of each fault at work, with the entities that are right to name for it.
        answer: The answer.
        known: Entities that the case knows. A cause that is none of them (a machine that nobody
            watches) cannot be named; where there is no other, the right answer is "none of these".
    """
    hidden = bool(faults)
    faults = [(name, mine) for name, mine in faults if known & frozenset(mine)]
    hidden = hidden and not faults
    causes = frozenset(one for _, mine in faults for one in mine)
    names = tuple(name for name, _ in faults)
    return Outcome(
        contender=contender,
        group=group,
        case=case,
        cluster=cluster,
        faults=names,
        hidden=hidden,
        place=best_place(causes, answer.order),
        each=tuple(best_place(mine, answer.order) for _, mine in faults),
        seconds=answer.seconds,
        said=_said(answer.cause, lambda entity: entity in causes, names),
    )


def best_place(right: Collection[EntityId], order: Sequence[tuple[EntityId, float]]) -> int | None:
    """Place of the best of `right` from 1, behind all others with the same score."""
    best = max((score for entity, score in order if entity in right), default=None)
    if best is None:
        return None
    return 1 + sum(score >= best for entity, score in order if entity not in right)


def credible(cause: RootCause, level: float = COVERAGE) -> tuple[tuple[EntityId, ...], bool]:
    """The fewest hypotheses whose probabilities sum to `level`; whether "none of these" is in."""
    claims: list[tuple[float, EntityId | None]] = [
        (one.probability, one.entity) for one in cause.ranked
    ]
    claims.append((cause.unknown, None))
    claims.sort(key=lambda claim: -claim[0])
    chosen: list[EntityId] = []
    total, none_of_these = 0.0, False
    for probability, entity in claims:
        if total >= level - 1e-9:
            break
        total += probability
        if entity is None:
            none_of_these = True
        else:
            chosen.append(entity)
    return tuple(chosen), none_of_these


def _said(
    cause: RootCause | None, right: Callable[[EntityId], bool], faults: Sequence[str]
) -> Said | None:
    if cause is None:
        return None
    first = cause.ranked[0] if cause.ranked else None
    if cause.coverage is not None:
        chosen, none_of_these, stated = cause.likely, not cause.likely, cause.coverage
    else:
        (chosen, none_of_these), stated = credible(cause), COVERAGE
    listed = any(right(one.entity) for one in cause.ranked)
    hit = first is not None and right(first.entity)
    return Said(
        given=first.probability if first else 0.0,
        right=hit,
        abstained=cause.top is None,
        blames=cause.top is not None and cause.top.kind is not FaultKind.MONITORING,
        covered=any(right(one) for one in chosen) or (none_of_these and not listed),
        stated=stated,
        set_size=len(chosen),
        kind_right=_kind_right(first, faults) if first is not None and hit else None,
    )


def _kind_right(hypothesis: Hypothesis, faults: Sequence[str]) -> bool | None:
    allowed = right_kinds(faults)
    if hypothesis.kind is None or not allowed:
        return None
    return hypothesis.kind in allowed
