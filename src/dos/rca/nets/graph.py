# pyright: reportMissingImports=false, reportUntypedBaseClass=false
"""The graph network: who is to blame, from what every entity shows and how entities are connected.

Graph attention of the second kind (Brody, Alon & Yahav, *How Attentive are Graph Attention
Networks?*, ICLR 2022; `GATv2Conv` of PyTorch Geometric): each entity weighs what its neighbours
show by what it shows itself and by the kind and direction of the edge between them. Four heads,
set side by side after the first layer and averaged after the second. An entity also sees the case
as a whole: the greatest and the mean of all entities. Nothing depends on the order of entities or
on their number, so a network that was trained on many small systems reads any other one.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional
from torch_geometric.nn import GATv2Conv

HEADS = 4
_NOWHERE = -1e4


class Said(NamedTuple):
    """What the network says of one case, or of several side by side."""

    entity: torch.Tensor
    """`[entity, output_dim]`; column 0 is the log-odds of being the cause, up to a constant of
    the case, the others are log-odds of the kinds of fault."""
    none: torch.Tensor
    """`[case]` the same as column 0 for "none of these"."""


class DependencyGNN(nn.Module):
    """See the module's text.

    Args:
        input_dim: Numbers that an entity is described by.
        hidden_dim: Numbers of a head.
        output_dim: Numbers that are said of an entity.
        edge_dim: Numbers that an edge is described by; 0 for none.
    """

    def __init__(
        self, input_dim: int, hidden_dim: int, output_dim: int, *, edge_dim: int = 0
    ) -> None:
        super().__init__()
        wide = HEADS * hidden_dim
        edges = edge_dim or None
        self.conv1 = GATv2Conv(
            input_dim, hidden_dim, heads=HEADS, concat=True, edge_dim=edges, add_self_loops=False
        )
        self.own1 = nn.Linear(input_dim, wide)
        self.norm1 = nn.LayerNorm(wide)
        self.conv2 = GATv2Conv(
            wide, hidden_dim, heads=HEADS, concat=False, edge_dim=edges, add_self_loops=False
        )
        self.own2 = nn.Linear(wide, hidden_dim)
        self.norm2 = nn.LayerNorm(hidden_dim)
        self.whole = nn.Linear(2 * hidden_dim, hidden_dim)
        self.mix = nn.Linear(2 * hidden_dim, hidden_dim)
        self.lin = nn.Linear(hidden_dim, output_dim)
        self.none = nn.Linear(hidden_dim, 1)

    def forward(
        self,
        x: torch.Tensor,
        edge_index: torch.Tensor,
        edge_attr: torch.Tensor | None = None,
        case: torch.Tensor | None = None,
        cases: int = 1,
    ) -> Said:
        """Read cases.

        Args:
            x: `[entity, input_dim]`.
            edge_index: `[2, edge]` from and to.
            edge_attr: `[edge, edge_dim]`.
            case: `[entity]` which case an entity is of; None where there is one case.
            cases: How many there are.
        """
        shown = functional.silu(self.conv1(x, edge_index, edge_attr) + self.own1(x))
        shown = self.norm1(shown)
        shown = functional.silu(self.conv2(shown, edge_index, edge_attr) + self.own2(shown))
        shown = self.norm2(shown)
        if case is None:
            largest, mean = shown.max(dim=0, keepdim=True).values, shown.mean(dim=0, keepdim=True)
            whole = functional.silu(self.whole(torch.cat([largest, mean], dim=1)))
            around = whole.expand(shown.shape[0], -1)
        else:
            whole = functional.silu(self.whole(_pooled(shown, case, cases)))
            around = whole[case]
        mixed = functional.silu(self.mix(torch.cat([shown, around], dim=1)))
        return Said(entity=self.lin(mixed), none=self.none(whole).squeeze(1))

    def attention(
        self, x: torch.Tensor, edge_index: torch.Tensor, edge_attr: torch.Tensor | None = None
    ) -> torch.Tensor:
        """`[edge, HEADS]` how much each edge counts in the first layer; those into an entity sum
        to 1."""
        _, (_, weights) = self.conv1(x, edge_index, edge_attr, return_attention_weights=True)
        return weights


def _pooled(shown: torch.Tensor, case: torch.Tensor, cases: int) -> torch.Tensor:
    """`[case, 2 * hidden]` the greatest and the mean of the entities of each case."""
    place = case.unsqueeze(1).expand_as(shown)
    empty = shown.new_full((cases, shown.shape[1]), _NOWHERE)
    largest = empty.scatter_reduce(0, place, shown, "amax")
    total = shown.new_zeros((cases, shown.shape[1])).index_add(0, case, shown)
    count = shown.new_zeros(cases).index_add(0, case, shown.new_ones(shown.shape[0]))
    return torch.cat([largest, total / count.clamp(min=1.0).unsqueeze(1)], dim=1)
