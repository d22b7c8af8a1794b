"""The tree of routes: to whom an alert goes, with whom it is grouped, and how often it is told.

As in Alertmanager: an alert enters at the root and goes down to the first child that matches, or,
after children that say `continue`, to further ones; where no child matches, the route itself takes
it. What a route does not say, it has from the one above it, but for the times in which it is muted
or active.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dos.model.matchers import Matchers, all_match

EVERYTHING = "..."
"""In `group_by`: every alert is a group of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One node, with what it has from those above filled in."""

    receiver: str
    group_by: frozenset[str] = frozenset()
    group_by_all: bool = False
    """Whether all labels count: alerts are told one by one."""
    group_wait: float = 30.0
    """Seconds that the first notification of a group waits for others."""
    group_interval: float = 300.0
    """Seconds until what is new in a group is told."""
    repeat_interval: float = 4 * 3600.0
    """Seconds until the same is told again."""
    matchers: Matchers = ()
    mute_time_intervals: tuple[str, ...] = ()
    active_time_intervals: tuple[str, ...] = ()
    goes_on: bool = False
    """Whether later siblings are asked as well."""
    path: str = "{}"
    """Matchers from the root down; tells routes apart, as Alertmanager does."""
    routes: tuple[Route, ...] = field(default=())

    def of(self, labels: Mapping[str, str]) -> Sequence[Route]:
        """The routes that an alert with these labels takes; none where this one does not match."""
        if not all_match(self.matchers, labels):
            return ()
        found: list[Route] = []
        for child in self.routes:
            taken = child.of(labels)
            found += taken
            if taken and not child.goes_on:
                break
        return found or (self,)

    def group(self, labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        """The labels that a group has in common, sorted: alerts with equal ones are together."""
        return tuple(
            sorted(
                (name, value)
                for name, value in labels.items()
                if self.group_by_all or name in self.group_by
            )
        )

    def walk(self) -> Iterator[Route]:
        """It and all below, parents first."""
        yield self
        for child in self.routes:
            yield from child.walk()
