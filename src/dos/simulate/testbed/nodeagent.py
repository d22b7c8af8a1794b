"""What a cluster's kubelet and kube-state-metrics would tell about the testbed's processes.

Restarts as the supervisor counted them, and how full volumes are as their files say; the families
bear the names of those exporters, so that what reads them reads the testbed too. Redis gets the
process metrics that it does not export itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from dos.simulate.testbed import spec
from dos.simulate.testbed.children import Child

NAMESPACE = "testbed"


class NodeAgent(Collector):
    """Collects from `children` and the volumes below `volumes` when Prometheus asks."""

    def __init__(self, children: Sequence[Child], volumes: Path) -> None:
        self._children = children
        self._volumes = volumes
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """All families in the text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """One family after the other."""
        labels = ["namespace", "pod", "container"]
        restarts = CounterMetricFamily(
            "kube_pod_container_status_restarts", "Restarts.", labels=labels
        )
        for child in self._children:
            restarts.add_metric([NAMESPACE, child.name, child.name], child.restarts)
        yield restarts
        yield from self._volume_families()

    def _volume_families(self) -> Iterator[Metric]:
        labels = ["namespace", "persistentvolumeclaim"]
        used = GaugeMetricFamily("kubelet_volume_stats_used_bytes", "Used.", labels=labels)
        capacity = GaugeMetricFamily(
            "kubelet_volume_stats_capacity_bytes", "Capacity.", labels=labels
        )
        claims = GaugeMetricFamily(
            "kube_pod_spec_volumes_persistentvolumeclaims_info",
            "Which pod uses which volume.",
            labels=["namespace", "pod", "persistentvolumeclaim"],
        )
        for service in spec.SHOP:
            if service.volume is None:
                continue
            claim = f"data-{service.name}"
            used.add_metric([NAMESPACE, claim], used_bytes(self._volumes / service.name))
            capacity.add_metric([NAMESPACE, claim], service.volume)
            claims.add_metric([NAMESPACE, service.name, claim], 1)
        yield from (used, capacity, claims)


def used_bytes(folder: Path) -> int:
    """Bytes that the files in `folder` take."""
    total = 0
    for path in folder.glob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue  # SQLite's journal comes and goes
    return total


def process_text(pid: int) -> bytes:
    """`process_*` of another process, in the text format."""
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(pid=lambda: pid, registry=registry)
    return generate_latest(registry)
