from __future__ import annotations

import pytest

from dos.ingest.promql.identity import Identities, NamespaceInIdentity, merged, workload_of
from dos.ingest.promql.queries import USUAL, EntityRule
from dos.model.entity import Entity, EntityKind
from dos.model.ids import EntityId

PODS = EntityRule(name=("pod",), namespace=("namespace",))
SPANS = EntityRule(name=("service_name",), kind=EntityKind.SERVICE)


@pytest.mark.parametrize(
    ("pod", "workload"),
    [
        ("checkout-7d9f8b6c5d-x2x4z", "checkout"),
        ("carts-db-d765fd64d-67pr6", "carts-db"),
        ("catalogue-55f4dd45d6-9hnhq", "catalogue"),
        ("currencyservice-cf787dd48-vpjrd", "currencyservice"),
        ("mysql-0", "mysql"),
        ("kafka-broker-12", "kafka-broker"),
        ("fluentd-x2x4z", "fluentd"),
        ("backup-28401120-7zk2w", "backup"),
        ("api-v2-6c5b8f9d7-k8s4t", "api-v2"),
        ("standalone", "standalone"),
        ("my-frontend12-proxy", "my-frontend12-proxy"),
        ("auth-service", "auth-service"),
        ("redis-cache", "redis-cache"),
        ("-0", "-0"),
    ],
)
def test_a_pod_stands_for_its_workload(pod: str, workload: str) -> None:
    assert workload_of(pod) == workload


def ids(identities: Identities, *labels: dict[str, str]) -> list[str | None]:
    found = []
    for one in labels:
        rule = PODS if "pod" in one else SPANS
        entity = identities.entity(rule, one)
        found.append(entity.id if entity else None)
    return found


def test_spans_and_pods_of_one_service_are_one_entity() -> None:
    identities = Identities()
    assert ids(
        identities,
        {"service_name": "checkout"},
        {"pod": "checkout-7d9f8b6c5d-x2x4z", "namespace": "shop"},
        {"pod": "checkout-7d9f8b6c5d-b5m2q", "namespace": "shop"},
    ) == ["checkout", "checkout", "checkout"]
    assert identities.epoch == 0


def test_a_name_in_two_namespaces_is_two_entities_from_then_on() -> None:
    identities = Identities()
    assert ids(identities, {"pod": "checkout-0", "namespace": "shop"}) == ["checkout"]
    assert ids(identities, {"pod": "checkout-0", "namespace": "staging"}) == ["staging/checkout"]
    assert identities.epoch == 1
    assert ids(
        identities,
        {"pod": "checkout-0", "namespace": "shop"},
        {"pod": "cart-0", "namespace": "shop"},
        {"service_name": "checkout"},
    ) == ["shop/checkout", "cart", "checkout"]
    assert identities.epoch == 1


def test_always_and_never() -> None:
    pods = [{"pod": "a-0", "namespace": "x"}, {"pod": "a-0", "namespace": "y"}]
    assert ids(Identities(NamespaceInIdentity.ALWAYS), *pods) == ["x/a", "y/a"]
    assert ids(Identities(NamespaceInIdentity.NEVER), *pods) == ["a", "a"]


def test_other_namespaces_and_nameless_answers_are_left_out() -> None:
    identities = Identities(namespaces=["shop"])
    assert ids(
        identities,
        {"pod": "a-0", "namespace": "kube-system"},
        {"pod": "a-0", "namespace": "shop"},
        {"pod": "", "namespace": "shop"},
        {"service_name": "b"},
    ) == [None, "a", None, "b"]


def test_aliases_join_what_is_called_differently() -> None:
    identities = Identities(aliases={"checkout-deployment": "checkout"})
    assert ids(identities, {"pod": "checkout-deployment-7d9f8b6c5d-x2x4z"}) == ["checkout"]


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        ({"job": "shop/checkout", "instance": "10.0.0.1:8080"}, "checkout"),
        ({"instance": "db-1.internal:9100"}, "db-1.internal"),
        ({"instance": "[::1]:9100"}, "[::1]"),
        ({"service_name": "", "pod": "cart-0", "job": "pods"}, "cart"),
    ],
)
def test_some_labels_are_read_for_what_they_are(labels: dict[str, str], name: str) -> None:
    entity = Identities().entity(USUAL, labels)
    assert entity is not None
    assert entity.id == name


def test_observations_of_one_entity_fill_each_others_gaps() -> None:
    pod = Entity(id=EntityId("a"), name="a", namespace="shop")
    span = Entity(id=EntityId("a"), name="a", kind=EntityKind.SERVICE)
    both = merged(pod, span)
    assert (both.kind, both.namespace) == (EntityKind.SERVICE, "shop")
    assert merged(both, pod) is both
