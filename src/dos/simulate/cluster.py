"""The cluster as its API server would list it: pods, nodes, controllers and events, as JSON.

Field names and shapes are those of Kubernetes 1.33 (https://kubernetes.io/docs/reference/
kubernetes-api/); fields that a client of the state never looks at are left out. Everything is read
off a `Fleet` and the last tick; nothing can be written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from dos.kit.clock import SECOND, Millis, to_datetime
from dos.simulate.fleet import PROBE_EVERY, PROBE_TIMEOUT, Fleet
from dos.simulate.platform_events import Involved, PlatformEvent
from dos.simulate.pods import Pod, Workload, about_node, image_of, limits_of, uid_of
from dos.simulate.upkeep import START_SECONDS

Json = dict[str, object]
_MEBIBYTE = 1 << 20
_PRESSURE = 0.95
"""Ratio of a machine's memory in use from which on its kubelet complains."""
KUBELET = "v1.33.2"
NODES = "/api/v1/nodes"
"""What belongs to no namespace."""


class Cluster:
    """Lists of one simulated cluster.

    Args:
        fleet: Its pods; whoever asks has it follow first.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._lists: dict[str, tuple[str, str, Callable[[], Iterable[Json]]]] = {
            "/api/v1/pods": ("v1", "PodList", self._pods),
            NODES: ("v1", "NodeList", self._nodes),
            "/api/v1/events": ("v1", "EventList", self._events),
            "/apis/apps/v1/deployments": ("apps/v1", "DeploymentList", self._deployments),
            "/apis/apps/v1/replicasets": ("apps/v1", "ReplicaSetList", self._replica_sets),
            "/apis/apps/v1/statefulsets": ("apps/v1", "StatefulSetList", self._stateful_sets),
        }

    @property
    def paths(self) -> tuple[str, ...]:
        """What can be listed."""
        return tuple(self._lists)

    @property
    def namespaced(self) -> tuple[str, ...]:
        """What can be listed of one namespace."""
        return tuple(path for path in self._lists if path != NODES)

    def listing(self, path: str, namespace: str | None = None) -> Json:
        """The list at one of `paths`, of all namespaces or of one."""
        version, kind, items = self._lists[path]
        found = list(items())
        if namespace is not None:
            found = [one for one in found if _namespace(one) == namespace]
        return {
            "kind": kind,
            "apiVersion": version,
            "metadata": {"resourceVersion": str(self._fleet.now // SECOND)},
            "items": found,
        }

    def _pods(self) -> Iterable[Json]:
        for workload in self._fleet.workloads:
            for pod in workload.pods:
                yield self._pod(workload, pod)

    def _pod(self, workload: Workload, pod: Pod) -> Json:
        labels = _labels(workload, pod.version)
        if workload.stateful:
            owner = (workload.service.name, _owned_by(workload.controller))
            labels |= {
                "controller-revision-hash": f"{workload.service.name}-{pod.template}",
                "statefulset.kubernetes.io/pod-name": pod.name,
                "apps.kubernetes.io/pod-index": str(pod.slot),
            }
        else:
            replica_set = _replica_set(workload, pod.template)
            owner = (replica_set.name, _owned_by(replica_set))
            labels["pod-template-hash"] = pod.template
        metadata = {
            "name": pod.name,
            "generateName": f"{owner[0]}-",
            "namespace": workload.namespace,
            "uid": pod.uid,
            "resourceVersion": str(pod.since // SECOND),
            "creationTimestamp": _time(pod.created),
            "labels": labels,
            "ownerReferences": [owner[1]],
        }
        spec = _pod_spec(self._fleet, workload, pod.version) | {
            "nodeName": self._fleet.physics.nodes[pod.node].name
        }
        return {"metadata": metadata, "spec": spec, "status": self._pod_status(workload, pod)}

    def _pod_status(self, workload: Workload, pod: Pod) -> Json:
        ready = self._fleet.ready(pod)
        since = pod.since
        if not self._fleet.node_up[pod.node]:
            since = Millis(max(since, self._fleet.node_since[pod.node]))
        why: Json = {}
        if not ready:
            message = f"containers with unready status: [{workload.service.name}]"
            why = {"reason": "ContainersNotReady", "message": message}
        return {
            "phase": "Running",
            "conditions": [
                _condition("PodReadyToStartContainers", pod.created),
                _condition("Initialized", pod.created),
                _condition("Ready", since, "True" if ready else "False") | why,
                _condition("ContainersReady", since, "True" if ready else "False") | why,
                _condition("PodScheduled", pod.created),
            ],
            "hostIP": _address(pod.node),
            "podIP": pod.ip,
            "podIPs": [{"ip": pod.ip}],
            "startTime": _time(pod.created),
            "containerStatuses": [self._container(workload, pod, ready=ready)],
            "qosClass": "Guaranteed",
        }

    def _container(self, workload: Workload, pod: Pod, *, ready: bool) -> Json:
        ended = pod.ended
        last: Json = {}
        if ended is not None:
            last["terminated"] = {
                "exitCode": ended.exit_code,
                "reason": ended.reason,
                "startedAt": _time(ended.started),
                "finishedAt": _time(ended.finished),
                "containerID": _container_id(pod, pod.restarts - 1),
            }
        running = not self._fleet.backing_off(pod)
        waiting = (
            f"back-off restarting failed container={workload.service.name} "
            f"pod={pod.name}_{workload.namespace}({pod.uid})"
        )
        image = image_of(workload, pod.version)
        return {
            "name": workload.service.name,
            "state": {"running": {"startedAt": _time(pod.started)}}
            if running
            else {"waiting": {"reason": "CrashLoopBackOff", "message": waiting}},
            "lastState": last,
            "ready": ready,
            "started": running,
            "restartCount": pod.restarts,
            "image": image,
            "imageID": f"{image.rpartition(':')[0]}@sha256:{_digest(image)}",
            "containerID": _container_id(pod, pod.restarts),
        }

    def _nodes(self) -> Iterable[Json]:
        fleet = self._fleet
        last = fleet.simulation.last
        for place, node in enumerate(fleet.physics.nodes):
            up, drained = bool(fleet.node_up[place]), bool(fleet.drained[place])
            cores = max(1, round(float(fleet.physics.node_cores[place]) + 0.5))
            taints = [("node.kubernetes.io/unschedulable", "NoSchedule")] * drained
            taints += [("node.kubernetes.io/unreachable", "NoExecute")] * (not up)
            spec: Json = {"providerID": f"simulator://{node.zone}/{node.name}"}
            if taints:
                spec["taints"] = [{"key": key, "effect": effect} for key, effect in taints]
            if drained:
                spec["unschedulable"] = True
            room = {"cpu": str(cores), "memory": f"{4 * cores}Gi", "pods": "110"}
            tight = last is not None and bool(last.flow.node_memory[place] > _PRESSURE)
            yield {
                "metadata": {
                    "name": node.name,
                    "uid": about_node(node.name).uid,
                    "resourceVersion": str(fleet.now // SECOND),
                    "creationTimestamp": _time(fleet.made),
                    "labels": {
                        "kubernetes.io/hostname": node.name,
                        "kubernetes.io/os": "linux",
                        "topology.kubernetes.io/zone": node.zone,
                    },
                },
                "spec": spec,
                "status": {
                    "capacity": room,
                    "allocatable": room,
                    "conditions": self._node_conditions(place, up=up, tight=tight),
                    "addresses": [
                        {"type": "InternalIP", "address": _address(place)},
                        {"type": "Hostname", "address": node.name},
                    ],
                    "nodeInfo": _about_node(node.name),
                },
            }

    def _node_conditions(self, place: int, *, up: bool, tight: bool) -> list[Json]:
        fleet = self._fleet
        since = fleet.node_since[place]
        beat = fleet.now if up else since
        lost: Json = {
            "reason": "NodeStatusUnknown",
            "message": "Kubelet stopped posting node status.",
        }
        states = {
            "MemoryPressure": ("KubeletHasInsufficientMemory", "KubeletHasSufficientMemory", tight),
            "DiskPressure": ("KubeletHasDiskPressure", "KubeletHasNoDiskPressure", False),
            "PIDPressure": ("KubeletHasInsufficientPID", "KubeletHasSufficientPID", False),
            "Ready": ("KubeletReady", "KubeletNotReady", True),
        }
        conditions = []
        for kind, (if_so, if_not, so) in states.items():
            shown = _condition(kind, since, "True" if so else "False") | {
                "lastHeartbeatTime": _time(beat),
                "reason": if_so if so else if_not,
                "message": f"kubelet says {if_so if so else if_not}",
            }
            conditions.append(shown if up else shown | {"status": "Unknown"} | lost)
        return conditions

    def _deployments(self) -> Iterable[Json]:
        for workload in self._controlled(stateful=False):
            ready = sum(map(self._fleet.ready, workload.pods))
            newest = [one for one in workload.pods if one.template == workload.template]
            version = newest[-1].version if newest else workload.service.version
            available = "True" if ready >= workload.replicas - workload.replicas // 4 else "False"
            rolling = workload.rollout is not None
            metadata = _metadata(workload, self._fleet.made) | {
                "generation": workload.revision,
                "annotations": {"deployment.kubernetes.io/revision": str(workload.revision)},
                "labels": _labels(workload, version),
            }
            yield {
                "metadata": metadata,
                "spec": {
                    **_controller_spec(self._fleet, workload, version),
                    "strategy": {
                        "type": "RollingUpdate",
                        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
                    },
                },
                "status": {
                    "observedGeneration": workload.revision,
                    "replicas": len(workload.pods),
                    "updatedReplicas": len(newest),
                    "readyReplicas": ready,
                    "availableReplicas": ready,
                    "unavailableReplicas": max(0, len(workload.pods) - ready),
                    "conditions": [
                        _condition("Available", self._changed(workload), available)
                        | {
                            "reason": "MinimumReplicasAvailable"
                            if available == "True"
                            else "MinimumReplicasUnavailable"
                        },
                        _condition("Progressing", self._changed(workload))
                        | {"reason": "ReplicaSetUpdated" if rolling else "NewReplicaSetAvailable"},
                    ],
                },
            }

    def _replica_sets(self) -> Iterable[Json]:
        for workload in self._controlled(stateful=False):
            templates = dict.fromkeys([*(one.template for one in workload.pods), workload.template])
            for template in templates:
                pods = [one for one in workload.pods if one.template == template]
                ready = sum(map(self._fleet.ready, pods))
                about = _replica_set(workload, template)
                version = pods[-1].version if pods else workload.service.version
                labels = _labels(workload, version) | {"pod-template-hash": template}
                yield {
                    "metadata": _metadata(workload, self._fleet.made)
                    | {
                        "name": about.name,
                        "uid": about.uid,
                        "labels": labels,
                        "ownerReferences": [_owned_by(workload.controller)],
                    },
                    "spec": _controller_spec(self._fleet, workload, version)
                    | {"replicas": len(pods)},
                    "status": {
                        "replicas": len(pods),
                        "fullyLabeledReplicas": len(pods),
                        "readyReplicas": ready,
                        "availableReplicas": ready,
                    },
                }

    def _stateful_sets(self) -> Iterable[Json]:
        for workload in self._controlled(stateful=True):
            name = workload.service.name
            ready = sum(map(self._fleet.ready, workload.pods))
            updated = sum(one.template == workload.template for one in workload.pods)
            before = next(
                (o.template for o in workload.pods if o.template != workload.template),
                workload.template,
            )
            version = workload.pods[0].version if workload.pods else workload.service.version
            yield {
                "metadata": _metadata(workload, self._fleet.made)
                | {"generation": workload.revision, "labels": _labels(workload, version)},
                "spec": _controller_spec(self._fleet, workload, version) | {"serviceName": name},
                "status": {
                    "observedGeneration": workload.revision,
                    "replicas": len(workload.pods),
                    "readyReplicas": ready,
                    "availableReplicas": ready,
                    "currentReplicas": len(workload.pods) - updated or len(workload.pods),
                    "updatedReplicas": updated,
                    "currentRevision": f"{name}-{before}",
                    "updateRevision": f"{name}-{workload.template}",
                    "collisionCount": 0,
                },
            }

    def _events(self) -> Iterable[Json]:
        return (self._event(event) for event in self._fleet.events)

    def _event(self, event: PlatformEvent) -> Json:
        about = event.about
        # What is about a node belongs to the namespace `default`, as with the real ones.
        namespace = about.namespace or "default"
        version = "apps/v1" if about.kind in {"Deployment", "StatefulSet"} else "v1"
        name = f"{about.name}.{event.first:x}{event.number:06x}"
        return {
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": uid_of(f"event/{name}"),
                "resourceVersion": str(event.number),
                "creationTimestamp": _time(event.first),
            },
            "involvedObject": {
                "kind": about.kind,
                "namespace": about.namespace,
                "name": about.name,
                "uid": about.uid,
                "apiVersion": version,
            },
            "reason": event.reason,
            "message": event.message,
            "source": {"component": event.component},
            "firstTimestamp": _time(event.first),
            "lastTimestamp": _time(event.last),
            "count": event.count,
            "type": "Warning" if event.warning else "Normal",
            "eventTime": None,
            "reportingComponent": event.component,
            "reportingInstance": "",
        }

    def _controlled(self, *, stateful: bool) -> Iterable[Workload]:
        return (one for one in self._fleet.workloads if one.pods and one.stateful is stateful)

    def _changed(self, workload: Workload) -> Millis:
        return Millis(max(pod.since for pod in workload.pods))


def _metadata(workload: Workload, made: Millis) -> Json:
    return {
        "name": workload.service.name,
        "namespace": workload.namespace,
        "uid": workload.uid,
        "resourceVersion": str(workload.revision),
        "creationTimestamp": _time(made),
    }


def _labels(workload: Workload, version: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": workload.service.name,
        "app.kubernetes.io/version": version,
        "app.kubernetes.io/component": workload.service.kind.value,
    }


def _controller_spec(fleet: Fleet, workload: Workload, version: str) -> Json:
    return {
        "replicas": workload.replicas,
        "selector": {"matchLabels": {"app.kubernetes.io/name": workload.service.name}},
        "template": {
            "metadata": {"labels": _labels(workload, version)},
            "spec": _pod_spec(fleet, workload, version),
        },
    }


def _pod_spec(fleet: Fleet, workload: Workload, version: str) -> Json:
    cores, memory = limits_of(fleet.physics, workload.place)
    room = {"cpu": f"{round(1000 * cores)}m", "memory": f"{memory // _MEBIBYTE}Mi"}
    probe = {
        "httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"},
        "timeoutSeconds": round(PROBE_TIMEOUT),
        "periodSeconds": PROBE_EVERY,
        "initialDelaySeconds": round(START_SECONDS),
        "failureThreshold": 3,
        "successThreshold": 1,
    }
    container = {
        "name": workload.service.name,
        "image": image_of(workload, version),
        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        "resources": {"limits": room, "requests": room},
        "readinessProbe": probe,
    }
    return {"containers": [container], "restartPolicy": "Always"}


def _about_node(name: str) -> Json:
    return {
        "architecture": "amd64",
        "bootID": uid_of(f"boot/{name}"),
        "containerRuntimeVersion": "containerd://2.1.3",
        "kernelVersion": "6.12.0",
        "kubeProxyVersion": KUBELET,
        "kubeletVersion": KUBELET,
        "machineID": uid_of(f"machine/{name}").replace("-", ""),
        "operatingSystem": "linux",
        "osImage": "Simulated Linux",
        "systemUUID": uid_of(f"system/{name}"),
    }


def _replica_set(workload: Workload, template: str) -> Involved:
    name = f"{workload.service.name}-{template}"
    uid = uid_of(f"ReplicaSet/{workload.service.id}-{template}")
    return Involved("ReplicaSet", workload.namespace, name, uid)


def _owned_by(owner: Involved) -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": owner.kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _condition(kind: str, since: Millis, status: str = "True") -> Json:
    return {"type": kind, "status": status, "lastTransitionTime": _time(since)}


def _time(at: Millis) -> str:
    return to_datetime(at).strftime("%Y-%m-%dT%H:%M:%SZ")


def _address(node: int) -> str:
    return f"10.0.{node // 250}.{1 + node % 250}"


def _container_id(pod: Pod, restarts: int) -> str:
    return f"containerd://{_digest(f'{pod.uid}/{restarts}')}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _namespace(item: Json) -> object:
    metadata = item["metadata"]
    return metadata.get("namespace") if isinstance(metadata, dict) else None
