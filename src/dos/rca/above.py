"""Who depends on whom, through any number of calls, for all entities at once."""

from __future__ import annotations

import numpy as np

from dos.model.graph import GraphSnapshot
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array
from dos.rca.components import components


def total_above(
    graph: GraphSnapshot, place: dict[EntityId, int], value: Float64Array
) -> Float64Array:
    """`[entity]` sum of `value` over everybody else who depends on each, directly or not.

    Sets of dependents are bits of whole numbers, and each is the union of its callers' sets: a
    walk from each entity would take as many steps as there are pairs. Entities that call each
    other in a ring share one set. O(entities x (entities + edges) / 64) and a bit for each pair
    of entities.

    Args:
        graph: Calls; entities that are not in `place` are walked through and count nothing.
        place: Where each entity stands in arrays `[entity]`.
        value: `[entity]`.
    """
    names = list(place)
    known = {entity: at for at, entity in enumerate(names)}
    for edge in graph.edges:
        for entity in (edge.caller, edge.callee):
            known.setdefault(entity, len(known))
    callers = [[known[one] for one in graph.callers(entity)] for entity in known]
    sets = _sets_above(callers, len(names))
    total = np.zeros(len(value))
    width = (len(names) + 7) // 8
    for node, entity in enumerate(names):
        bits = np.frombuffer(sets[node].to_bytes(width, "little"), np.uint8)
        inside = np.unpackbits(bits, count=len(names), bitorder="little").astype(np.bool_)
        inside[node] = False
        total[place[entity]] = value[inside].sum()
    return total


def _sets_above(callers: list[list[int]], counted: int) -> list[int]:
    """For each node the bits of itself and of all nodes below `counted` that lead to it."""
    ring = components(callers).tolist()
    members: list[list[int]] = [[] for _ in range(max(ring, default=-1) + 1)]
    for node, number in enumerate(ring):
        members[number].append(node)
    above: list[int] = []
    # A ring has a greater number than every ring that can be reached from it: callers come first.
    for number, nodes in enumerate(members):
        found = sum(1 << node for node in nodes if node < counted)
        for caller in {ring[one] for node in nodes for one in callers[node]} - {number}:
            found |= above[caller]
        above.append(found)
    return [above[number] for number in ring]
