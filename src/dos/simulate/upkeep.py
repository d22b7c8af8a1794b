"""What a platform does by itself: collect garbage, kill, restart, roll out, scale, reschedule.

Each function updates `State` for one tick. Time constants are those of Kubernetes' defaults.
"""

from __future__ import annotations

import math

import numpy as np

from dos.model.telemetry import BoolArray, Float64Array
from dos.simulate.flow import Effects, State
from dos.simulate.layout import Layout

RESTART_SECONDS = 40.0
"""From the kill of a replica until its successor is ready."""
START_SECONDS = 25.0
"""Until a replica that was added takes requests."""
ROLL_SECONDS = 15.0
"""Of a rolling restart, for each replica."""
RELEASE_SECONDS = 20.0
"""Time constant with which leaked memory goes once the leak is mended (a rolling restart)."""
CLEAN_SECONDS = 30.0
"""Time constant with which a volume is emptied once what filled it has stopped."""
LOGS_PER_DAY = 0.06
"""Of a volume, filled by logs in a day of average traffic; rotated then."""
RESCHEDULE_SECONDS = 60.0
"""Time constant with which replicas of a lost node start elsewhere."""
NOTICE_SECONDS = 12.0
"""Time constant with which load balancers leave out replicas that do not answer."""
SCALE_SMOOTHING = 30.0
"""Time constant of the CPU ratio that the autoscaler looks at."""
SCALE_TOLERANCE = 0.1
"""Deviation from the target that the autoscaler lets be (HorizontalPodAutoscaler's default)."""
SCALE_DOWN_AFTER = 300.0
"""Seconds in which fewer replicas must have been enough (its default stabilisation window)."""
NODE_BASE_CPU, NODE_BASE_MEMORY = 0.05, 0.18
"""What a machine needs for itself."""
NODE_MEMORY_SHARE = 0.7
"""Memory of a machine that the limits of its replicas add up to."""


def use_memory(
    layout: Layout, state: State, served: Float64Array, leak: Float64Array, step: float
) -> BoolArray:
    """Allocate, collect, leak; a replica whose memory is full is killed and restarts.

    Returns:
        `[service]` whether a collection ran.
    """
    garbage = state.garbage + layout.garbage_rate * step * served / layout.capacity
    collected: BoolArray = garbage > layout.garbage_span
    state.garbage = np.where(collected, 0.0, garbage)
    release = math.exp(-step / RELEASE_SECONDS)
    state.leaked = np.where(leak > 0, state.leaked + leak * step, state.leaked * release)
    state.down = np.maximum(0.0, state.down - step)
    full = layout.base_memory + state.garbage + state.leaked >= 1.0
    if full.any():
        state.restarts = state.restarts + full
        state.leaked[full] = 0.0
        state.garbage[full] = 0.0
        state.down[full] = RESTART_SECONDS
    return collected


def use_disk(
    layout: Layout, state: State, served: Float64Array, fill: Float64Array, step: float
) -> None:
    """Logs grow and are rotated; what a fault fills stays until it has stopped."""
    grown = state.written + LOGS_PER_DAY * step / 86_400.0 * served / np.maximum(
        layout.demand, 1e-9
    )
    state.written = np.where(grown > LOGS_PER_DAY, 0.0, grown)
    clean = math.exp(-step / CLEAN_SECONDS)
    state.filled = np.where(fill > 0, state.filled + fill * step, state.filled * clean)


def disk_of(layout: Layout, state: State) -> Float64Array:
    """`[service]` ratio of the volume in use; 0 where there is none."""
    used = np.minimum(1.0, layout.base_disk + state.written + state.filled)
    return np.where(layout.base_disk > 0, used, 0.0)


def roll(state: State, step: float) -> None:
    """Go on with rolling restarts: what was leaked goes with the replicas that held it."""
    if state.rolling.any():
        left = np.maximum(0.0, 1.0 - step / np.maximum(state.rolling, 1e-9))
        state.leaked = np.where(state.rolling > 0, state.leaked * left, state.leaked)
        state.rolling = np.maximum(0.0, state.rolling - step)
    if state.coming.any():
        state.starting = np.maximum(0.0, state.starting - step)
        state.coming = np.where(state.starting > 0, state.coming, 0.0)


def scale(state: State, place: int, replicas: float) -> None:
    """Want that many replicas of the service at `place`; new ones take a while to start."""
    ready = state.replicas[place] - state.coming[place]
    state.coming[place] = max(0.0, replicas - ready)
    state.starting[place] = START_SECONDS if replicas > ready else 0.0
    state.replicas[place] = replicas


def autoscale(layout: Layout, state: State, cpu: Float64Array, step: float) -> None:
    """`ceil(replicas x cpu / target)`, up at once and down after a while, as the HPA has it."""
    ready = state.replicas - state.coming
    state.demanded += (1.0 - math.exp(-step / SCALE_SMOOTHING)) * (cpu * ready - state.demanded)
    needed = state.demanded / layout.scale_target
    ratio = needed / np.maximum(1.0, ready)
    wanted = np.clip(np.ceil(needed), layout.least, layout.most)
    fewer = layout.autoscaled & (ratio < 1.0 - SCALE_TOLERANCE) & (wanted < state.replicas)
    state.idle_for = np.where(fewer, state.idle_for + step, 0.0)
    more = layout.autoscaled & (ratio > 1.0 + SCALE_TOLERANCE) & (wanted > state.replicas)
    for place in np.flatnonzero(more | (state.idle_for >= SCALE_DOWN_AFTER)):
        scale(state, int(place), float(wanted[place]))
        state.idle_for[place] = 0.0


def reschedule(layout: Layout, state: State, effects: Effects, step: float) -> Float64Array:
    """Start replicas of lost nodes elsewhere, unless a volume holds them where they were.

    Returns:
        `[service]` ratio of its replicas that are gone and that callers do not know of yet.
    """
    out = np.where(state.drained, 0.0, effects.node_out)
    if not (out.any() or state.away.any() or state.lost.any()):
        return np.zeros(len(layout.services))
    gone = layout.share_of_nodes(out)
    follow = 1.0 - math.exp(-step / RESCHEDULE_SECONDS)
    moved = state.away + follow * np.maximum(0.0, gone - state.away)
    # A store stays away only if somebody failed it over.
    moved = np.where(layout.stateful, state.away, moved)
    state.away = np.minimum(moved, gone)
    missing = gone - state.away
    unnoticed = np.maximum(0.0, missing - state.lost)
    state.lost += (1.0 - math.exp(-step / NOTICE_SECONDS)) * (missing - state.lost)
    state.lost = np.where(np.abs(state.lost) < 1e-6, 0.0, state.lost)
    return unnoticed


def replicas_ready(layout: Layout, state: State) -> Float64Array:
    """`[service]` replicas that take requests."""
    # A Deployment starts the successor before a replica goes; a StatefulSet does not.
    rolling = (state.rolling > 0) & layout.stateful
    away = (state.down > 0).astype(np.float64) + np.where(
        state.replicas > 1.0, rolling, 0.5 * rolling
    )
    ready = np.maximum(0.0, state.replicas - state.coming - away)
    left: Float64Array = ready * (1.0 - np.clip(state.lost, 0.0, 1.0))
    return left


def node_cpu(layout: Layout, state: State, cpu: Float64Array, effects: Effects) -> Float64Array:
    """`[node]` ratio of the cores in use, `cpu` `[service]` being that of each replica's limit."""
    cores = layout.servers[layout.pod_service] * layout.pod_share
    here = np.where(state.drained[layout.pod_node], 0.0, cores * cpu[layout.pod_service])
    used = np.bincount(layout.pod_node, here, len(layout.nodes)) / layout.node_cores
    left = 1.0 - effects.node_burn
    total = effects.node_burn + left * np.minimum(1.0, NODE_BASE_CPU + used)
    alive: Float64Array = total * (1.0 - effects.node_out)
    return alive


def node_memory(layout: Layout, memory: Float64Array) -> Float64Array:
    """`[node]` ratio of the memory in use, `memory` `[service]` being that of the limits."""
    mean = np.bincount(layout.pod_node, memory[layout.pod_service], len(layout.nodes))
    used: Float64Array = NODE_BASE_MEMORY + NODE_MEMORY_SHARE * mean / layout.node_pods
    return used
