"""Cases as a network is trained on them: many small graphs side by side.

Graphs differ in size, so all entities of all cases stand in one table, one case after the other,
and so do their edges; a batch is the same in small. Nothing is padded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dos.model.rootcause import FaultKind
from dos.model.telemetry import Float32Array, Int64Array
from dos.rca.inputs import EDGE_INPUTS, NODE_INPUTS, Inputs

KINDS = tuple(FaultKind)
"""In the order in which a network tells of them."""
UNKNOWN = -100
"""In place of a kind: cross entropy leaves it out."""
WHOLE = "whole"
"""`Example.about` of a case as the simulator recorded it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One thing that was wrong in a case."""

    entities: tuple[int, ...]
    """Places of those that are right to name; none if the case does not know them."""
    kind: FaultKind | None
    """None where nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Example:
    """A case and what was wrong in it."""

    node: npt.NDArray[np.float16]
    """`[entity, NODE_INPUTS]`, in half precision: there are many."""
    edges: Int64Array
    """`[2, edge]`."""
    edge: npt.NDArray[np.float16]
    """`[edge, EDGE_INPUTS]`."""
    causes: tuple[Cause, ...]
    """None where nothing was wrong."""
    group: int
    """Examples of one group come from one world; they are never on both sides of a split."""
    about: str = ""
    """Which variant of its case it is, for reports."""


def example_of(inputs: Inputs, causes: Sequence[Cause], group: int, about: str = "") -> Example:
    """An example from what a ranker would be given."""
    return Example(
        node=inputs.node.astype(np.float16),
        edges=inputs.edges,
        edge=inputs.edge.astype(np.float16),
        causes=tuple(causes),
        group=group,
        about=about,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GraphBatch:
    """Some cases side by side."""

    columns: Mapping[str, npt.NDArray[Any]]
    """`node` `[entity, …]`, `edges` `[2, edge]`, `edge` `[edge, …]`, `case` `[entity]`; `none`
    `[case]` 1 where nothing was wrong; of each cause its case (`cause_case`), what it counts
    (`cause_weight`) and its kind (`cause_kind`); of each entity that is right to name which one it
    is (`named`) and whose cause (`named_cause`)."""
    cases: int

    def __len__(self) -> int:
        """Cases."""
        return self.cases


class GraphExamples:
    """Examples to train or validate on."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = tuple(examples)

    def __len__(self) -> int:
        return len(self.examples)

    def batches(self, size: int, rng: np.random.Generator | None = None) -> Iterator[GraphBatch]:
        """All of them, `size` at a time; shuffled by `rng`."""
        order = np.arange(len(self)) if rng is None else rng.permutation(len(self))
        for first in range(0, len(order), size):
            yield side_by_side([self.examples[at] for at in order[first : first + size]])


def side_by_side(examples: Sequence[Example]) -> GraphBatch:
    """One batch of all of them, in their order."""
    sizes = [len(one.node) for one in examples]
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    cause_case: list[int] = []
    cause_weight: list[float] = []
    cause_kind: list[int] = []
    named: list[int] = []
    named_cause: list[int] = []
    none = np.ones(len(examples), np.float32)
    for at, one in enumerate(examples):
        known = [cause for cause in one.causes if cause.entities]
        none[at] = float(not known)
        for cause in known:
            named += [int(first[at]) + entity for entity in cause.entities]
            named_cause += [len(cause_case)] * len(cause.entities)
            cause_case.append(at)
            cause_weight.append(1.0 / len(known))
            cause_kind.append(UNKNOWN if cause.kind is None else KINDS.index(cause.kind))
    columns: dict[str, npt.NDArray[Any]] = {
        "node": _joined([one.node for one in examples], len(NODE_INPUTS)),
        "edges": np.concatenate(
            [one.edges + start for one, start in zip(examples, first, strict=True)], axis=1
        ).astype(np.int64),
        "edge": _joined([one.edge for one in examples], len(EDGE_INPUTS)),
        "case": np.repeat(np.arange(len(examples)), sizes).astype(np.int64),
        "none": none,
        "cause_case": np.array(cause_case, np.int64),
        "cause_weight": np.array(cause_weight, np.float32),
        "cause_kind": np.array(cause_kind, np.int64),
        "named": np.array(named, np.int64),
        "named_cause": np.array(named_cause, np.int64),
    }
    return GraphBatch(columns=columns, cases=len(examples))


def _joined(tables: Sequence[npt.NDArray[np.float16]], width: int) -> Float32Array:
    if not tables:
        return np.zeros((0, width), np.float32)
    return np.concatenate(tables).astype(np.float32)
