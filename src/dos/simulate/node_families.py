"""Machines as node_exporter and kube-state-metrics show them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from dos.kit.clock import SECOND
from dos.model.telemetry import Float64Array
from dos.simulate.container_families import ContainerCounters
from dos.simulate.engine import Played
from dos.simulate.fleet import Fleet
from dos.simulate.metrics import REQUEST_BYTES, RESPONSE_BYTES
from dos.simulate.propagation import PACKETS

_MODES = (("user", 0.78), ("system", 0.18), ("iowait", 0.04))
"""How the busy time of a machine is accounted for."""
_MEMORY_PER_CORE = 4 << 30
_DISK = 100 << 30
"""Bytes of the root file system."""
_ROOT = ("/dev/sda1", "ext4", "/")
_USED = 0.42
"""Ratio of the root file system in use; logs go to a place of their own."""
_IO_PER_REQUEST = 0.0002
"""Seconds of disk time for a request, mostly logs."""
_KERNEL = "6.12.0"


class NodeCounters:
    """What has been counted of each machine.

    Args:
        fleet: The machines, and what runs where.
        rng: Of small disturbances.
    """

    def __init__(self, fleet: Fleet, rng: np.random.Generator) -> None:
        physics, count = fleet.physics, len(fleet.physics.nodes)
        self._fleet, self._rng = fleet, rng
        self._cores = np.maximum(1.0, np.ceil(physics.node_cores))
        """`[node]` whole cores."""
        self._busy = np.zeros(count)
        """`[node]` core seconds so far."""
        self._up_for = np.full(count, 40.0 * 86_400.0)
        self._load = np.zeros(count)
        self._cpu = np.zeros(count)
        self._memory = np.full(count, 0.3)
        self._offset = np.zeros(count)
        self._received = np.zeros(count)
        self._sent = np.zeros(count)
        self._segments = np.zeros(count)
        self._resent = np.zeros(count)
        self._disk_seconds = np.zeros(count)

    def add(
        self,
        played: Played,
        requests: Float64Array,
        calls_out: Float64Array,
        seconds: float,
        replicas: ContainerCounters,
    ) -> None:
        """Count `seconds` of the state of affairs in `played`.

        Args:
            played: The tick.
            requests: `[service]` requests in these seconds.
            calls_out: `[service]` calls that it made.
            seconds: How long it lasted.
            replicas: What runs where, after the same tick.
        """
        flow = played.flow
        up = flow.node_up
        self._cpu = flow.node_cpu * up
        self._busy += self._cpu * self._cores * seconds
        self._up_for += up * seconds
        follow = 1.0 - math.exp(-seconds / 60.0)
        self._load += follow * (self._cpu * self._cores - self._load)
        self._memory = np.clip(flow.node_memory, 0.0, 0.99)
        # NTP keeps a clock within milliseconds.
        self._offset = flow.node_skew + 0.002 * self._rng.standard_normal(len(up))
        count = len(up)
        node, service = replicas.placed.node, replicas.placed.service

        def here(values: Float64Array) -> Float64Array:
            """`[node]` of what is `[service]`, the share that the replicas on it take."""
            total = np.bincount(node, replicas.load * values[service], count)
            return total.astype(np.float64, copy=False)

        self._received += here(requests * REQUEST_BYTES + calls_out * RESPONSE_BYTES)
        self._sent += here(requests * RESPONSE_BYTES + calls_out * REQUEST_BYTES)
        packets = PACKETS * (requests + calls_out)
        self._segments += here(packets)
        self._resent += here(packets * flow.retransmits)
        self._disk_seconds += up * np.minimum(seconds, _IO_PER_REQUEST * here(requests))

    def families(self, nodes: Sequence[int], *, named: bool) -> Iterator[Metric]:
        """What node_exporter shows of the machines at these places, unless they are gone.

        Args:
            nodes: Their places.
            named: Whether a label says which machine it is, for where the target does not.
        """
        there = [node for node in nodes if self._fleet.node_up[node]]
        labels = ["instance"] if named else []
        whose = {node: [f"{self._fleet.physics.nodes[node].name}:9100"] * named for node in there}
        yield from self._uses(whose, labels)
        yield from self._network(whose, labels)

    def _uses(self, nodes: dict[int, list[str]], instance: list[str]) -> Iterator[Metric]:
        uname = GaugeMetricFamily(
            "node_uname_info", "Its name.", labels=[*instance, "nodename", "sysname", "release"]
        )
        cpu = CounterMetricFamily(
            "node_cpu_seconds", "CPU time by mode.", labels=[*instance, "cpu", "mode"]
        )
        load = GaugeMetricFamily("node_load1", "Load.", labels=instance)
        total = GaugeMetricFamily("node_memory_MemTotal_bytes", "Memory.", labels=instance)
        free = GaugeMetricFamily("node_memory_MemAvailable_bytes", "Free.", labels=instance)
        where = [*instance, "device", "fstype", "mountpoint"]
        size = GaugeMetricFamily("node_filesystem_size_bytes", "Size.", labels=where)
        left = GaugeMetricFamily("node_filesystem_avail_bytes", "Free.", labels=where)
        disk = CounterMetricFamily(
            "node_disk_io_time_seconds", "Busy.", labels=[*instance, "device"]
        )
        for node, here in nodes.items():
            cores = round(float(self._cores[node]))
            name = self._fleet.physics.nodes[node].name
            uname.add_metric([*here, name, "Linux", _KERNEL], 1)
            busy = float(self._busy[node]) / cores
            for core in range(cores):
                for mode, share in _MODES:
                    cpu.add_metric([*here, str(core), mode], busy * share)
                idle = max(0.0, float(self._up_for[node]) - busy)
                cpu.add_metric([*here, str(core), "idle"], idle)
            load.add_metric(here, round(float(self._load[node]), 2))
            memory = cores * _MEMORY_PER_CORE
            total.add_metric(here, memory)
            free.add_metric(here, round(memory * (1.0 - float(self._memory[node]))))
            size.add_metric([*here, *_ROOT], _DISK)
            left.add_metric([*here, *_ROOT], round(_DISK * (1.0 - _USED)))
            disk.add_metric([*here, "sda"], float(self._disk_seconds[node]))
        yield from (uname, cpu, load, total, free, size, left, disk)

    def _network(self, nodes: dict[int, list[str]], instance: list[str]) -> Iterator[Metric]:
        device = [*instance, "device"]
        rx = CounterMetricFamily("node_network_receive_bytes", "In.", labels=device)
        tx = CounterMetricFamily("node_network_transmit_bytes", "Out.", labels=device)
        # Node exporter shows the kernel's SNMP counters without the suffix of counters.
        segments = GaugeMetricFamily("node_netstat_Tcp_OutSegs", "Segments.", labels=instance)
        resent = GaugeMetricFamily("node_netstat_Tcp_RetransSegs", "Sent again.", labels=instance)
        offset = GaugeMetricFamily("node_timex_offset_seconds", "Clock.", labels=instance)
        synced = GaugeMetricFamily("node_timex_sync_status", "Clock is kept.", labels=instance)
        time = GaugeMetricFamily("node_time_seconds", "Its time.", labels=instance)
        for node, here in nodes.items():
            rx.add_metric([*here, "eth0"], round(float(self._received[node])))
            tx.add_metric([*here, "eth0"], round(float(self._sent[node])))
            segments.add_metric(here, round(float(self._segments[node])))
            resent.add_metric(here, round(float(self._resent[node])))
            ahead = float(self._offset[node])
            offset.add_metric(here, ahead)
            synced.add_metric(here, float(abs(ahead) < 1.0))
            time.add_metric(here, self._fleet.now / SECOND + ahead)
        yield from (rx, tx, segments, resent, offset, synced, time)

    def states(self) -> Iterator[Metric]:
        """What kube-state-metrics shows of all machines."""
        info = GaugeMetricFamily("kube_node_info", "A machine.", labels=["node", "kernel_version"])
        condition = GaugeMetricFamily(
            "kube_node_status_condition",
            "Whether it is so.",
            labels=["node", "condition", "status"],
        )
        closed = GaugeMetricFamily("kube_node_spec_unschedulable", "Drained.", labels=["node"])
        for node in range(len(self._cores)):
            name = self._fleet.physics.nodes[node].name
            up = bool(self._fleet.node_up[node])
            info.add_metric([name, _KERNEL], 1)
            for status, so in (("true", up), ("false", False), ("unknown", not up)):
                condition.add_metric([name, "Ready", status], float(so))
            closed.add_metric([name], float(self._fleet.drained[node]))
        yield from (info, condition, closed)
