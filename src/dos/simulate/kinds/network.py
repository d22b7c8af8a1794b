"""The network between services: slow, lossy, misnamed, untrusted, gone."""

from __future__ import annotations

from dos.kit.clock import Millis
from dos.model.entity import EntityKind
from dos.simulate.actions import ActionKind
from dos.simulate.faults import FaultRun, FaultType
from dos.simulate.flow import Effects
from dos.simulate.kinds.base import Kind, block
from dos.simulate.propagation import Physics
from dos.simulate.world import SimulatedService

MOST_DELAY = 0.5
"""Seconds that a network fault of full severity adds to each request."""
MOST_LOSS = 0.25
"""Ratio of packets that full severity loses."""
RESOLVER_SECONDS = 2.0
"""A failing name lookup takes that long at most before it fails."""


class NetworkLatency(Kind):
    """Everything to and from one service takes longer."""

    type = FaultType.NETWORK_LATENCY

    def fits(self, service: SimulatedService, *, called: bool) -> bool:
        """Anybody, third parties included."""
        return True

    def apply(
        self, run: FaultRun, strength: float, effects: Effects, physics: Physics, now: Millis
    ) -> None:
        """Delay requests."""
        effects.delay[physics.index[run.fault.target]] += MOST_DELAY * strength


class PacketLoss(Kind):
    """Packets are lost: most requests a little slower, some much, a few broken."""

    type = FaultType.PACKET_LOSS

    def apply(
        self, run: FaultRun, strength: float, effects: Effects, physics: Physics, now: Millis
    ) -> None:
        """Lose packets."""
        place = physics.index[run.fault.target]
        effects.loss[place] = 1.0 - (1.0 - effects.loss[place]) * (1.0 - MOST_LOSS * strength)


class _Unreachable(Kind):
    """Calls fail before they arrive: the callee is idle, its callers fail."""

    ramp = 0.0
    recovery = 5.0

    def fits(self, service: SimulatedService, *, called: bool) -> bool:
        """Who is called by others."""
        return called and service.kind is not EntityKind.QUEUE


class CertificateExpiry(_Unreachable):
    """From one second to the next no client trusts it; only connections that are open go on."""

    type = FaultType.CERTIFICATE_EXPIRY

    def apply(
        self, run: FaultRun, strength: float, effects: Effects, physics: Physics, now: Millis
    ) -> None:
        """Let handshakes fail."""
        calls = physics.calls_into(run.fault.target)
        block(effects, calls.tolist(), run.intensity(now) * (0.5 + 0.49 * run.fault.severity))


class DnsFailure(_Unreachable):
    """Its name is not found, and not finding it takes time."""

    type = FaultType.DNS_FAILURE

    def apply(
        self, run: FaultRun, strength: float, effects: Effects, physics: Physics, now: Millis
    ) -> None:
        """Let lookups fail, slowly."""
        calls = physics.calls_into(run.fault.target)
        block(effects, calls.tolist(), 0.9 * strength)
        effects.call_delay[calls] += RESOLVER_SECONDS * strength * 0.5


class DependencyOutage(_Unreachable):
    """It is gone: connections are refused."""

    type = FaultType.DEPENDENCY_OUTAGE
    recovery = 10.0
    cures = frozenset({ActionKind.RESTART, ActionKind.FAILOVER})

    def apply(
        self, run: FaultRun, strength: float, effects: Effects, physics: Physics, now: Millis
    ) -> None:
        """Refuse connections; what still gets in finds few servers."""
        calls = physics.calls_into(run.fault.target)
        out = run.intensity(now) * (0.4 + 0.6 * run.fault.severity)
        block(effects, calls.tolist(), 0.98 * out)
        effects.capacity[physics.index[run.fault.target]] *= 1.0 - 0.9 * out
