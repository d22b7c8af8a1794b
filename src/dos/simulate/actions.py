"""What operators can do to the simulated system, rightly or harmfully.

An action changes the world as it would in production: replicas take time to start, a rolling
restart costs capacity, a cache that is restarted is cold. Whether it helped is measured, against
the same world without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dos.kit.clock import Millis
from dos.kit.errors import ConfigError
from dos.model.entity import EntityKind
from dos.model.ids import EntityId
from dos.simulate.world import World


class ActionKind(StrEnum):
    """What can be done."""

    SCALE = "scale"
    RESTART = "restart"
    ROLLBACK = "rollback"
    FLAG_OFF = "flag_off"
    FAILOVER = "failover"
    DRAIN = "drain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One remediation."""

    kind: ActionKind
    target: EntityId
    """A service; for `drain` a node."""
    replicas: int | None = None
    """Wanted of `scale`."""

    def __post_init__(self) -> None:
        if (self.kind is ActionKind.SCALE) != (self.replicas is not None):
            msg = (
                f"Action {self.kind} of {self.target}: `replicas` is for `scale`, and needed there."
            )
            raise ConfigError(msg)
        if self.replicas is not None and not 1 <= self.replicas <= 1000:
            msg = f"Action scale of {self.target}: {self.replicas} replicas are out of range."
            raise ConfigError(msg, remedy="Ask for 1 to 1000.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Performed:
    """An action that was taken, and what came of it."""

    at: Millis
    action: Action
    cured: tuple[str, ...] = ()
    """Ids of the faults whose cause it removed."""
    pain: float = 0.0
    """Requests that failed or were slow since, as seen by users and, a tenth of it, by callers."""
    pain_without: float = 0.0
    """The same in a world where it was not taken."""
    watched: float = 0.0
    """Seconds over which both were counted so far."""

    @property
    def kind(self) -> ActionKind:
        """What was done."""
        return self.action.kind

    @property
    def target(self) -> EntityId:
        """To what."""
        return self.action.target

    @property
    def helped(self) -> bool | None:
        """True when callers suffered clearly less for it, False when clearly more; else None."""
        if self.pain < 0.8 * self.pain_without - _LEAST_PAIN:
            return True
        if self.pain > 1.2 * self.pain_without + _LEAST_PAIN:
            return False
        return None


_LEAST_PAIN = 20.0
"""Requests below which a difference is nobody's business."""


def check_action(world: World, action: Action) -> None:
    """Whether `action` can be taken in `world`.

    Raises:
        ConfigError: The world has no such target, or the action is not for such a target.
    """
    target = action.target
    nodes = [node.id for node in world.nodes]
    if action.kind is ActionKind.DRAIN:
        if target not in nodes:
            msg = f"World {world.name!r} has no node {target!r} to drain."
            raise ConfigError(msg, remedy=f"Use one of: {', '.join(sorted(nodes)[:20])}.")
        return
    if target in nodes:
        msg = f"{target!r} is a node: it can be drained; {action.kind} is for services."
        raise ConfigError(msg, remedy="Name a service, or drain the node.")
    if world.service(target).kind is EntityKind.EXTERNAL and action.kind is not ActionKind.FAILOVER:
        msg = f"{target!r} is a third party: nobody here can {action.kind} it."
        raise ConfigError(msg, remedy="Fail over to another provider, or act on its callers.")
