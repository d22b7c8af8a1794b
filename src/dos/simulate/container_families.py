"""Replicas as the kubelet and kube-state-metrics show them: one by one, coming and going.

Counters belong to a pod: one that is replaced starts from zero under a new name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from dos.kit.clock import SECOND
from dos.model.telemetry import BoolArray, Float64Array
from dos.simulate.engine import Played
from dos.simulate.fleet import PROBE_EVERY, Fleet
from dos.simulate.metrics import REQUEST_BYTES, RESPONSE_BYTES
from dos.simulate.pods import Pod, image_of, limits_of
from dos.simulate.propagation import PACKETS
from dos.simulate.replicas import CFS_PERIOD, Placed, use_of

_CPU_PERIOD = 100_000
"""Microseconds of the kernel's CPU accounting period, of which the quota is a share."""
_VOLUME = 20 << 30
"""Bytes of a volume."""
_WHERE = ("namespace", "pod")
_CONTAINER = ("namespace", "pod", "container")
CPU, PERIODS, THROTTLED, RECEIVED, SENT, DROPPED = range(6)


class ContainerCounters:
    """What has been counted of each pod.

    Args:
        fleet: The pods.
        rng: Of what is uneven from tick to tick.
    """

    def __init__(self, fleet: Fleet, rng: np.random.Generator) -> None:
        self._fleet, self._rng = fleet, rng
        physics = fleet.physics
        self._limits = [limits_of(physics, place) for place in range(len(physics.services))]
        self._generation = -1
        self._pods: list[Pod] = []
        self._totals: dict[str, Float64Array] = {}
        self.load: Float64Array = np.zeros(0)
        """`[replica]` share of its service's requests that each takes."""
        self._enlist()

    def _enlist(self) -> None:
        """Follow pods that come and go."""
        if self._generation == self._fleet.generation:
            return
        self._generation = self._fleet.generation
        self._pods = list(self._fleet)
        totals = [self._totals.get(pod.uid, np.zeros(6)) for pod in self._pods]
        self._rows = np.array(totals).reshape(len(totals), 6)
        self._rows_of: dict[int, list[int]] = {}
        for at, pod in enumerate(self._pods):
            self._rows_of.setdefault(pod.service, []).append(at)
        self._totals = {pod.uid: self._rows[at] for at, pod in enumerate(self._pods)}
        place = [(pod.service, pod.slot, pod.node) for pod in self._pods]
        self.placed = Placed.of(self._fleet.physics, place)
        """The replicas there are."""
        self.load = np.zeros(len(place))
        self._cores = np.array([self._limits[pod.service][0] for pod in self._pods])
        self._memory = self._fleet.physics.base_memory[self.placed.service].copy()

    def add(
        self, played: Played, requests: Float64Array, calls_out: Float64Array, seconds: float
    ) -> None:
        """Count `seconds` of the state of affairs in `played`.

        Args:
            played: The tick.
            requests: `[service]` requests in these seconds.
            calls_out: `[service]` calls that it made.
            seconds: How long it lasted.
        """
        self._enlist()
        fleet, flow = self._fleet, played.flow
        ready: BoolArray = np.array([fleet.ready(pod) for pod in self._pods], np.bool_)
        wobble = self._rng.standard_normal(len(self._pods))
        use = use_of(fleet.physics, flow, played.state, self.placed, ready, wobble)
        service, load = self.placed.service, use.load
        alive = fleet.node_up[self.placed.node]
        self._memory, self.load = use.memory, load
        packets = PACKETS * requests * flow.effects.loss
        received = requests * REQUEST_BYTES + calls_out * RESPONSE_BYTES
        sent = requests * RESPONSE_BYTES + calls_out * REQUEST_BYTES
        periods = np.where(alive, seconds / CFS_PERIOD, 0.0)
        grown = np.stack(
            [
                np.where(alive, use.cpu * self._cores * seconds, 0.0),
                periods,
                periods * use.throttled,
                received[service] * load,
                sent[service] * load,
                packets[service] * load,
            ],
            axis=1,
        )
        self._rows += grown

    def families(self, services: Sequence[int]) -> Iterator[Metric]:
        """All families of the pods of the services at these places."""
        self._enlist()
        shown = [(at, self._pods[at]) for place in services for at in self._rows_of.get(place, ())]
        # A kubelet that is gone tells nothing; what the API server knows is known all the same.
        reached = [(at, pod) for at, pod in shown if self._fleet.node_up[pod.node]]
        yield from self._cadvisor(reached)
        yield from self._volumes([pod for _, pod in reached])
        yield self._probes([pod for _, pod in reached])
        pods = [pod for _, pod in shown]
        yield from self._pod_states(pods)
        yield from self._pod_infos(pods)
        yield from self._workloads(services)

    def _cadvisor(self, pods: Sequence[tuple[int, Pod]]) -> Iterator[Metric]:
        cpu = CounterMetricFamily("container_cpu_usage_seconds", "CPU time.", labels=_CONTAINER)
        periods = CounterMetricFamily("container_cpu_cfs_periods", "Periods.", labels=_CONTAINER)
        throttled = CounterMetricFamily(
            "container_cpu_cfs_throttled_periods", "Periods throttled.", labels=_CONTAINER
        )
        quota = GaugeMetricFamily("container_spec_cpu_quota", "CPU quota.", labels=_CONTAINER)
        period = GaugeMetricFamily("container_spec_cpu_period", "CPU period.", labels=_CONTAINER)
        memory = GaugeMetricFamily("container_memory_working_set_bytes", "Used.", labels=_CONTAINER)
        limit = GaugeMetricFamily("container_spec_memory_limit_bytes", "Limit.", labels=_CONTAINER)
        rx = CounterMetricFamily("container_network_receive_bytes", "In.", labels=_WHERE)
        tx = CounterMetricFamily("container_network_transmit_bytes", "Out.", labels=_WHERE)
        dropped = CounterMetricFamily(
            "container_network_receive_packets_dropped", "Dropped.", labels=_WHERE
        )
        for at, pod in pods:
            total, container = self._rows[at], self._container(pod)
            where, most = container[:2], self._limits[pod.service][1]
            cpu.add_metric(container, round(float(total[CPU]), 6))
            periods.add_metric(container, float(np.floor(total[PERIODS])))
            throttled.add_metric(container, float(np.floor(total[THROTTLED])))
            quota.add_metric(container, round(float(self._cores[at]) * _CPU_PERIOD))
            period.add_metric(container, _CPU_PERIOD)
            memory.add_metric(container, round(float(self._memory[at]) * most))
            limit.add_metric(container, most)
            rx.add_metric(where, round(float(total[RECEIVED])))
            tx.add_metric(where, round(float(total[SENT])))
            dropped.add_metric(where, float(np.floor(total[DROPPED])))
        yield from (cpu, periods, throttled, quota, period, memory, limit, rx, tx, dropped)

    def _volumes(self, pods: Sequence[Pod]) -> Iterator[Metric]:
        claim = ("namespace", "persistentvolumeclaim")
        used = GaugeMetricFamily("kubelet_volume_stats_used_bytes", "Used.", labels=claim)
        free = GaugeMetricFamily("kubelet_volume_stats_available_bytes", "Free.", labels=claim)
        whole = GaugeMetricFamily("kubelet_volume_stats_capacity_bytes", "Size.", labels=claim)
        whose = GaugeMetricFamily(
            "kube_pod_spec_volumes_persistentvolumeclaims_info",
            "Which pod uses which claim.",
            labels=[*_WHERE, "volume", "persistentvolumeclaim"],
        )
        last = self._fleet.simulation.last
        for pod in pods:
            service = self._fleet.physics.services[pod.service]
            if service.disk <= 0:
                continue
            ratio = service.disk if last is None else float(last.flow.disk[pod.service])
            namespace, name = self._fleet.workloads[pod.service].namespace, f"data-{pod.name}"
            used.add_metric([namespace, name], round(ratio * _VOLUME))
            free.add_metric([namespace, name], round((1.0 - ratio) * _VOLUME))
            whole.add_metric([namespace, name], _VOLUME)
            whose.add_metric([namespace, pod.name, "data", name], 1)
        yield from (used, free, whole, whose)

    def _probes(self, pods: Sequence[Pod]) -> Metric:
        probes = CounterMetricFamily(
            "prober_probe", "Probes by result.", labels=[*_CONTAINER, "probe_type", "result"]
        )
        for pod in pods:
            container = self._container(pod)
            sent = (self._fleet.now - pod.created) // (PROBE_EVERY * SECOND)
            passed = max(0, sent - pod.failed_probes)
            probes.add_metric([*container, "Readiness", "successful"], passed)
            probes.add_metric([*container, "Readiness", "failed"], pod.failed_probes)
        return probes

    def _pod_states(self, pods: Sequence[Pod]) -> Iterator[Metric]:
        restarts = CounterMetricFamily(
            "kube_pod_container_status_restarts", "Restarts.", labels=_CONTAINER
        )
        ready = GaugeMetricFamily(
            "kube_pod_status_ready", "Takes requests.", labels=[*_WHERE, "condition"]
        )
        waiting = GaugeMetricFamily(
            "kube_pod_container_status_waiting_reason", "Why not.", labels=[*_CONTAINER, "reason"]
        )
        ended = GaugeMetricFamily(
            "kube_pod_container_status_last_terminated_reason",
            "Why it ended.",
            labels=[*_CONTAINER, "reason"],
        )
        for pod in pods:
            container = self._container(pod)
            restarts.add_metric(container, pod.restarts)
            is_ready = self._fleet.ready(pod)
            for condition, so in (("true", is_ready), ("false", not is_ready), ("unknown", False)):
                ready.add_metric([*container[:2], condition], float(so))
            if self._fleet.backing_off(pod):
                waiting.add_metric([*container, "CrashLoopBackOff"], 1)
            if pod.ended is not None:
                ended.add_metric([*container, pod.ended.reason], 1)
        yield from (restarts, ready, waiting, ended)

    def _pod_infos(self, pods: Sequence[Pod]) -> Iterator[Metric]:
        info = GaugeMetricFamily(
            "kube_pod_info",
            "Where it runs.",
            labels=[*_WHERE, "node", "pod_ip", "uid", "created_by_kind", "created_by_name"],
        )
        image = GaugeMetricFamily(
            "kube_pod_container_info", "What runs in it.", labels=[*_CONTAINER, "image"]
        )
        labels = GaugeMetricFamily(
            "kube_pod_labels",
            "Its labels.",
            labels=[*_WHERE, "label_app_kubernetes_io_name", "label_app_kubernetes_io_version"],
        )
        for pod in pods:
            workload, container = self._fleet.workloads[pod.service], self._container(pod)
            name, kind = workload.service.name, "StatefulSet" if workload.stateful else "ReplicaSet"
            owner = name if workload.stateful else f"{name}-{pod.template}"
            node = self._fleet.physics.nodes[pod.node].name
            info.add_metric([*container[:2], node, pod.ip, pod.uid, kind, owner], 1)
            image.add_metric([*container, image_of(workload, pod.version)], 1)
            labels.add_metric([*container[:2], name, pod.version], 1)
        yield from (info, image, labels)

    def _workloads(self, services: Sequence[int]) -> Iterator[Metric]:
        gauges = {
            name: GaugeMetricFamily(name, "Replicas.", labels=["namespace", name.split("_")[1]])
            for name in (
                "kube_deployment_spec_replicas",
                "kube_deployment_status_replicas_available",
                "kube_statefulset_replicas",
                "kube_statefulset_status_replicas_ready",
            )
        }
        for place in services:
            workload = self._fleet.workloads[place]
            if workload.stateful:
                kinds = ("kube_statefulset_replicas", "kube_statefulset_status_replicas_ready")
            else:
                kinds = (
                    "kube_deployment_spec_replicas",
                    "kube_deployment_status_replicas_available",
                )
            where = [workload.namespace, workload.service.name]
            gauges[kinds[0]].add_metric(where, workload.replicas)
            gauges[kinds[1]].add_metric(where, sum(map(self._fleet.ready, workload.pods)))
        yield from gauges.values()

    def _container(self, pod: Pod) -> list[str]:
        workload = self._fleet.workloads[pod.service]
        return [workload.namespace, pod.name, workload.service.name]
