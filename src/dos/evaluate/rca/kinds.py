"""Which kinds of fault are right to name for what was injected.

By the descriptions of the injections alone. Of some there is more than one right word: a noisy
neighbour is a matter of the machine and of its processor. What an injection's name does not tell
(PetShop's `latency` and `availability` say what was seen and not what was done) is not judged.
"""

from __future__ import annotations

from collections.abc import Iterable

from dos.model.rootcause import FaultKind
from dos.simulate.faults import FaultType

_SIMULATED: dict[FaultType, frozenset[FaultKind]] = {
    FaultType.CPU_SPIKE: frozenset({FaultKind.CPU}),
    FaultType.MEMORY_LEAK: frozenset({FaultKind.MEMORY}),
    FaultType.NETWORK_LATENCY: frozenset({FaultKind.NETWORK}),
    FaultType.PACKET_LOSS: frozenset({FaultKind.NETWORK}),
    FaultType.ERROR_RATE: frozenset({FaultKind.CODE}),
    FaultType.CASCADING_FAILURE: frozenset({FaultKind.CODE, FaultKind.CPU}),
    FaultType.DEPLOY_REGRESSION: frozenset({FaultKind.DEPLOY}),
    FaultType.CONFIG_CHANGE: frozenset({FaultKind.CONFIGURATION}),
    FaultType.FEATURE_FLAG: frozenset({FaultKind.CONFIGURATION}),
    FaultType.CERTIFICATE_EXPIRY: frozenset({FaultKind.CONFIGURATION}),
    FaultType.DNS_FAILURE: frozenset({FaultKind.NETWORK, FaultKind.CONFIGURATION}),
    FaultType.DISK_FULL: frozenset({FaultKind.DISK}),
    FaultType.NOISY_NEIGHBOUR: frozenset({FaultKind.PLATFORM, FaultKind.CPU}),
    FaultType.LOCK_CONTENTION: frozenset({FaultKind.CODE}),
    FaultType.CACHE_STAMPEDE: frozenset({FaultKind.DEPENDENCY, FaultKind.TRAFFIC}),
    FaultType.RETRY_STORM: frozenset({FaultKind.TRAFFIC}),
    FaultType.DEPENDENCY_OUTAGE: frozenset({FaultKind.DEPENDENCY}),
    FaultType.ZONE_OUTAGE: frozenset({FaultKind.PLATFORM}),
    FaultType.TRAFFIC_SURGE: frozenset({FaultKind.TRAFFIC}),
    FaultType.CLOCK_SKEW: frozenset({FaultKind.PLATFORM}),
    FaultType.METRIC_CORRUPTION: frozenset({FaultKind.MONITORING}),
}
_RECORDED: dict[str, FaultKind] = {
    "cpu": FaultKind.CPU,
    "cpu_stress": FaultKind.CPU,
    "cpu_consumed": FaultKind.CPU,
    "cpu_contention": FaultKind.CPU,
    "mem": FaultKind.MEMORY,
    "memory": FaultKind.MEMORY,
    "memory_stress": FaultKind.MEMORY,
    "disk": FaultKind.DISK,
    "disk_stress": FaultKind.DISK,
    "delay": FaultKind.NETWORK,
    "loss": FaultKind.NETWORK,
    "network_delay": FaultKind.NETWORK,
    "network_loss": FaultKind.NETWORK,
    "exception": FaultKind.CODE,
    "return": FaultKind.CODE,
}


def right_kinds(faults: Iterable[str]) -> frozenset[FaultKind]:
    """Kinds that are right for any of `faults`; empty where it is not known."""
    known: set[FaultKind] = set()
    for fault in faults:
        name = fault.lower().replace("-", "_").replace(" ", "_")
        if name in _RECORDED:
            known.add(_RECORDED[name])
        elif name in _SIMULATED:
            known |= _SIMULATED[FaultType(name)]
    return frozenset(known)
