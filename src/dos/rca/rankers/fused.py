"""Fused: the graph network and the statistical reasoning together, calibrated as one.

The network knows what incidents look like, of systems in which what it has learned from is
measured; the statistics have learned nothing and cannot be misled by a system that is unlike it. So
the log-odds of the network and the weighted statistical score are added (a product of experts:
Hinton, *Training Products of Experts by Minimizing Contrastive Divergence*, Neural Computation 14,
2002, section 1), the score the more the stranger the case is to the network (`dos.rca.joint`). How
sure it may be is fitted on simulated incidents that the network has not learned from.

Fails: where the cause is measured by nothing and the graph does not know it. Its probabilities are
calibrated on simulated incidents; real ones may be off either way (docs/benchmarks.md: too sure on
Nezha, far too modest on PetShop).

>>> from dos.rca.rankers.fused import Config, FusedRanker
>>> ranker = FusedRanker(Config())
>>> ranker.card.name
'graph'
"""

from __future__ import annotations

from dataclasses import replace

from pydantic import BaseModel, ConfigDict, Field

from dos.kit.plugins import Plugin
from dos.ml.card import ModelCard
from dos.model.rootcause import RootCause
from dos.rca.base import EntityScores
from dos.rca.case import Case
from dos.rca.joint import Joint, Sureness, join
from dos.rca.network import Network, Reading


class Config(BaseModel):
    """Keys of `type: fused`."""

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


class FusedRanker:
    """Ranks entities by what a graph network and the statistics make of them."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._network = Network(config.model)
        self._joint = Joint.of(self._network.card.fitted)

    @property
    def card(self) -> ModelCard:
        """What the network is."""
        return self._network.card

    def score(self, case: Case) -> EntityScores:
        """Every entity that has series or is in the graph: joint log-odds."""
        read, _ = self._read(case)
        return EntityScores(entities=read.entities, score=read.odds)

    def rank(self, case: Case) -> RootCause:
        """The best hypotheses, with kinds of fault and evidence."""
        read, sureness = self._read(case)
        return self._network.conclude(
            case,
            read,
            sureness,
            limit=self._config.hypotheses,
            least=self._config.least,
            method="fused",
        )

    def _read(self, case: Case) -> tuple[Reading, Sureness]:
        read = self._network.read(case)
        strangeness = self._joint.strangeness(read.node)
        odds, none = join(
            read.odds,
            read.none,
            read.statistics,
            worth=self._joint.worth,
            strangeness=strangeness,
        )
        return replace(read, odds=odds, none=none), self._joint.sureness(strangeness)


PLUGIN = Plugin(Config, FusedRanker)
