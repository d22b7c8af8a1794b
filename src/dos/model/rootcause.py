"""Hypotheses about the cause of an incident, with evidence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dos.kit.clock import Millis
from dos.model.ids import EntityId


class FaultKind(StrEnum):
    """What kind of thing went wrong."""

    CPU = "cpu"
    MEMORY = "memory"
    NETWORK = "network"
    DISK = "disk"
    CODE = "code"
    """Wrong answers, errors, locks: without a change that anybody told of."""
    CONFIGURATION = "configuration"
    """Configuration, feature flags, certificates."""
    DEPLOY = "deploy"
    DEPENDENCY = "dependency"
    """Somebody else's service, cache or database failed it."""
    TRAFFIC = "traffic"
    """More requests than it can take: from users, from retries, or since capacity was lost."""
    PLATFORM = "platform"
    """A machine, a zone, a clock."""
    MONITORING = "monitoring"
    """Nothing but the measurement is wrong."""


class Stance(StrEnum):
    """Whether a piece of evidence speaks for or against its hypothesis."""

    FOR = "for"
    AGAINST = "against"


class EvidenceKind(StrEnum):
    """What kind of observation a piece of evidence is."""

    DEVIATION = "deviation"
    ONSET = "onset"
    DEPENDENCIES_NORMAL = "dependencies_normal"
    DEPENDENCY_ABNORMAL = "dependency_abnormal"
    DEPENDENTS_ABNORMAL = "dependents_abnormal"
    CHANGE = "change"
    INTERNAL_SIGNAL = "internal_signal"
    LOG = "log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One sentence with numbers, pointing to the series and window where it can be seen."""

    stance: Stance
    kind: EvidenceKind
    text: str
    weight: float
    """Contribution to the hypothesis' score; negative when it speaks against."""
    entity: EntityId
    metric: str | None = None
    start: Millis
    end: Millis


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """`entity` caused it."""

    entity: EntityId
    metric: str | None
    """The metric that shows it best, if one does."""
    probability: float
    score: float
    """The ranker's own number; comparable within one ranking only."""
    evidence: tuple[Evidence, ...] = ()
    kind: FaultKind | None = None
    """What probably is wrong with it, if the ranker can tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RootCause:
    """A ranking. The probabilities of the hypotheses and `unknown` sum to 1."""

    ranked: tuple[Hypothesis, ...]
    """Most probable first."""
    unknown: float
    """Probability that the cause is none of these hypotheses."""
    method: str
    at: Millis
    onset: Millis
    """When the trouble began, as estimated."""
    coverage: float | None = None
    """How often the cause is among `likely`, on held-out simulations; None: not calibrated."""
    likely: tuple[EntityId, ...] = ()
    """The smallest set of entities that holds the cause that often; empty where nothing was said,
    and where "none of these" is likely enough to fill it alone."""
    others: float = 0.0
    """The part of `unknown` that lies with entities that were ranked and are not listed."""

    @property
    def nobody(self) -> float:
        """Probability that the cause is no entity that was ranked."""
        return max(self.unknown - self.others, 0.0)

    @property
    def top(self) -> Hypothesis | None:
        """The best hypothesis, or None when the ranker abstains: `nobody` is likelier."""
        if self.ranked and self.ranked[0].probability > self.nobody:
            return self.ranked[0]
        return None
