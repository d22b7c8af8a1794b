"""Breaking and mending a simulation from outside while it runs: what is asked for, and answered.

The exporter's control endpoint and the API of DOS take the same requests through here.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dos.kit.clock import to_rfc3339
from dos.kit.duration import Duration
from dos.kit.errors import ConfigError
from dos.model.ids import EntityId
from dos.simulate.actions import Action, ActionKind, Performed
from dos.simulate.engine import Simulation, Truth
from dos.simulate.faults import Fault, FaultType
from dos.simulate.kinds import KINDS

MOST_RUNNING = 20
"""Faults that may be at work when another one is asked for: each costs a world of its own."""
MOST_WATCHED = 20
"""Actions taken within the time over which they are watched: these cost the same."""


class _Request(BaseModel):
    """What is asked for of one target."""

    model_config = ConfigDict(extra="forbid")

    target: str = Field(max_length=256)
    """A service, node or zone; `service` is taken too, as it was called when only these broke."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: object) -> object:
        if isinstance(given, dict) and "service" in given and "target" not in given:
            return {"target" if key == "service" else key: value for key, value in given.items()}
        return given


class FaultRequest(_Request):
    """A fault somebody asks for."""

    type: FaultType
    severity: float = Field(default=0.7, gt=0, le=1)
    duration: Duration = Field(default=180.0, gt=0, le=86_400)
    ramp: Duration | None = Field(default=None, le=86_400)
    """What is usual for the type, where it is not given."""
    recovery: Duration | None = Field(default=None, le=86_400)

    def build(self) -> Fault:
        """As the fault it asks for."""
        kind = KINDS[self.type]
        return Fault(
            type=self.type,
            target=EntityId(self.target),
            severity=self.severity,
            duration=self.duration,
            ramp=kind.ramp if self.ramp is None else self.ramp,
            recovery=kind.recovery if self.recovery is None else self.recovery,
        )


class ActionRequest(_Request):
    """A remediation somebody asks for; its target is a service, for `drain` a node."""

    kind: ActionKind
    replicas: int | None = Field(default=None, ge=1, le=1000)
    """Wanted of `scale`."""

    def build(self) -> Action:
        """As the action it asks for.

        Raises:
            ConfigError: `replicas` is missing, or given where it has no meaning.
        """
        return Action(kind=self.kind, target=EntityId(self.target), replicas=self.replicas)


def inject(simulation: Simulation, fault: Fault) -> Truth:
    """Trigger `fault`; it takes effect with the next tick.

    Raises:
        ConfigError: The world has no such target, it cannot have such a fault, or so many run
            already that the simulation would slow down.
    """
    if len(simulation.running) >= MOST_RUNNING:
        msg = f"{len(simulation.running)} faults run already."
        raise ConfigError(msg, remedy="Wait for one to end, or clear them.")
    simulation.inject(fault)
    return simulation.truths[-1]


def act(simulation: Simulation, action: Action) -> Performed:
    """Take `action`; it takes effect with the next tick.

    Raises:
        ConfigError: The world has no such target, the action is not for such a target, or so many
            were taken just now that the simulation would slow down.
    """
    watched = simulation.watched
    if watched >= MOST_WATCHED:
        msg = f"{watched} actions were taken within minutes."
        raise ConfigError(msg, remedy="Wait to see what came of them.")
    return simulation.act(action)


def fault_shown(truth: Truth) -> dict[str, object]:
    """A fault as JSON, with the truth about it."""
    return {
        "id": truth.id,
        "type": truth.fault.value,
        "target": truth.target,
        "service": truth.target,
        "severity": truth.severity,
        "harmless": truth.harmless,
        "start": to_rfc3339(truth.start),
        "visible_at": None if truth.visible_at is None else to_rfc3339(truth.visible_at),
        "mitigated_at": None if truth.mitigated_at is None else to_rfc3339(truth.mitigated_at),
        "end": None if truth.end is None else to_rfc3339(truth.end),
        "affected": list(truth.affected),
        "causes": list(truth.causes),
    }


def action_shown(performed: Performed) -> dict[str, object]:
    """An action as JSON, with what came of it so far."""
    return {
        "at": to_rfc3339(performed.at),
        "kind": performed.kind.value,
        "target": performed.target,
        "replicas": performed.action.replicas,
        "cured": list(performed.cured),
        "helped": performed.helped,
        "suffered": round(performed.pain, 1),
        "suffered_without": round(performed.pain_without, 1),
        "watched_seconds": performed.watched,
    }
