"""Which kinds of fault are right to name for what was injected.

By the descriptions of the injections alone. Of some there is more than one right word: a noisy
neighbour is a matter of the machine and of its processor. What an injection's name does not tell
(PetShop's `latency` and `availability` say what was seen and not what was done) is not judged.
"""

from __future__ import annotations

from collections.abc import Iterable

from dos.model.rootcause import FaultKind
from dos.simulate.faults import FaultType

SIMULATED: dict[FaultType, tuple[FaultKind, ...]] = {
    FaultType.CPU_SPIKE: (FaultKind.CPU,),
    FaultType.MEMORY_LEAK: (FaultKind.MEMORY,),
    FaultType.NETWORK_LATENCY: (FaultKind.NETWORK,),
    FaultType.PACKET_LOSS: (FaultKind.NETWORK,),
    FaultType.ERROR_RATE: (FaultKind.CODE,),
    FaultType.CASCADING_FAILURE: (FaultKind.CPU, FaultKind.CODE),
    FaultType.DEPLOY_REGRESSION: (FaultKind.DEPLOY,),
    FaultType.CONFIG_CHANGE: (FaultKind.CONFIGURATION,),
    FaultType.FEATURE_FLAG: (FaultKind.CONFIGURATION,),
    FaultType.CERTIFICATE_EXPIRY: (FaultKind.CONFIGURATION,),
    FaultType.DNS_FAILURE: (FaultKind.NETWORK, FaultKind.CONFIGURATION),
    FaultType.DISK_FULL: (FaultKind.DISK,),
    FaultType.NOISY_NEIGHBOUR: (FaultKind.CPU, FaultKind.PLATFORM),
    FaultType.LOCK_CONTENTION: (FaultKind.CODE,),
    FaultType.CACHE_STAMPEDE: (FaultKind.TRAFFIC, FaultKind.DEPENDENCY),
    FaultType.RETRY_STORM: (FaultKind.TRAFFIC,),
    FaultType.DEPENDENCY_OUTAGE: (FaultKind.DEPENDENCY,),
    FaultType.ZONE_OUTAGE: (FaultKind.PLATFORM,),
    FaultType.TRAFFIC_SURGE: (FaultKind.TRAFFIC,),
    FaultType.CLOCK_SKEW: (FaultKind.PLATFORM,),
    FaultType.METRIC_CORRUPTION: (FaultKind.MONITORING,),
}
"""Those that are right; the first is what a network learns."""
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
        elif name in SIMULATED:
            known.update(SIMULATED[FaultType(name)])
    return frozenset(known)
