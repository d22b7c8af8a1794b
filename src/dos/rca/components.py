"""Rings of calls: strongly connected components of a directed graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dos.model.telemetry import Int64Array


def components(onward: Sequence[Sequence[int]]) -> Int64Array:
    """`[node]` a number that nodes have in common if each can be reached from the other.

    Tarjan, *Depth-first search and linear graph algorithms*, SIAM J. Comput. 1 (1972), with a
    stack of its own in place of recursion. O(nodes + edges).

    Args:
        onward: For each node where one can go from it.
    """
    count = len(onward)
    found = np.full(count, -1, np.int64)
    index = [-1] * count
    low = [0] * count
    entered = [0] * count  # its place on the path
    path: list[int] = []
    visits: list[tuple[int, int]] = []
    clock = ring = 0
    for root in range(count):
        if index[root] < 0:
            visits.append((root, 0))
        while visits:
            node, nth = visits.pop()
            if nth == 0:
                index[node] = low[node] = clock
                clock += 1
                entered[node] = len(path)
                path.append(node)
            for place in range(nth, len(onward[node])):
                there = onward[node][place]
                if index[there] < 0:
                    visits += [(node, place + 1), (there, 0)]
                    break
                if found[there] < 0:
                    low[node] = min(low[node], index[there])
            else:
                if low[node] == index[node]:
                    since = entered[node]
                    found[path[since:]] = ring
                    del path[since:]
                    ring += 1
                elif visits:
                    above = visits[-1][0]
                    low[above] = min(low[above], low[node])
    return found
