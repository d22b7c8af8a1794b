"""What the API needs of simulations that DOS watches as sources; `dos.app` provides it.

A simulation is controlled from here as if somebody broke the real system: what goes wrong changes
what its source delivers, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dos.kit.clock import Millis
from dos.model.ids import EntityId


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedFault:
    """Something that was broken in a simulation, and the truth about it."""

    id: str
    source: str
    type: str
    label: str
    """As people call it."""
    target: EntityId
    severity: float
    harmless: bool
    start: Millis
    visible_at: Millis | None
    mitigated_at: Millis | None
    end: Millis | None
    affected: tuple[EntityId, ...]
    causes: tuple[EntityId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedAction:
    """A remediation that was taken in a simulation, and what came of it so far."""

    source: str
    at: Millis
    kind: str
    target: EntityId
    replicas: int | None
    cured: tuple[str, ...]
    helped: bool | None
    suffered: float
    suffered_without: float
    watched_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultKind:
    """A type of fault, and what it can hit in one world."""

    type: str
    label: str
    description: str
    harmless: bool
    cures: tuple[str, ...]
    targets: tuple[EntityId, ...]
    """The first ones of a large world."""
    target_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorStatus:
    """One simulation, seen from outside of it."""

    source: str
    world: str
    now: Millis
    """Time of its last step."""
    step_seconds: float
    services: int
    machines: int
    live: bool
    """False while it still delivers its healthy past: nothing can be broken there."""
    faults: tuple[SimulatedFault, ...]
    """Newest first; the newest ones of many."""
    actions: tuple[SimulatedAction, ...]
    """Newest first; the newest ones of many."""
    kinds: tuple[FaultKind, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultOrder:
    """A fault somebody asks for."""

    source: str | None
    """Which simulation; None where there is only one."""
    type: str
    target: str
    severity: float
    duration: float
    ramp: float | None
    recovery: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionOrder:
    """A remediation somebody asks for."""

    source: str | None
    kind: str
    target: str
    replicas: int | None


class Simulators(Protocol):
    """The simulations among the sources of a running DOS; at least one.

    All methods are called on the event loop on which the simulations are played.
    """

    def statuses(self) -> Sequence[SimulatorStatus]:
        """Each of them."""
        ...

    def inject(self, order: FaultOrder) -> SimulatedFault:
        """Break something, from the next step on.

        Raises:
            ConfigError: It cannot be broken in that way; the message says what can.
            TransientError: Not now.
        """
        ...

    def act(self, order: ActionOrder) -> SimulatedAction:
        """Take a remediation, from the next step on.

        Raises:
            ConfigError: It cannot be taken; the message says why.
            TransientError: Not now.
        """
        ...

    def clear(self, source: str | None) -> Sequence[SimulatedFault]:
        """Let the faults of one simulation, or of all, recover from the next step on.

        Returns:
            Those that were running.

        Raises:
            ConfigError: There is no such simulation.
        """
        ...
