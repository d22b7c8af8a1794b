"""What the physics works with and yields: effects of faults, state, and the flow of a tick."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dos.model.telemetry import Float64Array


@dataclass(frozen=True, slots=True, eq=False)
class Effects:
    """What faults do to each service, as arrays `[service]`."""

    burn: Float64Array
    """CPU ratio taken by something else."""
    delay: Float64Array
    """Seconds added to every request."""
    errors: Float64Array
    """Ratio of requests made to fail."""
    leak: Float64Array
    """Memory leaked per second, as a ratio of the limit."""
    capacity: Float64Array
    """Share of the servers that is left."""

    @staticmethod
    def none(count: int) -> Effects:
        """No effect on any of `count` services."""
        zeros = [np.zeros(count) for _ in range(4)]
        return Effects(zeros[0], zeros[1], zeros[2], zeros[3], np.ones(count))


@dataclass(slots=True, eq=False)
class State:
    """What one tick leaves to the next."""

    backlog: Float64Array
    """`[service]` requests waiting."""
    held: Float64Array
    """`[service]` mean seconds a request holds its place in the pool, smoothed."""
    failing: Float64Array
    """`[call]` ratio of calls that fail, smoothed."""
    garbage: Float64Array
    """`[service]` memory to collect, as a ratio of the limit."""
    leaked: Float64Array
    """`[service]` memory lost, as a ratio of the limit."""
    down: Float64Array
    """`[service]` seconds until the killed replica is back."""
    restarts: Float64Array
    """`[service]` restarts so far."""

    def copy(self) -> State:
        """An independent copy."""
        return State(
            self.backlog.copy(),
            self.held.copy(),
            self.failing.copy(),
            self.garbage.copy(),
            self.leaked.copy(),
            self.down.copy(),
            self.restarts.copy(),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """How requests are answered in one tick."""

    latency: Float64Array
    """`[service]` mean seconds of a request."""
    location: Float64Array
    """`[service]` μ of the lognormal of latency: ln of the median in seconds."""
    spread: Float64Array
    """`[service]` σ of that lognormal."""
    errors: Float64Array
    """`[service]` ratio of requests that failed."""
    call_failures: Float64Array
    """`[call]` ratio of calls that failed."""


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """What went on in one tick, before anybody measured it. Arrays `[service]` but for calls."""

    arrivals: Float64Array
    """Requests per second."""
    served: Float64Array
    """Requests per second that were worked on."""
    answers: Answers
    cpu: Float64Array
    memory: Float64Array
    """Ratios of the limits."""
    in_flight: Float64Array
    """Requests being worked on, by Little's law."""
    waiting: Float64Array
    """Requests, or messages, that wait."""
    restarts: Float64Array
    """So far."""
    ready: Float64Array
    """Replicas that take requests."""
    call_rate: Float64Array
    """`[call]` calls per second, retries included."""
