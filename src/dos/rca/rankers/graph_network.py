"""Graph network: what every entity shows, weighed along the graph by learned attention.

A GATv2 network (Brody, Alon & Yahav, *How Attentive are Graph Attention Networks?*, ICLR 2022) that
knows what incidents look like from thousands of simulated ones, on systems that it has not seen
(`dos train rca`; see `dos.rca.inputs` for what it is told and `dos.rca.nets.graph` for what it is).
Its probabilities are calibrated on simulated incidents, with "none of these" among them, and it
names the kind of fault. It also names entities of the graph that nothing is measured of.

Fails: where a system is unlike all simulated ones, and then it is surer than it should be. `fused`
leans on statistics as well.

>>> from dos.rca.rankers.graph_network import Config, GraphNetworkRanker
>>> ranker = GraphNetworkRanker(Config())
>>> ranker.card.name
'graph'
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from dos.kit.plugins import Plugin
from dos.ml.card import ModelCard
from dos.model.rootcause import RootCause
from dos.rca.base import EntityScores
from dos.rca.case import Case
from dos.rca.joint import Sureness
from dos.rca.network import Network


class Config(BaseModel):
    """Keys of `type: graph_network`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        default="graph", description="A model that comes with DOS, or the folder of another."
    )
    hypotheses: int = Field(
        default=6, ge=1, le=20, description="Most hypotheses to give, with evidence."
    )
    least: float = Field(
        default=0.005, ge=0, lt=1, description="Probability below which an entity is not listed."
    )


class GraphNetworkRanker:
    """Ranks entities by a graph network."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._network = Network(config.model)

    @property
    def card(self) -> ModelCard:
        """What the model is."""
        return self._network.card

    def score(self, case: Case) -> EntityScores:
        """Every entity that has series or is in the graph: log-odds."""
        read = self._network.read(case)
        return EntityScores(entities=read.entities, score=read.odds)

    def rank(self, case: Case) -> RootCause:
        """The best hypotheses, with kinds of fault and evidence."""
        fitted = self.card.fitted
        return self._network.conclude(
            case,
            self._network.read(case),
            Sureness(temperature=fitted["temperature"], share=fitted["share"]),
            limit=self._config.hypotheses,
            least=self._config.least,
            method="graph_network",
        )


PLUGIN = Plugin(Config, GraphNetworkRanker)
