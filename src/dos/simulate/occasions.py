"""How often there is something to log: expected lines per second, from the physics of a tick.

What a service knows of itself is `[service]`, what it knows of those it calls `[call]`. Nothing
here asks which fault runs, but for why a call did not arrive, which the physics does not know.
"""

from __future__ import annotations

import math

import numpy as np

from dos.model.entity import EntityKind
from dos.model.telemetry import BoolArray, Float64Array
from dos.simulate.engine import Played
from dos.simulate.flow import Flow, State
from dos.simulate.log_templates import Event
from dos.simulate.propagation import REPEATS, Physics
from dos.simulate.queueing import normal_cdf
from dos.simulate.semantics import TRACED
from dos.simulate.symptoms import SYMPTOMS, Obstacle, Symptom, Symptoms

SLOW_SECONDS = 1.0
"""A request that takes longer is worth a line."""
POOL_SECONDS, LOCK_SECONDS = 0.25, 0.5
"""Who waits longer for a free worker, or for a lock, gives up and says so."""
ROUTINE_SECONDS = 30.0
"""Between two lines of a replica that has nothing to say."""
NAG_SECONDS = 10.0
"""Between two lines of a replica about something that stays wrong."""
HIGH_CPU, HIGH_MEMORY, HIGH_DISK = 0.9, 0.85, 0.85
"""Ratios from which on a replica complains."""
LAG_SECONDS = 5.0
"""Work that may wait for a consumer before it complains."""
WRONG_CLOCK = 1.0
"""Seconds from which on a clock is noticed to be wrong."""
_EVENTS = {
    Symptom.OVERLOADED: Event.OVERLOADED,
    Symptom.RESET: Event.RESET,
    Symptom.DISK_FULL: Event.DISK_FULL,
    Symptom.CLOCK: Event.EXPIRED,
}
OBSTACLES = {
    Obstacle.REFUSED: Event.REFUSED,
    Obstacle.NO_HOST: Event.NO_HOST,
    Obstacle.CERTIFICATE: Event.CERTIFICATE,
}
"""What a caller writes when a call did not arrive."""


def of_services(
    physics: Physics, played: Played, symptoms: Symptoms, new_code: BoolArray
) -> dict[Event, Float64Array]:
    """Lines per second `[service]` that services write about themselves.

    Args:
        physics: The world.
        played: The tick.
        symptoms: Why services fail requests in it.
        new_code: `[service]` whether a version has just come out.
    """
    flow, state = played.flow, played.state
    effects, arrivals = flow.effects, flow.arrivals
    replicas = np.where(_has_logs(physics), flow.replicas, 0.0)
    nag = replicas / NAG_SECONDS
    ratio = -np.expm1(-symptoms.weights)
    broken = arrivals * effects.errors
    full = flow.in_flight > 0.95 * flow.pool
    skewed = np.where(state.drained, 0.0, flow.node_skew) > WRONG_CLOCK
    lines = {
        Event.REQUEST: arrivals * (1.0 - flow.answers.errors),
        Event.ROUTINE: replicas / ROUTINE_SECONDS,
        Event.SLOW: flow.served * _over(flow, SLOW_SECONDS),
        Event.INTERNAL: arrivals * physics.base_errors,
        Event.NEW_CODE: np.where(new_code, broken, 0.0),
        Event.NO_CONNECTION: np.where(new_code, 0.0, broken),
        Event.POOL: np.where(full, flow.served * _own_over(flow, POOL_SECONDS), 0.0),
        Event.LOCK: np.where(effects.lock < 1.0, flow.served * _own_over(flow, LOCK_SECONDS), 0.0),
        Event.STARVED: nag * np.clip((flow.cpu - HIGH_CPU) / (1.0 - HIGH_CPU), 0.0, 1.0),
        Event.MEMORY: nag * np.clip((flow.memory - HIGH_MEMORY) / (1.0 - HIGH_MEMORY), 0.0, 1.0),
        Event.DISK: nag * (flow.disk > HIGH_DISK),
        Event.BEHIND: nag * (_lag(physics, state, flow) > LAG_SECONDS),
        Event.CLOCK: nag * physics.share_of_nodes(skewed.astype(np.float64)),
    }
    for symptom, event in _EVENTS.items():
        lines[event] = arrivals * ratio[SYMPTOMS.index(symptom)]
    # Datastores collect no garbage, and third parties tell us nothing.
    lines[Event.MEMORY] = np.where(physics.stateful, 0.0, lines[Event.MEMORY])
    return {event: np.where(replicas > 0, rate, 0.0) for event, rate in lines.items()}


def of_calls(physics: Physics, played: Played, symptoms: Symptoms) -> dict[Event, Float64Array]:
    """Lines per second `[call]` that callers write about those they call."""
    flow, answers, calling = played.flow, played.flow.answers, played.flow.calling
    effects, callee = flow.effects, physics.callee
    traced = np.array([one.kind in TRACED for one in physics.services], np.bool_)
    wanted = np.where(traced[physics.caller], flow.served[physics.caller] * calling.wanted, 0.0)
    made = wanted * (calling.tries + calling.besides)
    patience = np.log(np.maximum(1e-3, physics.timeout - effects.call_delay))
    in_time = normal_cdf((patience - answers.location[callee]) / answers.spread[callee])
    arrived = made * (1.0 - effects.unreached)
    mended = (1.0 - REPEATS) * (1.0 - answers.call_failures**physics.retries)
    held = calling.held_back
    lost = held + (1.0 - held) * answers.call_failures * (1.0 - mended)
    lines = {
        Event.TIMEOUT: arrived * (1.0 - in_time),
        Event.FAILED: arrived * in_time * answers.errors[callee],
        Event.RETRY: np.maximum(0.0, made - wanted * (1.0 - held)),
        Event.BREAKER: wanted * held,
        Event.FALLBACK: wanted * lost * (1.0 - physics.criticality),
    }
    blocked = made * effects.unreached
    for obstacle, event in OBSTACLES.items():
        lines[event] = blocked * symptoms.share(obstacle)
    return lines


def _has_logs(physics: Physics) -> BoolArray:
    return np.array([one.kind is not EntityKind.EXTERNAL for one in physics.services], np.bool_)


def _over(flow: Flow, seconds: float) -> Float64Array:
    """`[service]` ratio of requests that take longer."""
    answers = flow.answers
    return 1.0 - normal_cdf((math.log(seconds) - answers.location) / answers.spread)


def _own_over(flow: Flow, seconds: float) -> Float64Array:
    """`[service]` ratio of requests that spend longer in the service itself."""
    second = np.log1p(flow.own.variance / np.square(flow.own.mean))
    location = np.log(flow.own.mean) - 0.5 * second
    return 1.0 - normal_cdf((math.log(seconds) - location) / np.sqrt(second))


def _lag(physics: Physics, state: State, flow: Flow) -> Float64Array:
    """`[service]` seconds that messages wait for it; 0 for who takes none."""
    seconds = state.backlog / np.maximum(flow.served, 1e-9)
    return np.where(physics.consumer, seconds, 0.0)
