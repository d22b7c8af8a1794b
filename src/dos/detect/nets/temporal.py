# pyright: reportMissingImports=false, reportUntypedBaseClass=false
"""The temporal network: LSTM with attention over a window, which it reconstructs and continues.

The window comes without unit and size (`dos.detect.temporal_window`). A stacked LSTM (Hochreiter &
Schmidhuber, *Long short-term memory*, Neural Computation 9, 1997) reads it, attention weighs its
states, and from both, with the features of memory, three heads say

* what the window should have been (`reconstruction`; Malhotra et al., *LSTM-based encoder-decoder
  for multi-sensor anomaly detection*, 2016): through a bottleneck, learned on windows into which
  anomalies had been put, so that these are not reproduced;
* between which values the next sample will lie (`quantiles`), learned by the pinball loss (Koenker
  & Bassett, *Regression quantiles*, Econometrica 46, 1978); they never cross;
* whether the newest sample belongs to an anomaly (`anomaly`, log odds), learned on the same
  injected anomalies.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from dos.detect.nets.attention import Attention
from dos.detect.temporal_window import FEATURES, LEVELS, WINDOW


class TemporalOutput(NamedTuple):
    """What the network says of each window."""

    reconstruction: torch.Tensor
    """`[batch, window]` on the scale of the input."""
    quantiles: torch.Tensor
    """`[batch, LEVELS]` of the next sample, ascending, on the same scale."""
    anomaly: torch.Tensor
    """`[batch]` log odds that the newest sample is abnormal."""
    attention: torch.Tensor
    """`[batch, window]` how much each step counted."""


class TemporalAnalyzer(nn.Module):
    """LSTM with attention; see the module's text.

    Args:
        input_dim: Values per step.
        hidden_dim: Size of the LSTM's state.
        num_layers: LSTMs on top of each other.
        window: Steps of a window.
        memory: Features that compare the window with the longer past.
    """

    def __init__(
        self,
        input_dim: int = 1,
        hidden_dim: int = 48,
        num_layers: int = 2,
        *,
        window: int = WINDOW,
        memory: int = FEATURES,
    ) -> None:
        super().__init__()
        self.memory = memory
        self.lstm = nn.LSTM(input_dim, hidden_dim, num_layers, batch_first=True)
        self.attention = Attention(hidden_dim)
        self.summary = nn.Linear(2 * hidden_dim + memory, 64)
        self.decode = nn.Linear(64, window * input_dim)
        self.forecast = nn.Linear(64, len(LEVELS))
        self.carry = nn.Linear(64, 1)
        self.judge = nn.Sequential(nn.Linear(64, 32), nn.SiLU(), nn.Linear(32, 1))

    def forward(self, window: torch.Tensor, memory: torch.Tensor | None = None) -> TemporalOutput:
        """Read windows.

        Args:
            window: `[batch, window]`, or `[batch, window, input_dim]`.
            memory: `[batch, memory]`; None is no memory.
        """
        steps = window.unsqueeze(2) if window.dim() == 2 else window
        if memory is None:
            memory = steps.new_zeros((steps.shape[0], self.memory))
        states, _ = self.lstm(steps)
        context, weights = self.attention(states)
        summary = functional.silu(self.summary(torch.cat([states[:, -1], context, memory], dim=1)))
        # A steady series is best continued by its last value, which no bottleneck hands on exactly.
        carried = torch.sigmoid(self.carry(summary))
        return TemporalOutput(
            reconstruction=self.decode(summary).reshape(window.shape),
            quantiles=ascending(self.forecast(summary)) + carried * steps[:, -1, :1],
            anomaly=self.judge(summary).squeeze(1),
            attention=weights,
        )


def ascending(raw: torch.Tensor) -> torch.Tensor:
    """Free numbers `[batch, level]` as quantiles that cannot cross.

    The middle one is the median; each further out is beyond the one before it by a softplus.
    """
    middle = raw.shape[1] // 2
    gaps = functional.softplus(raw)
    below = [raw[:, middle]]
    for level in range(middle - 1, -1, -1):
        below.append(below[-1] - gaps[:, level])
    above = [raw[:, middle]]
    for level in range(middle + 1, raw.shape[1]):
        above.append(above[-1] + gaps[:, level])
    return torch.stack([*reversed(below[1:]), *above], dim=1)
