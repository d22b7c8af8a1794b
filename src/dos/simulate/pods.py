"""The replicas of a service one by one: names, nodes, versions, restarts, and their controller."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum

from dos.kit.clock import Millis
from dos.simulate.layout import STATEFUL
from dos.simulate.platform_events import Involved
from dos.simulate.propagation import Physics
from dos.simulate.world import SimulatedService, World

MEMORY, STORE_MEMORY = 512 << 20, 2048 << 20
"""Bytes that a replica may use; datastores need more."""
# Kubernetes' alphabet for generated names, which spells no words.
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


class PodStatus(StrEnum):
    """Where a pod is in its life."""

    STARTING = "starting"
    READY = "ready"
    KILLED = "killed"
    """Its container ran out of memory and is not back yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Termination:
    """How a container ended."""

    reason: str
    exit_code: int
    started: Millis
    finished: Millis


@dataclass(slots=True, kw_only=True, eq=False)
class Pod:
    """One replica."""

    name: str
    service: int
    """Place of its service in the layout."""
    slot: int
    """Which of the service's replicas it stands in for."""
    node: int
    """Place of its node in the layout."""
    version: str
    template: str
    """Hash of the pod template: the ReplicaSet's, or the revision's of a StatefulSet."""
    created: Millis
    started: Millis
    """When its container last started."""
    status: PodStatus = PodStatus.READY
    since: Millis = Millis(0)
    """When it came into this status."""
    restarts: int = 0
    failed_probes: int = 0
    """Readiness probes that failed so far."""
    ended: Termination | None = None
    """How its container ended last."""

    @property
    def uid(self) -> str:
        """Of the object: the pod that replaces it has another one, even under the same name."""
        return uid_of(f"pod/{self.service}/{self.name}/{self.created}")

    @property
    def ip(self) -> str:
        """Address in the node's range."""
        digest = hashlib.blake2b(self.uid.encode(), digest_size=1).digest()
        return f"10.{64 + self.node // 256}.{self.node % 256}.{2 + digest[0] % 250}"


@dataclass(slots=True)
class Rollout:
    """A rolling restart on its way."""

    seconds: float
    """It takes in all."""
    slots: list[int]
    """In the order in which they are replaced."""
    left: float
    done: int = 0
    begun: int = 0


@dataclass(slots=True, eq=False)
class Workload:
    """The pods of one service, and what its controller is about."""

    place: int
    service: SimulatedService
    namespace: str
    homes: tuple[int, ...]
    """`[slot]` nodes of the replicas that the world places."""
    pods: list[Pod] = field(default_factory=list)
    """By slot; while a pod is replaced its successor stands right behind it."""
    revision: int = 1
    serial: int = 0
    """Pods created so far."""
    rollout: Rollout | None = None
    replicas: int = 0
    """Wanted."""

    @property
    def stateful(self) -> bool:
        """Whether a StatefulSet runs it."""
        return self.service.kind in STATEFUL

    @property
    def kind(self) -> str:
        """Of its controller."""
        return "StatefulSet" if self.stateful else "Deployment"

    @property
    def template(self) -> str:
        """Hash of the current pod template."""
        revision = "" if self.revision == 1 else f"@{self.revision}"
        return _word(f"{self.service.id}{revision}", 10)

    @property
    def controller(self) -> Involved:
        """Its Deployment or StatefulSet."""
        return Involved(self.kind, self.namespace, self.service.name, self.uid)

    @property
    def uid(self) -> str:
        """Of that controller."""
        return uid_of(f"{self.kind}/{self.service.id}")

    def pod_name(self, slot: int) -> str:
        """The name of the next pod."""
        if self.stateful:
            return f"{self.service.name}-{slot}"
        suffix = _word(f"{self.service.id}/{self.serial}", 5)
        return f"{self.service.name}-{self.template}-{suffix}"


def namespace_of(world: World, service: SimulatedService) -> str:
    """Its own, or one with the name of the world."""
    return service.namespace or world.name


def image_of(workload: Workload, version: str) -> str:
    """What containers of that version are made of."""
    return f"registry.example/{workload.namespace}/{workload.service.name}:{version}"


def limits_of(physics: Physics, place: int) -> tuple[float, int]:
    """CPU cores and bytes of memory that each replica of the service at `place` may use."""
    cores = float(physics.servers[place]) / physics.services[place].replicas
    return max(0.05, round(cores, 2)), STORE_MEMORY if physics.stateful[place] else MEMORY


def about_node(name: str) -> Involved:
    """A machine as the object of an event."""
    return Involved("Node", "", name, uid_of(f"Node/{name}"))


def uid_of(text: str) -> str:
    """An id in the form of a UUID, always the same one for the same text."""
    raw = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    return f"{raw[:8]}-{raw[8:12]}-4{raw[13:16]}-a{raw[17:20]}-{raw[20:]}"


def pods_of(service: SimulatedService) -> list[str]:
    """Names of the pods that `service` begins with, as a controller gives them."""
    workload = Workload(0, service, "", ())
    names = []
    for slot in range(service.replicas):
        names.append(workload.pod_name(slot))
        workload.serial += 1
    return names


def _word(text: str, length: int) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return "".join(_LETTERS[byte % len(_LETTERS)] for byte in digest[:length])
