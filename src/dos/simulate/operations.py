"""What operators do to the world: deployments, restarts, scaling, failover, and the log of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from random import Random

import numpy as np

from dos.kit.clock import Millis
from dos.model.change import Change, ChangeKind
from dos.model.entity import EntityKind
from dos.model.ids import ChangeId, EntityId, derive_id
from dos.model.telemetry import Float64Array
from dos.simulate import upkeep
from dos.simulate.actions import Action, ActionKind, check_action
from dos.simulate.flow import Flow, State
from dos.simulate.propagation import Physics
from dos.simulate.world import World

CHANGES_KEPT = 10_000
"""Changes remembered at most."""
FAILOVER_SECONDS = 20.0
"""In which a standby takes over, at half the capacity."""
INNER = 0.1
"""What a call within the system counts, beside a request of a user."""
SLOW = 1.5
"""Multiple of its usual latency from which on a service is slow."""
_ROUTINE: tuple[tuple[ChangeKind, str, float], ...] = (
    (ChangeKind.DEPLOY, "Deploy {target} {version}", 0.6),
    (ChangeKind.CONFIG, "Configure {target}: log level", 0.2),
    (ChangeKind.FLAG, "Enable flag colours-2 of {target} for 5 %", 0.1),
    (ChangeKind.OTHER, "Cloud: maintenance of the host of {target} finished", 0.1),
)
"""Harmless changes, with their share."""


class Operations:
    """Versions and changes of one world.

    Args:
        world: What there is.
        seed: Of the dice of routine changes.
        chance: Probability of a routine change per tick.
    """

    def __init__(self, world: World, seed: int, chance: float) -> None:
        self._world = world
        self._rng = Random(f"operations/{seed}")  # noqa: S311  a simulation, not a secret
        self._chance = chance
        self._deployed = {one.id: [one.version] for one in world.services}
        self._own = [
            one.id for one in world.services if one.kind in {EntityKind.SERVICE, EntityKind.GATEWAY}
        ]
        self._noted = 0
        self.changes: deque[Change] = deque(maxlen=CHANGES_KEPT)
        """The newest, oldest first."""

    def since(self, number: int) -> tuple[list[Change], int]:
        """Changes noted after the first `number`, and how many there are now."""
        new = self._noted - number
        return (list(self.changes)[-new:] if new else []), self._noted

    def version(self, service: EntityId) -> str:
        """What runs now; empty for what has no version."""
        deployed = self._deployed.get(service)
        return deployed[-1] if deployed else ""

    def deploy(self, service: EntityId) -> str:
        """Put the next version out; returns it."""
        major, minor, patch = [*self.version(service).split("."), "0", "0"][:3]
        version = f"{major}.{minor}.{int(patch) + 1 if patch.isdecimal() else 1}"
        self._deployed[service].append(version)
        return version

    def note(self, at: Millis, kind: ChangeKind, entity: EntityId | None, summary: str) -> None:
        """Write a change down."""
        self._noted += 1
        self.changes.append(
            Change(
                id=ChangeId(derive_id("change", kind, entity or "", at, self._noted)),
                at=at,
                kind=kind,
                entity=entity,
                summary=summary,
                source="simulator",
            )
        )

    def routine(self, physics: Physics, states: Iterable[State], now: Millis) -> None:
        """Roll the dice for a harmless change of the world, whose states are `states`."""
        if self._chance <= 0 or self._rng.random() >= self._chance or not self._own:
            return
        target = self._rng.choice(self._own)
        kind, summary, _ = self._rng.choices(_ROUTINE, [share for *_, share in _ROUTINE])[0]
        version = self.version(target)
        if kind is ChangeKind.DEPLOY:
            version = self.deploy(target)
            for state in states:
                restart(physics, state, target)
        self.note(now, kind, target, summary.format(target=target, version=version))

    def carry_out(
        self, action: Action, physics: Physics, states: Iterable[State], now: Millis
    ) -> None:
        """Do to the world what `action` says, and write it down.

        Args:
            action: What to do.
            physics: The arrays of the world.
            states: That of the world, and those of the worlds it is compared with.
            now: Time of the action.

        Raises:
            ConfigError: The world has no such target, or the action is not for such a target.
        """
        check_action(self._world, action)
        for state in states:
            _alter(action, physics, state)
        target = action.target
        match action.kind:
            case ActionKind.SCALE:
                self.note(now, ChangeKind.SCALE, target, f"Scale {target} to {action.replicas}")
            case ActionKind.RESTART:
                self.note(now, ChangeKind.RESTART, target, f"Restart {target}")
            case ActionKind.ROLLBACK:
                deployed = self._deployed[target]
                if len(deployed) > 1:
                    deployed.pop()
                back = f"Roll {target} back to {deployed[-1]}"
                self.note(now, ChangeKind.DEPLOY, target, back)
            case ActionKind.FLAG_OFF:
                self.note(now, ChangeKind.FLAG, target, f"Disable flags of {target}")
            case ActionKind.FAILOVER:
                self.note(now, ChangeKind.OTHER, target, f"Fail {target} over to its standby")
            case ActionKind.DRAIN:
                self.note(now, ChangeKind.OTHER, target, f"Drain {target}")


def restart(physics: Physics, state: State, service: EntityId) -> None:
    """Begin a rolling restart."""
    place = physics.index[service]
    state.rolling[place] = upkeep.ROLL_SECONDS * max(1.0, state.replicas[place])


def _alter(action: Action, physics: Physics, state: State) -> None:
    """Change `state` as `action` does."""
    target = action.target
    match action.kind:
        case ActionKind.DRAIN:
            state.drained[physics.node_index[target]] = True
        case ActionKind.SCALE:
            upkeep.scale(state, physics.index[target], float(action.replicas or 1))
        case ActionKind.RESTART | ActionKind.ROLLBACK:
            restart(physics, state, target)
        case ActionKind.FAILOVER:
            place = physics.index[target]
            state.rolling[place] = FAILOVER_SECONDS
            state.filled[place] = state.leaked[place] = 0.0
            state.away[place] = 1.0
        case ActionKind.FLAG_OFF:
            pass  # a flag works on the next request; nothing restarts


def pain_of(physics: Physics, flow: Flow) -> float:
    """Requests per second that fail more than usual or count as slow.

    What users ask for and what was queued counts once; a call within the system counts a tenth,
    since what of it hurts somebody counts again where users come in. Messages that pile up before
    a consumer count as well.
    """
    failing, slow = suffering(physics, flow)
    more = np.maximum(0.0, failing - flow.arrivals * physics.nominal_errors)
    late = np.where(physics.consumer, np.maximum(0.0, flow.arrivals - flow.served), 0.0)
    weight = np.where((physics.entries > 0) | physics.consumer, 1.0, INNER)
    return float(np.sum(weight * (more + slow) + late))


def suffering(physics: Physics, flow: Flow) -> tuple[Float64Array, Float64Array]:
    """`[service]` requests per second that fail, and that do not but count as slow.

    A request counts in part as slow from 1.5 times the service's usual latency on, and in full
    from ten times on.
    """
    over = flow.answers.latency / physics.nominal_latency - SLOW
    slow = np.clip(over / (10.0 - SLOW), 0.0, 1.0)
    failing = flow.arrivals * flow.answers.errors
    return failing, (flow.arrivals - failing) * slow
