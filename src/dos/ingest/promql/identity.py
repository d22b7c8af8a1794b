"""Which entity a label set belongs to: one entity per workload, whoever reports on it.

Span metrics say `checkout`, cAdvisor says pod `checkout-7d9f8b6c5d-x2x4z` of namespace `shop`:
both are the entity `checkout`. Two rules make them meet: a pod stands for its workload, and the
namespace is part of the id only where it has to be (`NamespaceInIdentity`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from enum import StrEnum

from dos.ingest.promql.queries import EntityRule
from dos.model.entity import Entity, EntityKind
from dos.model.ids import EntityId

_SAFE = "bcdfghjklmnpqrstvwxz2456789"
"""The alphabet of names Kubernetes makes (apimachinery, util/rand): no vowels, no 0, 1, 3, so
that no word comes out by accident, and none is taken for a suffix here."""
_SUFFIX = re.compile(
    rf"-[{_SAFE}]{{5,10}}-[{_SAFE}]{{5}}$"  # Deployment: hash of the ReplicaSet, then the pod
    rf"|-\d{{8,10}}-[{_SAFE}]{{5}}$"  # CronJob: scheduled time, then the pod
    rf"|-[{_SAFE}]{{5}}$"  # DaemonSet, Job
    r"|-\d{1,3}$"  # StatefulSet: ordinal
)
_PORT = re.compile(r"^(.+?):\d+$")


class NamespaceInIdentity(StrEnum):
    """Whether an entity's id is `name` or `namespace/name`."""

    AUTO = "auto"
    """`name`, but `namespace/name` for names seen in more than one namespace."""
    ALWAYS = "always"
    """Wherever the namespace is known. Span metrics without one then stay apart."""
    NEVER = "never"
    """Equal names in different namespaces are one entity."""


def workload_of(pod: str) -> str:
    """The workload a pod belongs to, read off the name its controller gave it.

    `checkout-7d9f8b6c5d-x2x4z`, `fluentd-x2x4z` and `mysql-0` give `checkout`, `fluentd` and
    `mysql`; any other name stands for itself.
    """
    return _SUFFIX.sub("", pod) or pod


class Identities:
    """Names entities, and remembers in which namespaces each name was seen.

    Once a name was seen in two namespaces its entities are `namespace/name` for as long as the
    process lives; `epoch` grows when that happens, and who keeps ids asks again. What carries
    no namespace keeps the bare name: there is no telling which it belongs to.
    """

    def __init__(
        self,
        mode: NamespaceInIdentity = NamespaceInIdentity.AUTO,
        *,
        aliases: Mapping[str, str] | None = None,
        namespaces: Collection[str] = (),
    ) -> None:
        self._mode = mode
        self._aliases = dict(aliases or {})
        self._only = frozenset(namespaces)
        self._seen: dict[str, set[str]] = {}
        self.epoch = 0

    def entity(self, rule: EntityRule, labels: Mapping[str, str]) -> Entity | None:
        """The entity of `labels`; None when they name none, or one of a namespace left out."""
        name = self._name(rule, labels)
        if not name:
            return None
        namespace = next((found for key in rule.namespace if (found := labels.get(key))), "")
        if self._only and namespace and namespace not in self._only:
            return None
        return Entity(id=self._id(name, namespace), kind=rule.kind, name=name, namespace=namespace)

    def _name(self, rule: EntityRule, labels: Mapping[str, str]) -> str:
        for key in rule.name:
            value = labels.get(key)
            if value:
                name = _read(key, value)
                return self._aliases.get(name, name)
        return ""

    def _id(self, name: str, namespace: str) -> EntityId:
        if not namespace or self._mode is NamespaceInIdentity.NEVER:
            return EntityId(name)
        if self._mode is NamespaceInIdentity.ALWAYS:
            return EntityId(f"{namespace}/{name}")
        seen = self._seen.setdefault(name, set())
        if namespace not in seen:
            seen.add(namespace)
            self.epoch += len(seen) == 2
        return EntityId(f"{namespace}/{name}" if len(seen) > 1 else name)


def merged(known: Entity | None, seen: Entity) -> Entity:
    """What two observations of one entity say together: kind and namespace fill gaps."""
    if known is None:
        return seen
    kind = seen.kind if known.kind is EntityKind.UNKNOWN else known.kind
    namespace = known.namespace or seen.namespace
    if kind is known.kind and namespace == known.namespace:
        return known
    return Entity(id=known.id, kind=kind, name=known.name, namespace=namespace)


def _read(label: str, value: str) -> str:
    """`value` as the name of an entity; some labels carry more than that."""
    if label.endswith("pod"):
        return workload_of(value)
    if label == "instance":
        port = _PORT.match(value)
        return port[1] if port else value
    if label == "job":
        return value.rpartition("/")[2] or value
    return value
