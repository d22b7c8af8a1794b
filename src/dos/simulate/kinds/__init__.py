"""What each type of fault does: one small class each, by subject.

A fault does one thing to one service, node or zone (`Effects`); that others suffer is the
physics' doing. `KINDS` is the table; a new kind is a class and a line in it.
"""

from __future__ import annotations

from collections.abc import Sequence

from dos.kit.clock import Millis
from dos.simulate.faults import FaultRun, FaultType
from dos.simulate.flow import Effects
from dos.simulate.kinds.base import Kind
from dos.simulate.kinds.changes import ConfigChange, DeployRegression, FeatureFlag, HarmlessDeploy
from dos.simulate.kinds.monitoring import MetricCorruption
from dos.simulate.kinds.network import (
    CertificateExpiry,
    DependencyOutage,
    DnsFailure,
    NetworkLatency,
    PacketLoss,
)
from dos.simulate.kinds.platform import ClockSkew, NoisyNeighbour, ZoneOutage
from dos.simulate.kinds.resources import (
    CascadingFailure,
    CpuSpike,
    ErrorRate,
    LockContention,
    MemoryLeak,
)
from dos.simulate.kinds.stores import CacheStampede, DiskFull, RetryStorm
from dos.simulate.kinds.traffic import BatchJob, PlannedSurge, TrafficSurge
from dos.simulate.propagation import Physics

KINDS: dict[FaultType, Kind] = {
    kind.type: kind
    for kind in (
        CpuSpike(),
        MemoryLeak(),
        NetworkLatency(),
        PacketLoss(),
        ErrorRate(),
        CascadingFailure(),
        DeployRegression(),
        ConfigChange(),
        FeatureFlag(),
        CertificateExpiry(),
        DnsFailure(),
        DiskFull(),
        NoisyNeighbour(),
        LockContention(),
        CacheStampede(),
        RetryStorm(),
        DependencyOutage(),
        ZoneOutage(),
        TrafficSurge(),
        ClockSkew(),
        MetricCorruption(),
        HarmlessDeploy(),
        PlannedSurge(),
        BatchJob(),
    )
}
"""Every type of fault."""


def effects_of(runs: Sequence[FaultRun], physics: Physics, now: Millis) -> Effects:
    """All that `runs` do at `now`, together."""
    effects = physics.no_effects()
    for run in runs:
        intensity = run.intensity(now)
        if intensity > 0.0:
            kind = KINDS[run.fault.type]
            kind.apply(run, intensity * run.fault.severity, effects, physics, now)
    return effects
