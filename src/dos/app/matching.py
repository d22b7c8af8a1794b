"""Which incident is about which injected fault: the rules of every figure on detection.

An incident is about a fault when it was opened between the fault's start and `GRACE` after its
end, and an entity of it is one of the fault's causes or was really affected by it. An incident is
about one fault at most: of several, about one whose cause is in the incident rather than one that
only affected it; then about one not found before; then about the one that began last.

The first incident about a fault is its detection; further ones are duplicates of it. An incident
about no fault is false, also when a harmless event (a planned deploy, a surge) brought it about.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from dos.kit.clock import SECOND, Millis
from dos.model.ids import EntityId
from dos.simulate.engine import Truth

GRACE = 60 * SECOND
"""An incident opened this long after the end of a fault may still be about it, ms."""


class Opened(Protocol):
    """What is matched: an incident of DOS, or what a baseline takes for one."""

    @property
    def id(self) -> str:
        """Breaks ties between incidents of one moment."""
        ...

    @property
    def opened_at(self) -> Millis:
        """When somebody could know of it."""
        ...

    @property
    def entities(self) -> Sequence[EntityId]:
        """Abnormal at any time in its life."""
        ...


I = TypeVar("I", bound=Opened)  # noqa: E741  stands for one kind of incident


def causes_of(truth: Truth) -> tuple[EntityId, ...]:
    """The entities of which any is a right answer when asked for the cause of `truth`."""
    return truth.causes or (truth.target,)


def match(truths: Sequence[Truth], incidents: Iterable[I]) -> dict[str, list[I]]:
    """Incidents by the id of the fault they are about, each list oldest first.

    Every truth has an entry, also those that nothing is about; that of a harmless event stays
    empty. Cost: O(incidents x faults).
    """
    faults = [truth for truth in truths if not truth.harmless]
    matched: dict[str, list[I]] = {truth.id: [] for truth in truths}
    for incident in sorted(incidents, key=lambda one: (one.opened_at, one.id)):
        entities = set(incident.entities)
        candidates = [
            fault for fault in faults if in_time(fault, incident) and entities & involved(fault)
        ]
        if candidates:
            about = max(
                candidates,
                key=lambda one: (
                    not entities.isdisjoint(causes_of(one)),
                    not matched[one.id],
                    one.start,
                    one.id,
                ),
            )
            matched[about.id].append(incident)
    return matched


def in_time(truth: Truth, incident: Opened) -> bool:
    """Whether `incident` was opened while `truth` lasted, or shortly after."""
    end = truth.end if truth.end is not None else incident.opened_at
    return truth.start <= incident.opened_at <= end + GRACE


def involved(truth: Truth) -> set[EntityId]:
    """Its causes, and all that really was affected."""
    return {*causes_of(truth), *truth.affected}
