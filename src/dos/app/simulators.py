"""The simulations among the sources, for the API: looked at, broken and mended while they play.

They are played on the event loop that also answers requests, so that nothing needs a lock. What is
asked for takes effect with the next step, for the source has played the present one already.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TypeVar

from dos.api.simulation import (
    ActionOrder,
    FaultKind,
    FaultOrder,
    SimulatedAction,
    SimulatedFault,
    SimulatorStatus,
)
from dos.app.wiring import NamedSource
from dos.kit.errors import ConfigError, TransientError
from dos.model.ids import EntityId
from dos.simulate import control
from dos.simulate.actions import Action, ActionKind, Performed
from dos.simulate.engine import Truth
from dos.simulate.faults import Fault, FaultType
from dos.simulate.kinds import KINDS
from dos.simulate.source import SimulatorSource

MOST_SHOWN = 1_000
"""Faults, and actions, of one simulation that are told of."""
MOST_TARGETS = 100
"""Targets named of one kind of fault."""
_RETRY_SECONDS = 5.0

_E = TypeVar("_E", bound=StrEnum)


class PlayedSimulators:
    """Implements `dos.api.simulation.Simulators`.

    Args:
        sources: The simulations by the names of their sources.
    """

    def __init__(self, sources: Mapping[str, SimulatorSource]) -> None:
        self._sources = dict(sources)
        self._kinds: dict[str, tuple[FaultKind, ...]] = {}

    def statuses(self) -> Sequence[SimulatorStatus]:
        """Each of them, in the order of the configuration."""
        return [self._status(name, source) for name, source in self._sources.items()]

    def inject(self, order: FaultOrder) -> SimulatedFault:
        """Break something, from the next step on."""
        name, source = self._live(order.source)
        kind = KINDS[_one_of(FaultType, order.type, "type of fault")]
        fault = Fault(
            type=kind.type,
            target=EntityId(order.target),
            severity=order.severity,
            duration=order.duration,
            ramp=kind.ramp if order.ramp is None else order.ramp,
            recovery=kind.recovery if order.recovery is None else order.recovery,
        )
        return _fault(name, control.inject(source.simulation, fault))

    def act(self, order: ActionOrder) -> SimulatedAction:
        """Take a remediation, from the next step on."""
        name, source = self._live(order.source)
        kind = _one_of(ActionKind, order.kind, "kind of action")
        action = Action(kind=kind, target=EntityId(order.target), replicas=order.replicas)
        return _action(name, control.act(source.simulation, action))

    def clear(self, source: str | None) -> Sequence[SimulatedFault]:
        """Let the faults of one simulation, or of all, recover."""
        chosen = self._sources if source is None else dict([self._named(source)])
        running = []
        for name, one in chosen.items():
            ids = {run.id for run in one.simulation.running}
            one.simulation.clear()
            running += [_fault(name, truth) for truth in one.simulation.truths if truth.id in ids]
        return running

    def _named(self, source: str | None) -> tuple[str, SimulatorSource]:
        names = ", ".join(self._sources)
        if source is None:
            if len(self._sources) > 1:
                msg = "There are several simulations."
                raise ConfigError(msg, remedy=f"Give `source`, one of: {names}.")
            return next(iter(self._sources.items()))
        if source not in self._sources:
            msg = f"There is no simulation {source!r}."
            raise ConfigError(msg, remedy=f"Give one of: {names}.")
        return source, self._sources[source]

    def _live(self, source: str | None) -> tuple[str, SimulatorSource]:
        name, one = self._named(source)
        if one.simulation.now < one.origin:
            msg = f"The simulation {name!r} still delivers its healthy past."
            raise TransientError(msg, remedy="Try again.", retry_after=_RETRY_SECONDS)
        return name, one

    def _status(self, name: str, source: SimulatorSource) -> SimulatorStatus:
        simulation = source.simulation
        if name not in self._kinds:  # a world does not change
            self._kinds[name] = _kinds(source)
        return SimulatorStatus(
            source=name,
            world=simulation.world.name,
            now=simulation.now,
            step_seconds=simulation.step_seconds,
            services=len(simulation.world.services),
            machines=len(simulation.world.nodes),
            live=simulation.now >= source.origin,
            faults=tuple(_fault(name, one) for one in simulation.truths[: -MOST_SHOWN - 1 : -1]),
            actions=tuple(_action(name, one) for one in simulation.actions[: -MOST_SHOWN - 1 : -1]),
            kinds=self._kinds[name],
        )


def simulators_of(sources: Sequence[NamedSource]) -> PlayedSimulators | None:
    """The simulations among `sources`; None where there are none."""
    found = {one.name: one.source for one in sources if isinstance(one.source, SimulatorSource)}
    return PlayedSimulators(found) if found else None


def _kinds(source: SimulatorSource) -> tuple[FaultKind, ...]:
    described = []
    for kind in KINDS.values():
        targets = kind.targets(source.simulation.world)
        described.append(
            FaultKind(
                type=kind.type.value,
                label=kind.type.label,
                description=(inspect.getdoc(kind) or "").splitlines()[0],
                harmless=kind.harmless,
                cures=tuple(sorted(one.value for one in kind.cures)),
                targets=tuple(targets[:MOST_TARGETS]),
                target_count=len(targets),
            )
        )
    return tuple(described)


def _fault(source: str, truth: Truth) -> SimulatedFault:
    return SimulatedFault(
        id=truth.id,
        source=source,
        type=truth.fault.value,
        label=truth.fault.label,
        target=truth.target,
        severity=truth.severity,
        harmless=truth.harmless,
        start=truth.start,
        visible_at=truth.visible_at,
        mitigated_at=truth.mitigated_at,
        end=truth.end,
        affected=truth.affected,
        causes=truth.causes,
    )


def _action(source: str, performed: Performed) -> SimulatedAction:
    return SimulatedAction(
        source=source,
        at=performed.at,
        kind=performed.kind.value,
        target=performed.target,
        replicas=performed.action.replicas,
        cured=performed.cured,
        helped=performed.helped,
        suffered=round(performed.pain, 1),
        suffered_without=round(performed.pain_without, 1),
        watched_seconds=performed.watched,
    )


def _one_of(choices: type[_E], name: str, noun: str) -> _E:
    """The member of an enumeration by its name.

    Raises:
        ConfigError: There is none.
    """
    try:
        return choices(name)
    except ValueError:
        msg = f"There is no {noun} {name[:60]!r}."
        names = ", ".join(one.value for one in choices)
        raise ConfigError(msg, remedy=f"Give one of: {names}.") from None
