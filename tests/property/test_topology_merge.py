"""The graph does not depend on the order in which evidence arrives, nor on restarts."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from dos.kit.clock import SECOND, Millis
from dos.model.entity import Entity, EntityKind
from dos.model.events import TopologyChanged
from dos.model.graph import Edge, EdgeEvidence, EdgeKind
from dos.model.ids import EntityId
from dos.topology.base import TopologyConfig
from dos.topology.graph import Topology

NOW = Millis(10_000 * SECOND)
NAMES = st.sampled_from([EntityId(name) for name in "abcd"])
EVIDENCE = st.builds(
    EdgeEvidence,
    caller=NAMES,
    callee=NAMES,
    kind=st.sampled_from([EdgeKind.CALL, EdgeKind.READ]),
    source=st.sampled_from(["traces", "mesh", "declared"]),
    seen_at=st.integers(5_000, 11_000).map(lambda seconds: Millis(seconds * SECOND)),
    confidence=st.floats(0, 1),
)
ENTITIES = st.builds(Entity, id=NAMES, kind=st.sampled_from(EntityKind))
BATCHES = st.lists(
    st.tuples(
        st.lists(ENTITIES, max_size=3),
        st.lists(EVIDENCE, max_size=5),
        st.integers(0, 3000).map(lambda seconds: seconds * SECOND),
    ),
    max_size=8,
)
CONFIG = TopologyConfig.model_validate(
    {"edge_ttl": "1h", "declared": [{"caller": "a", "callee": "d"}]}
)


@given(evidence=st.lists(EVIDENCE, max_size=20), data=st.data())
def test_order_and_grouping_of_evidence_do_not_matter(
    evidence: list[EdgeEvidence], data: st.DataObject
) -> None:
    at_once, one_by_one = Topology(), Topology()
    at_once.apply((), evidence, NOW)
    for one in data.draw(st.permutations(evidence)):
        one_by_one.apply((), [one], NOW)

    def without_last_seen(graph: Topology) -> list[Edge]:
        # Seeing an edge again makes no new version; the newest time is in `sightings`.
        return [replace(edge, last_seen=Millis(0)) for edge in graph.snapshot(NOW).edges]

    assert without_last_seen(at_once) == without_last_seen(one_by_one)
    assert at_once.snapshot(NOW).entities == one_by_one.snapshot(NOW).entities
    for edge in at_once.snapshot(NOW).edges:
        ends = (edge.caller, edge.callee)
        assert at_once.sightings(*ends) == one_by_one.sightings(*ends)


@given(evidence=st.lists(EVIDENCE, max_size=12), data=st.data())
def test_within_one_delivery_the_whole_state_is_the_same(
    evidence: list[EdgeEvidence], data: st.DataObject
) -> None:
    left, right = Topology(), Topology()
    left.apply((), evidence, NOW)
    right.apply((), data.draw(st.permutations(evidence)), NOW)
    assert left.dump() == right.dump()


@given(batches=BATCHES)
def test_the_snapshot_is_the_sum_of_the_events(
    batches: list[tuple[list[Entity], list[EdgeEvidence], int]],
) -> None:
    graph = Topology(CONFIG)
    entities: dict[EntityId, Entity] = {}
    edges: dict[tuple[EntityId, EntityId, EdgeKind], Edge] = {}
    now, version = 5_000 * SECOND, 0
    for nodes, evidence, passed in batches:
        now += passed
        change = graph.apply(nodes, evidence, Millis(now))
        if change is not None:
            version += 1
            assert isinstance(change, TopologyChanged)
            assert change.version == version
            entities |= {one.id: one for one in change.entities}
            for edge in change.gone:
                del edges[edge.caller, edge.callee, edge.kind]
            edges |= {(edge.caller, edge.callee, edge.kind): edge for edge in change.edges}
        snapshot = graph.snapshot(Millis(now))
        assert snapshot.version == version
        assert snapshot.entities == tuple(entities[one] for one in sorted(entities))
        assert snapshot.edges == tuple(edges[key] for key in sorted(edges))
        assert {end for edge in snapshot.edges for end in (edge.caller, edge.callee)} <= set(
            entities
        )


@given(batches=BATCHES, restarts=st.sets(st.integers(0, 7)))
def test_a_restart_changes_nothing(
    batches: list[tuple[list[Entity], list[EdgeEvidence], int]], restarts: set[int]
) -> None:
    steady, restarted = Topology(CONFIG), Topology(CONFIG)
    now = 5_000 * SECOND
    for index, (nodes, evidence, passed) in enumerate(batches):
        now += passed
        if index in restarts:
            data = restarted.dump()
            restarted = Topology(CONFIG)
            restarted.load(data)
        left = steady.apply(nodes, evidence, Millis(now))
        right = restarted.apply(nodes, evidence, Millis(now))
        assert left == right
        assert steady.snapshot(Millis(now)) == restarted.snapshot(Millis(now))
        assert steady.dump() == restarted.dump()
