"""Why requests fail, as those can tell who handle or make them: read off the physics of a tick.

A `Symptom` is what a service knows of its own failures, an `Obstacle` what a caller knows of a
call that did not arrive. The physics mixes them into ratios; here they are taken apart again.
"""

from __future__ import annotations

from enum import StrEnum
from random import Random

import numpy as np

from dos.model.telemetry import Float64Array
from dos.simulate.engine import Played, Simulation
from dos.simulate.faults import FaultType
from dos.simulate.propagation import DISK_FULL, PACKETS, ROLLING_ERRORS, Physics


class Symptom(StrEnum):
    """Why a service fails a request by itself."""

    INTERNAL = "internal"
    """The code fails: now and then on a good day, often on a bad one."""
    OVERLOADED = "overloaded"
    """No room for the request."""
    KILLED = "killed"
    """Its replica was killed."""
    GONE = "gone"
    """Its replica went with a node and is still being called."""
    ROLLING = "rolling"
    """Its replica was just being stopped."""
    RESET = "reset"
    """Too many packets of it were lost."""
    DISK_FULL = "disk_full"
    """It had to write."""
    CLOCK = "clock"
    """The replica's clock is wrong: tokens seem to come from the future."""


class Obstacle(StrEnum):
    """Why a call fails on its way."""

    REFUSED = "refused"
    """Nobody listens there."""
    NO_HOST = "no_host"
    """Its name is not found."""
    CERTIFICATE = "certificate"
    """Its certificate has expired."""


_OBSTACLES = {
    FaultType.CERTIFICATE_EXPIRY: Obstacle.CERTIFICATE,
    FaultType.DNS_FAILURE: Obstacle.NO_HOST,
}
"""The physics knows only that a call does not arrive; what the client sees depends on the cause."""
SYMPTOMS = tuple(Symptom)


class Symptoms:
    """Causes of failures of one tick, to draw from.

    Args:
        simulation: Stands behind its last tick.
        played: That tick.
    """

    def __init__(self, simulation: Simulation, played: Played) -> None:
        physics = simulation.physics
        self.weights = _weights(physics, played)
        """`[symptom, service]` -ln(1 - p) of each cause, in the order of `SYMPTOMS`."""
        self._calls = len(physics.calls)
        self._blocked: dict[int, list[Obstacle]] = {}
        for run in simulation.running:
            kind, target = run.fault.type, run.fault.target
            if target in physics.index and run.intensity(simulation.now) > 0:
                for call in physics.calls_into(target).tolist():
                    if kind in _OBSTACLES or kind is FaultType.DEPENDENCY_OUTAGE:
                        found = self._blocked.setdefault(call, [])
                        found.append(_OBSTACLES.get(kind, Obstacle.REFUSED))

    def of(self, place: int, rng: Random, *, clock: bool) -> Symptom:
        """Why the service at `place` failed a request.

        Args:
            place: Of the service.
            rng: To draw with.
            clock: Whether the clock of the replica in question is wrong.
        """
        weights: list[float] = self.weights[:, place].tolist()
        if not clock:
            weights[SYMPTOMS.index(Symptom.CLOCK)] = 0.0
        if sum(weights) <= 0:
            return Symptom.INTERNAL
        return rng.choices(SYMPTOMS, weights)[0]

    def share(self, obstacle: Obstacle) -> Float64Array:
        """`[call]` share of the calls that do not arrive, for which it is why."""
        shares = np.full(self._calls, float(obstacle is Obstacle.REFUSED))
        for call, found in self._blocked.items():
            shares[call] = found.count(obstacle) / len(found)
        return shares

    def on_way(self, call: int, rng: Random) -> Obstacle:
        """Why a call did not arrive."""
        return rng.choice(self._blocked.get(call, [Obstacle.REFUSED]))


def _weights(physics: Physics, played: Played) -> Float64Array:
    flow, state, effects = played.flow, played.state, played.flow.effects
    none = np.zeros(len(physics.services))
    full = np.clip((flow.disk - DISK_FULL) / (1.0 - DISK_FULL), 0.0, 1.0)
    out = np.where(state.drained, 0.0, effects.node_out)
    skewed = np.where(state.drained, 0.0, effects.node_errors)
    clock = physics.share_of_nodes(skewed) if skewed.any() else none
    gone = physics.share_of_nodes(out) if out.any() else none
    ratios = {
        Symptom.INTERNAL: 1.0 - (1.0 - physics.base_errors) * (1.0 - effects.errors),
        Symptom.OVERLOADED: flow.own.refused,
        Symptom.KILLED: np.where(state.down > 0, 0.3 / physics.replicas, 0.0),
        Symptom.GONE: np.maximum(0.0, gone - state.away - state.lost),
        Symptom.ROLLING: np.where(state.rolling > 0, ROLLING_ERRORS, 0.0),
        Symptom.RESET: 1.0 - (1.0 - effects.loss**3) ** PACKETS,
        Symptom.DISK_FULL: physics.write_share * full,
        Symptom.CLOCK: np.where(physics.stateful, 0.0, clock),
    }
    stacked = np.stack([ratios[one] for one in SYMPTOMS])
    weights: Float64Array = -np.log1p(-np.clip(stacked, 0.0, 1.0 - 1e-9))
    return weights
