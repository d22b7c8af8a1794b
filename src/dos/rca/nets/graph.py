# pyright: reportMissingImports=false, reportUntypedBaseClass=false
"""The graph network: who is to blame, from what every entity shows and how entities are connected.

Graph attention of the second kind (Brody, Alon & Yahav, *How Attentive are Graph Attention
Networks?*, ICLR 2022; `GATv2Conv` of PyTorch Geometric): each entity weighs what its neighbours
show by what it shows itself and by the kind and direction of the edge between them. Four heads,
set side by side after each layer and averaged after the last. An entity also sees the case
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
        layers: Layers of attention, 2 or more: how many calls away an entity looks.
        dropout: Share of what neighbours say that is left out in training.
    """

    def __init__(
        self,
        input_dim: int,
        hidden_dim: int,
        output_dim: int,
        *,
        edge_dim: int = 0,
        layers: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if layers < 2:
            msg = f"layers must be 2 or more, not {layers}"
            raise ValueError(msg)
        wide = HEADS * hidden_dim
        self.own = nn.Sequential(
            nn.Linear(input_dim, wide), nn.SiLU(), nn.Linear(wide, wide), nn.SiLU()
        )
        self.convs = nn.ModuleList(
            GATv2Conv(
                wide,
                hidden_dim,
                heads=HEADS,
                concat=at < layers - 1,
                edge_dim=edge_dim or None,
                add_self_loops=False,
            )
            for at in range(layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(wide) for _ in range(layers))
        self.wider = nn.Linear(hidden_dim, wide)
        self.dropout = dropout
        self.whole = nn.Linear(2 * wide, wide)
        self.mix = nn.Linear(2 * wide, wide)
        self.lin = nn.Linear(wide, output_dim)
        self.none = nn.Linear(wide, 1)

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
        shown = self.own(x)
        for at, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            heard = functional.silu(conv(norm(shown), edge_index, edge_attr))
            if at == len(self.convs) - 1:
                heard = self.wider(heard)
            shown = shown + functional.dropout(heard, self.dropout, self.training)
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
        """`[edge, HEADS]` how much each edge counts in the first layer.

        Those into an entity sum to 1.
        """
        shown = self.norms[0](self.own(x))
        said = self.convs[0](shown, edge_index, edge_attr, return_attention_weights=True)
        weights: torch.Tensor = said[1][1]
        return weights


def _pooled(shown: torch.Tensor, case: torch.Tensor, cases: int) -> torch.Tensor:
    """`[case, 2 * hidden]` the greatest and the mean of the entities of each case."""
    place = case.unsqueeze(1).expand_as(shown)
    empty = shown.new_full((cases, shown.shape[1]), _NOWHERE)
    largest = empty.scatter_reduce(0, place, shown, "amax")
    total = shown.new_zeros((cases, shown.shape[1])).index_add(0, case, shown)
    count = shown.new_zeros(cases).index_add(0, case, shown.new_ones(shown.shape[0]))
    return torch.cat([largest, total / count.clamp(min=1.0).unsqueeze(1)], dim=1)
