"""A trained graph network at work: from a case to log-odds.

    case ─▶ measure, suspect, attribute ─▶ inputs ─▶ ONNX Runtime ─▶ log-odds of each entity

Serving needs no torch. One reading costs what measuring costs, and a few milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dos.kit.clock import Millis
from dos.kit.errors import PermanentError
from dos.ml.card import ModelCard
from dos.ml.runtime import Served
from dos.model.ids import EntityId
from dos.model.rootcause import Hypothesis, RootCause
from dos.model.telemetry import Float32Array, Float64Array
from dos.rca.attribution import unexplained
from dos.rca.case import Case
from dos.rca.evidence import Witness
from dos.rca.examples import KINDS
from dos.rca.inputs import EDGE_INPUTS, NODE_INPUTS, inputs_of
from dos.rca.joint import Sureness
from dos.rca.measure import Measured, measure
from dos.rca.suspicion import Suspicion, Weights, suspect
from dos.rca.verdict import COVERAGE, VERSION, chances, likely


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """What the network makes of a case; all arrays are `[entity]` unless said otherwise."""

    entities: tuple[EntityId, ...]
    """Those with series first, then those that only the graph knows."""
    odds: Float64Array
    """Log-odds of being the cause, up to a constant of the case."""
    none: float
    """The same of "none of these"."""
    kinds: Float64Array
    """`[entity, KINDS]` log-odds of the kinds of fault."""
    statistics: Float64Array
    """Score of the statistical reasoning; 0 where nothing is measured."""
    node: Float32Array
    """`[entity, NODE_INPUTS]` what the network was told."""
    measured: Measured
    found: Suspicion

    @property
    def shows(self) -> bool:
        """Whether anything is abnormal at all."""
        return bool((self.found.strength > 0).any())


class Network:
    """A model that is ready to read cases.

    Args:
        model: Name of one that comes with DOS, or a folder.

    Raises:
        PermanentError: There is no such model, or it is of another version.
        CorruptDataError: Its files are not what its card says.
    """

    def __init__(self, model: str) -> None:
        self._served = Served(model)
        self._weights = Weights()
        card = self._served.card
        names = ("node_inputs", "edge_inputs", "kinds")
        wanted = (VERSION, len(NODE_INPUTS), len(EDGE_INPUTS), len(KINDS))
        if (card.version, *(card.shape.get(name) for name in names)) != wanted:
            msg = f"Model {model!r} was made for another version of DOS."
            raise PermanentError(msg, remedy="Train it again: dos train rca --out DIR.")

    @property
    def card(self) -> ModelCard:
        """What the model is."""
        return self._served.card

    def read(self, case: Case) -> Reading:
        """Log-odds of every entity that has series or is in the graph."""
        measured = measure(case)
        found = suspect(case, measured, self._weights)
        inputs = inputs_of(case, measured, found, unexplained(case, measured, found.strength))
        count = len(inputs.entities)
        entity, none = np.zeros((0, 1 + len(KINDS))), 0.0
        if count:
            said = self._served.whole(
                {"node": inputs.node, "edges": inputs.edges, "edge": inputs.edge}
            )
            entity, none = said["entity"].astype(np.float64), float(said["none"][0])
        statistics = np.zeros(count)
        statistics[: len(found.entities)] = found.score
        return Reading(
            entities=inputs.entities,
            odds=entity[:, 0],
            none=none,
            kinds=entity[:, 1:],
            statistics=statistics,
            node=inputs.node,
            measured=measured,
            found=found,
        )

    def conclude(
        self,
        case: Case,
        reading: Reading,
        sureness: Sureness,
        *,
        limit: int,
        least: float,
        method: str,
    ) -> RootCause:
        """Hypotheses with probabilities, kinds of fault and evidence.

        Args:
            case: That was read.
            reading: Of it; its log-odds may have been changed since.
            sureness: How sure it may be.
            limit: Most hypotheses.
            least: Probability below which an entity is not listed.
            method: Name of the ranker.
        """
        nothing = RootCause(
            ranked=(),
            unknown=1.0,
            method=method,
            at=case.end,
            onset=Millis(reading.found.onset),
            coverage=COVERAGE,
        )
        if not reading.shows:
            return nothing
        probability, unknown = chances(reading.odds, reading.none, sureness.temperature)
        witness = Witness(case, reading.measured, reading.found, self._weights)
        order = sorted(
            range(len(probability)), key=lambda at: (-probability[at], reading.entities[at])
        )
        ranked = tuple(
            Hypothesis(
                entity=reading.entities[at],
                metric=witness.metric(reading.entities[at]),
                probability=float(probability[at]),
                score=float(reading.odds[at]),
                evidence=witness.on(reading.entities[at]),
                kind=KINDS[int(np.argmax(reading.kinds[at]))],
            )
            for at in order[:limit]
            if probability[at] >= least
        )
        listed = sum(one.probability for one in ranked)
        return RootCause(
            ranked=ranked,
            unknown=max(0.0, 1.0 - listed),
            others=max(0.0, float(probability.sum()) - listed),
            method=method,
            at=case.end,
            onset=Millis(reading.found.onset),
            coverage=COVERAGE,
            likely=tuple(
                reading.entities[at] for at in likely(probability, unknown, sureness.share)
            ),
        )
