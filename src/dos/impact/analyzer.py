"""The impact of an incident as one object: configuration in, `Impact` out.

    >>> from dos import ImpactAnalyzer
    >>> from dos.model.graph import Edge, GraphSnapshot
    >>> from dos.model.entity import Entity
    >>> graph = GraphSnapshot(
    ...     entities=tuple(Entity(id=name) for name in ("checkout", "db", "frontend")),
    ...     edges=(
    ...         Edge(caller="checkout", callee="db"),
    ...         Edge(caller="frontend", callee="checkout"),
    ...     ),
    ... )
    >>> impact = ImpactAnalyzer().assess(["db"], root="db", graph=graph)
    >>> impact.severity.value, impact.entry_points
    ('sev2', ('frontend',))
    >>> [(one.entity, one.standing.value, one.through) for one in impact.affected]
    [('db', 'abnormal', None), ('checkout', 'at_risk', 'db'), ('frontend', 'at_risk', 'checkout')]

With samples of the entry points it also counts the requests that failed and those that were slow:

    >>> import numpy as np
    >>> from dos.impact.signals import Telemetry
    >>> from dos.model.telemetry import Role, SeriesSpec
    >>> minutes = np.arange(70)
    >>> failing = np.where(minutes >= 60, 0.25, 0.001 + 0.0002 * np.sin(minutes))
    >>> telemetry = Telemetry(
    ...     times=minutes * 60_000,
    ...     values=np.stack([np.full(70, 20.0), failing], axis=1),
    ...     series=(
    ...         SeriesSpec(entity="frontend", metric="request_rate", role=Role.TRAFFIC, unit="1/s"),
    ...         SeriesSpec(entity="frontend", metric="error_rate", role=Role.ERRORS, unit="ratio"),
    ...     ),
    ...     start=60 * 60_000,
    ...     end=69 * 60_000,
    ... )
    >>> impact = ImpactAnalyzer().assess(["db"], "db", graph, telemetry=telemetry)
    >>> round(impact.failed.value), impact.slowed is None
    (2988, True)
    >>> impact.unknown
    ('frontend: no series has a percentile of the latency of all its requests.',)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from dos.impact.assess import assess, entities_to_read, tally
from dos.impact.base import ImpactConfig
from dos.impact.signals import Telemetry
from dos.impact.slo import Spent
from dos.model.anomaly import Anomaly
from dos.model.graph import GraphSnapshot
from dos.model.ids import EntityId
from dos.model.impact import Impact


class ImpactAnalyzer:
    """Says who is affected by an incident, how badly, and how severe that makes it.

    Pure: it keeps nothing between calls, reads no clock and draws no random number, so the same
    input gives the same answer, byte for byte.

    Args:
        config: Weights, entry points, objectives and rules; by default none.
    """

    def __init__(self, config: ImpactConfig | None = None) -> None:
        self.config = config or ImpactConfig()

    def assess(
        self,
        abnormal: Collection[EntityId],
        root: EntityId | None,
        graph: GraphSnapshot,
        anomalies: Sequence[Anomaly] = (),
        *,
        telemetry: Telemetry | None = None,
        spent: Mapping[str, Spent] | None = None,
        before: Impact | None = None,
    ) -> Impact:
        """The impact; the arguments are those of `dos.impact.assess.assess`."""
        return assess(
            abnormal,
            root,
            graph,
            self.config,
            anomalies,
            telemetry=telemetry,
            spent=spent,
            before=before,
        )

    def tally(
        self,
        impact: Impact,
        graph: GraphSnapshot,
        *,
        telemetry: Telemetry,
        spent: Mapping[str, Spent] | None = None,
    ) -> Impact:
        """`impact` of an incident that is over, with the requests it hit in the end.

        Who was affected and how severe it was stays what people were told.
        """
        return tally(impact, graph, self.config, telemetry=telemetry, spent=spent)

    def entities_to_read(
        self, abnormal: Collection[EntityId], graph: GraphSnapshot
    ) -> list[EntityId]:
        """Entities whose samples `assess` wants to see: entry points and those with objectives."""
        return entities_to_read(abnormal, graph, self.config)
