"""A cluster's control plane: which pods there are, on which node, and in what state.

The physics knows how many replicas of a service are ready, rolling, killed, or lost with their
node; a `Fleet` follows it tick by tick and says which ones these are, with the events that a
cluster would write down. It draws nothing from the simulation's dice and changes nothing in it.

The physics places replicas where the world says. So what was moved away from a lost node goes
home when the node is back, as with a descheduler.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dos.kit.clock import DAY, HOUR, SECOND, Millis
from dos.model.entity import EntityKind
from dos.model.telemetry import BoolArray, Float64Array
from dos.simulate.engine import Simulation
from dos.simulate.flow import Flow, State
from dos.simulate.platform_events import EventLog, Involved
from dos.simulate.pods import (
    Pod,
    PodStatus,
    Rollout,
    Termination,
    Workload,
    about_node,
    image_of,
    namespace_of,
)
from dos.simulate.propagation import Physics
from dos.simulate.queueing import normal_cdf

PROBE_EVERY, PROBE_TIMEOUT = 10, 1.0
"""Seconds between two readiness probes of a pod, and until one has failed (usual settings)."""
BACK_OFF_SECONDS = 10
"""Wait before a container that was killed again is started; doubles from kill to kill."""
FORGET_KILLS = 600
"""Seconds after which the kubelet starts a container at once again."""


class Fleet:
    """All pods of a simulation. Call `follow` after each tick.

    Args:
        simulation: What to follow.
        seed: Of the luck of single probes.
    """

    def __init__(self, simulation: Simulation, seed: int = 0) -> None:
        physics = simulation.physics
        self.simulation = simulation
        self.physics: Physics = physics
        self.workloads = list(_workloads(simulation))
        """`[service]`; those of third parties are empty."""
        self.node_up: BoolArray = np.ones(len(physics.nodes), np.bool_)
        """`[node]` whether it answers."""
        self.made = Millis(simulation.now - 40 * DAY)
        """When the cluster was set up."""
        self.node_since = [self.made] * len(physics.nodes)
        """`[node]` since when."""
        self.drained: BoolArray = np.zeros(len(physics.nodes), np.bool_)
        self.probes: Float64Array = np.zeros((len(physics.services), 2))
        """`[service, (passed, failed)]` readiness probes so far."""
        self.events = EventLog()
        """The newest, since the fleet was made."""
        self._rng = np.random.default_rng([seed, 2])
        self._now = simulation.now
        last = simulation.last
        self._restarts = np.zeros(len(physics.services)) if last is None else last.flow.restarts
        self._probed = simulation.now
        self._restless: set[int] = set()
        self.generation = 0
        """Grows whenever a pod comes or goes."""
        for workload in self.workloads:
            age = 2 * DAY + 7 * HOUR * (workload.place % 24)
            for slot in range(workload.replicas):
                self._create(workload, slot, Millis(self._now - age), PodStatus.READY)
        self.events = EventLog()

    @property
    def now(self) -> Millis:
        """Time of the tick that it has followed last."""
        return self._now

    def __iter__(self) -> Iterator[Pod]:
        """Every pod, by service."""
        return (pod for workload in self.workloads for pod in workload.pods)

    def of(self, place: int) -> list[Pod]:
        """The pods of the service at `place`."""
        return self.workloads[place].pods

    def ready(self, pod: Pod) -> bool:
        """Whether it takes requests."""
        return pod.status is PodStatus.READY and bool(self.node_up[pod.node])

    def serving(self, place: int) -> list[Pod]:
        """Pods of the service at `place` that take requests; all of them, where none does."""
        pods = self.workloads[place].pods
        return [pod for pod in pods if self.ready(pod)] or pods

    def about(self, pod: Pod) -> Involved:
        """A pod as the object of an event."""
        return Involved("Pod", self.workloads[pod.service].namespace, pod.name, pod.uid)

    def backing_off(self, pod: Pod) -> bool:
        """Whether the kubelet waits before it starts a killed container again."""
        if pod.status is not PodStatus.KILLED or pod.ended is None or pod.restarts < 2:
            return False
        if pod.ended.finished - pod.ended.started > FORGET_KILLS * SECOND:
            return False
        wait = BACK_OFF_SECONDS * 2 ** min(pod.restarts - 2, 2)
        until: int = pod.since + wait * SECOND
        return self._now < until

    def follow(self) -> None:
        """Bring the pods to where the last tick left the physics."""
        played = self.simulation.last
        if played is None:
            return
        flow, state = played.flow, played.state
        self._now = self.simulation.now
        self._nodes(flow, state)
        busy = (state.rolling > 0) | (state.down > 0) | (state.coming > 0) | (state.away > 0)
        busy |= flow.restarts != self._restarts
        busy |= np.rint(state.replicas) != [
            one.replicas or one.service.replicas for one in self.workloads
        ]
        for place in sorted(self._restless.union(np.flatnonzero(busy).tolist())):
            workload = self.workloads[place]
            if workload.pods:
                self._move(workload, state)
                self._scale(workload, round(float(state.replicas[place])))
                self._kill(workload, flow)
                self._roll(workload, float(state.rolling[place]))
                self._settle(workload, state)
        self._restarts = flow.restarts
        self._probe(flow)

    def _nodes(self, flow: Flow, state: State) -> None:
        up = flow.node_up > 0
        for place in np.flatnonzero(up != self.node_up).tolist():
            reason = "NodeReady" if up[place] else "NodeNotReady"
            self._note_node(place, reason, "node-controller", warning=not up[place])
            self.node_since[place] = self._now
            self._restless.update(
                workload.place
                for workload in self.workloads
                if place in workload.homes or any(pod.node == place for pod in workload.pods)
            )
        for place in np.flatnonzero(state.drained & ~self.drained).tolist():
            self._note_node(place, "NodeNotSchedulable", "kubelet", warning=False)
            self._restless.update(pod.service for pod in self if pod.node == place)
        self.node_up, self.drained = up, state.drained.copy()

    def _move(self, workload: Workload, state: State) -> None:
        """Away from drained and lost nodes, and home again."""
        usable = self.node_up & ~self.drained
        homes = workload.homes
        away = round(float(state.away[workload.place]) * len(homes))
        away -= sum(
            not self.node_up[homes[pod.slot]] and bool(self.node_up[pod.node])
            for pod in workload.pods
            if pod.slot < len(homes)
        )
        for pod in list(workload.pods):
            home = homes[pod.slot] if pod.slot < len(homes) else pod.node
            if self.drained[pod.node]:
                self._replace(workload, pod, "drained")
            elif not self.node_up[pod.node] and away > 0 and usable.any():
                away -= 1
                self._replace(workload, pod, "its node is lost")
            elif home != pod.node and usable[home]:
                self._replace(workload, pod, "moved back")

    def _scale(self, workload: Workload, wanted: int) -> None:
        had, name = workload.replicas, workload.service.name
        if wanted == had:
            return
        workload.replicas = wanted
        way = "up" if wanted > had else "down"
        if workload.stateful:
            message = f"Scaled {way} stateful set {name} to {wanted} from {had}"
            self._note(workload.controller, "ScalingStatefulSet", message, "statefulset-controller")
        else:
            message = f"Scaled {way} replica set {name}-{workload.template} to {wanted} from {had}"
            self._note(workload.controller, "ScalingReplicaSet", message, "deployment-controller")
        for slot in range(had, wanted):
            self._create(workload, slot, self._now, PodStatus.STARTING)
        for pod in [one for one in workload.pods if one.slot >= wanted]:
            self._delete(workload, pod)

    def _kill(self, workload: Workload, flow: Flow) -> None:
        """Replicas that ran out of memory are killed in turn."""
        before, after = int(self._restarts[workload.place]), int(flow.restarts[workload.place])
        for number in range(before, after):
            for pod in workload.pods:
                if pod.status is PodStatus.KILLED:  # one at a time, the physics says
                    pod.status, pod.since = PodStatus.READY, self._now
            pod = workload.pods[number % len(workload.pods)]
            pod.ended = Termination(
                reason="OOMKilled", exit_code=137, started=pod.started, finished=self._now
            )
            pod.status, pod.since = PodStatus.KILLED, self._now
            pod.restarts += 1
            process = f"{4000 + 7 * number} ({workload.service.name})"
            self._note(
                about_node(self.physics.nodes[pod.node].name),
                "OOMKilling",
                f"Memory cgroup out of memory: Killed process {process}",
                "kernel-monitor",
                warning=True,
            )

    def _roll(self, workload: Workload, left: float) -> None:
        """Replace one replica after the other while the physics is rolling, `left` seconds yet."""
        going = workload.rollout
        if left > 0 and (going is None or left > going.left):
            going = self._begin(workload, left)
        if going is None:
            return
        going.left = left
        count = len(going.slots)
        passed = (1.0 - left / going.seconds) * count
        through = count if left <= 0 else int(passed)
        under_way = count if left <= 0 else min(int(passed) + 1, count)
        while going.done < through or going.begun < under_way:
            if going.begun == going.done:
                self._take_down(workload, going.slots[going.begun])
                going.begun += 1
            else:
                self._put_up(workload, going.slots[going.done])
                going.done += 1
        if left <= 0:
            workload.rollout = None

    def _begin(self, workload: Workload, left: float) -> Rollout:
        before = workload.rollout
        if before is not None:  # a new one before the last was through
            for slot in before.slots[before.done : before.begun]:
                self._put_up(workload, slot)
        slots = sorted({pod.slot for pod in workload.pods}, reverse=workload.stateful)
        # The first tick of it is over already.
        rollout = Rollout(seconds=left + self.physics.step_seconds, slots=slots, left=left)
        workload.rollout = rollout
        workload.revision += 1
        if not workload.stateful:
            name = f"{workload.service.name}-{workload.template}"
            message = f"Scaled up replica set {name} to 1 from 0"
            self._note(workload.controller, "ScalingReplicaSet", message, "deployment-controller")
        return rollout

    def _take_down(self, workload: Workload, slot: int) -> None:
        """Begin to replace a replica: a Deployment starts the successor first."""
        if slot >= workload.replicas:  # scaled away in the meantime
            return
        if workload.stateful:
            for pod in [one for one in workload.pods if one.slot == slot]:
                self._delete(workload, pod)
        self._create(workload, slot, self._now, PodStatus.STARTING)

    def _put_up(self, workload: Workload, slot: int) -> None:
        """The successor is ready, so the old one goes."""
        pods = [one for one in workload.pods if one.slot == slot]
        for pod in pods[:-1]:
            self._delete(workload, pod)
        for pod in pods[-1:]:
            pod.status, pod.since = PodStatus.READY, self._now

    def _settle(self, workload: Workload, state: State) -> None:
        """Who was starting or killed and is back; whether to look again in the next tick."""
        place, going = workload.place, workload.rollout
        rolling = set() if going is None else set(going.slots[going.done : going.begun])
        for pod in workload.pods:
            if pod.status is PodStatus.KILLED:
                if self.backing_off(pod):
                    self._note_pod(pod, "BackOff", "Back-off restarting failed container", bad=True)
                elif pod.started < pod.since:
                    pod.started = self._now
                    self._note_start(workload, pod)
                if state.down[place] <= 0:
                    pod.status, pod.since = PodStatus.READY, self._now
            elif (
                pod.status is PodStatus.STARTING
                and pod.slot not in rolling
                and state.coming[place] <= 0
            ):
                pod.status, pod.since = PodStatus.READY, self._now
        homes = workload.homes
        if going is not None or any(
            not self.ready(pod) or (pod.slot < len(homes) and pod.node != homes[pod.slot])
            for pod in workload.pods
        ):
            self._restless.add(place)
        else:
            self._restless.discard(place)

    def _replace(self, workload: Workload, pod: Pod, why: str) -> None:
        """Start it elsewhere; the physics has it ready at once."""
        self._delete(workload, pod, why)
        self._create(workload, pod.slot, self._now, PodStatus.READY)

    def _delete(self, workload: Workload, pod: Pod, why: str = "") -> None:
        message = f"Stopping container {workload.service.name}" + (f": {why}" if why else "")
        self._note_pod(pod, "Killing", message)
        workload.pods.remove(pod)
        self.generation += 1

    def _create(self, workload: Workload, slot: int, at: Millis, status: PodStatus) -> None:
        pod = Pod(
            name=workload.pod_name(slot),
            service=workload.place,
            slot=slot,
            node=self._node_for(workload, slot),
            version=self.simulation.operations.version(workload.service.id),
            template=workload.template,
            created=at,
            started=at,
            status=status,
            since=at,
        )
        workload.serial += 1
        self.generation += 1
        workload.pods.insert(sum(one.slot <= slot for one in workload.pods), pod)
        node = self.physics.nodes[pod.node].name
        message = f"Successfully assigned {workload.namespace}/{pod.name} to {node}"
        self._note(self.about(pod), "Scheduled", message, "default-scheduler")
        self._note_start(workload, pod)

    def _node_for(self, workload: Workload, slot: int) -> int:
        """Home, if it is usable; else the emptiest node that is."""
        usable = self.node_up & ~self.drained
        if slot < len(workload.homes) and usable[workload.homes[slot]]:
            return workload.homes[slot]
        load = np.bincount([pod.node for pod in self], minlength=len(usable)).astype(np.float64)
        return int(np.argmin(np.where(usable, load, np.inf) if usable.any() else load))

    def _probe(self, flow: Flow) -> None:
        """Readiness probes ask for little, but wait their turn like every request."""
        every = PROBE_EVERY * SECOND
        rounds = self._now // every - self._probed // every
        self._probed = self._now
        if rounds == 0:
            return
        mean = flow.own.mean
        second = np.log1p(flow.own.variance / np.square(mean))
        z = (np.log(PROBE_TIMEOUT) - np.log(mean) + 0.5 * second) / np.sqrt(second)
        late = 1.0 - normal_cdf(z)
        failing = 1.0 - (1.0 - late) * (1.0 - flow.own.refused)
        sent = rounds * np.array([len(one.pods) for one in self.workloads])
        failed = self._rng.binomial(sent, np.clip(failing, 0.0, 1.0))
        self.probes[:, 0] += sent - failed
        self.probes[:, 1] += failed
        for place in np.flatnonzero(failed).tolist():
            full = flow.own.refused[place] > late[place]
            pods = self.workloads[place].pods
            share = np.full(len(pods), 1.0 / len(pods))
            for pod, times in zip(pods, self._rng.multinomial(failed[place], share), strict=True):
                why = (
                    "HTTP probe failed with statuscode: 503"
                    if full
                    else f'Get "http://{pod.ip}:8080/healthz": context deadline exceeded '
                    "(Client.Timeout exceeded while awaiting headers)"
                )
                if times:
                    pod.failed_probes += int(times)
                    message = f"Readiness probe failed: {why}"
                    self._note_pod(pod, "Unhealthy", message, bad=True, times=int(times))

    def _note(
        self, about: Involved, reason: str, message: str, component: str, *, warning: bool = False
    ) -> None:
        self.events.note(self._now, about, reason, message, component=component, warning=warning)

    def _note_node(self, place: int, reason: str, component: str, *, warning: bool) -> None:
        about = about_node(self.physics.nodes[place].name)
        message = f"Node {about.name} status is now: {reason}"
        self._note(about, reason, message, component, warning=warning)

    def _note_pod(
        self, pod: Pod, reason: str, message: str, *, bad: bool = False, times: int = 1
    ) -> None:
        self.events.note(
            self._now,
            self.about(pod),
            reason,
            message,
            component="kubelet",
            warning=bad,
            times=times,
        )

    def _note_start(self, workload: Workload, pod: Pod) -> None:
        name = workload.service.name
        image = f'Container image "{image_of(workload, pod.version)}" already present on machine'
        self._note_pod(pod, "Pulled", image)
        self._note_pod(pod, "Created", f"Created container {name}")
        self._note_pod(pod, "Started", f"Started container {name}")


def _workloads(simulation: Simulation) -> Iterator[Workload]:
    physics, world = simulation.physics, simulation.world
    placed = world.placement()
    for place, service in enumerate(physics.services):
        homes = tuple(physics.node_index[node] for node in placed[service.id])
        replicas = 0 if service.kind is EntityKind.EXTERNAL else service.replicas
        yield Workload(place, service, namespace_of(world, service), homes, replicas=replicas)
