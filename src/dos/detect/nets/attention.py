# pyright: reportMissingImports=false, reportUntypedBaseClass=false
"""Attention over the steps of a sequence.

Scaled dot-product attention (Vaswani et al., *Attention is all you need*, NeurIPS 2017, eq. 1) with
one query, made from the last hidden state: which of the steps before say most about the present?
"""

from __future__ import annotations

import torch
from torch import nn


class Attention(nn.Module):
    """Weighs the steps of a sequence by what they say about its end.

    Args:
        hidden_dim: Size of a hidden state.
    """

    def __init__(self, hidden_dim: int) -> None:
        super().__init__()
        self.query = nn.Linear(hidden_dim, hidden_dim)
        self._scale = hidden_dim**-0.5

    def forward(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Weigh.

        Args:
            states: `[batch, time, hidden_dim]`.

        Returns:
            Weighted mean `[batch, hidden_dim]`, and the weights `[batch, time]`, whose sum is 1.
        """
        query = self.query(states[:, -1])
        weights = torch.softmax(self._scale * (states * query.unsqueeze(1)).sum(dim=2), dim=1)
        return (states * weights.unsqueeze(2)).sum(dim=1), weights
