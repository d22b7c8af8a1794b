# pyright: reportMissingImports=false, reportUntypedBaseClass=false
"""The carried temporal network: one LSTM that reads each sample once and keeps its state.

The same questions as in `dos.detect.nets.temporal`, some thirty times cheaper and without a window:
between which values will the next sample lie, and is this one part of an anomaly? It is trained on
whole sequences, and served step by step (`CarriedStep`): state in, state out.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from dos.detect.nets.temporal import ascending
from dos.detect.temporal_pace import INPUTS
from dos.detect.temporal_window import LEVELS

_HEAD = 24


class CarriedOutput(NamedTuple):
    """What the network says of samples; leading dimensions as those of its input."""

    quantiles: torch.Tensor
    """`[…, LEVELS]` of the next sample's way from this one (`temporal_pace.frame`), compressed."""
    anomaly: torch.Tensor
    """`[…]` log odds that the sample is abnormal."""


class StepOutput(NamedTuple):
    """The same of one step, and the state to carry on."""

    quantiles: torch.Tensor
    anomaly: torch.Tensor
    hidden: torch.Tensor
    cell: torch.Tensor
    """`[batch, hidden_dim]` each."""


class CarriedAnalyzer(nn.Module):
    """LSTM over sequences of samples.

    Args:
        hidden_dim: Size of the state.
    """

    def __init__(self, hidden_dim: int = 64) -> None:
        super().__init__()
        self.lstm = nn.LSTM(INPUTS, hidden_dim, batch_first=True)
        self.summary = nn.Linear(hidden_dim, _HEAD)
        self.forecast = nn.Linear(_HEAD, len(LEVELS))
        self.judge = nn.Linear(_HEAD, 1)

    def forward(self, steps: torch.Tensor) -> CarriedOutput:
        """Read sequences `[batch, time, INPUTS]` from an empty state."""
        states, _ = self.lstm(steps)
        return self.say(states)

    def say(self, states: torch.Tensor) -> CarriedOutput:
        """What states `[…, hidden_dim]` mean."""
        summary = functional.silu(self.summary(states))
        free = self.forecast(summary)
        quantiles = ascending(free.reshape(-1, free.shape[-1])).reshape(free.shape)
        return CarriedOutput(quantiles=quantiles, anomaly=self.judge(summary).squeeze(-1))


class CarriedStep(nn.Module):
    """One step of a `CarriedAnalyzer`, with the same weights.

    Hochreiter & Schmidhuber, *Long short-term memory*, Neural Computation 9, 1997, with the forget
    gate of Gers, Schmidhuber & Cummins, 2000; gates in torch's order.
    """

    def __init__(self, analyzer: CarriedAnalyzer) -> None:
        super().__init__()
        self.analyzer = analyzer

    def forward(self, sample: torch.Tensor, hidden: torch.Tensor, cell: torch.Tensor) -> StepOutput:
        """Read one sample `[batch, INPUTS]` in a state `[batch, hidden_dim]` twice."""
        own = dict(self.analyzer.lstm.named_parameters())
        gates = functional.linear(
            sample, own["weight_ih_l0"], own["bias_ih_l0"] + own["bias_hh_l0"]
        )
        gates = gates + functional.linear(hidden, own["weight_hh_l0"])
        enter, forget, new, leave = gates.chunk(4, dim=1)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(new)
        hidden = torch.sigmoid(leave) * torch.tanh(cell)
        said = self.analyzer.say(hidden)
        return StepOutput(quantiles=said.quantiles, anomaly=said.anomaly, hidden=hidden, cell=cell)
