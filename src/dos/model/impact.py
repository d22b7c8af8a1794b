"""Who is affected and how badly."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dos.model.ids import EntityId


class Severity(StrEnum):
    """`sev1` is the worst."""

    SEV1 = "sev1"
    SEV2 = "sev2"
    SEV3 = "sev3"
    SEV4 = "sev4"


class Standing(StrEnum):
    """How an entity stands in an incident."""

    ABNORMAL = "abnormal"
    """It shows anomalies itself."""
    ASKED_LESS = "asked_less"
    """All it shows is less traffic than usual: nothing is wrong with it, it is asked for less."""
    AT_RISK = "at_risk"
    """It is normal and depends on one that is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number that is not known exactly."""

    value: float
    low: float
    high: float
    """The 90 % interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Affected:
    """An entity that is affected or may become so."""

    entity: EntityId
    abnormal: bool
    """True: it shows anomalies itself that hurt somebody; False: it depends on one that does, or
    is merely asked for less."""
    distance: int
    """Calls between it and the probable root; 0 is the root itself."""
    weight: float
    """Business weight from the configuration, 1 by default."""
    standing: Standing | None = None
    """None in impacts that were stored before it was kept."""
    risk: float | None = None
    """Of one at risk: how likely it shows symptoms too if nothing is done, 0 to 1."""
    through: EntityId | None = None
    """Of one at risk: the entity it uses from which trouble most likely comes."""
    reason: str = ""
    """Why it is expected to follow, or why it is not held to be abnormal, as a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryImpact:
    """What happened to the requests of users at one entry point, since the incident began."""

    entity: EntityId
    counted: bool = True
    """Whether it is part of the totals: not where another entry point calls it, since the same
    requests would count twice."""
    requests: float | None = None
    """Requests that came."""
    failed: Estimate | None = None
    """Requests that failed and usually would not have."""
    slowed: Estimate | None = None
    """Requests that were answered, slower than the usual 95th percentile, and usually would not
    have been."""
    failing: Estimate | None = None
    """The same as a share of the requests of the last minutes, 0 to 1."""
    slowing: Estimate | None = None
    """The same as a share of the requests of the last minutes, 0 to 1."""
    users: Estimate | None = None
    """Users hit by a failed or slow request; None without a weight."""
    revenue: Estimate | None = None
    """Money lost, in the currency of the weight; None without a weight."""
    unknown: tuple[str, ...] = ()
    """What could not be told, and why."""


class SloKind(StrEnum):
    """What an objective promises."""

    AVAILABILITY = "availability"
    """Requests are answered without an error."""
    LATENCY = "latency"
    """Requests are answered within a threshold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Burn:
    """The burn rate in a long and a short window; 1 uses up the budget in just its window."""

    long: float
    """Seconds."""
    short: float
    """Seconds."""
    limit: float
    """Burn rate from which on it burns too fast."""
    rate: float | None = None
    """In the long window; where not all of it is known, at least this. None: nothing is known."""
    rate_now: float | None = None
    """In the short window."""
    covered: float = 0.0
    """Share of the long window that is known, 0 to 1."""

    @property
    def is_burning(self) -> bool:
        """Whether both windows are beyond the limit."""
        if self.rate is None or self.rate_now is None:
            return False
        return self.rate >= self.limit and self.rate_now >= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class SloStatus:
    """How the error budget of one objective stands."""

    name: str
    entity: EntityId
    kind: SloKind
    objective: float
    """Share of good requests that is promised, 0 to 1."""
    window: float
    """Seconds for which the budget is meant."""
    threshold: float | None = None
    """Seconds that a good request takes at most; of latency objectives."""
    burns: tuple[Burn, ...] = ()
    """Fastest first."""
    burned: float | None = None
    """Share of the budget used up in its window, at least; above 1: more than all of it."""
    by_incident: float | None = None
    """Share of the budget used up since the incident began."""
    exhausted_in: float | None = None
    """Seconds until nothing is left at the present rate, at most; None if it lasts for the whole
    window that way."""
    unknown: str = ""
    """Why it is not known, if it is not."""

    @property
    def limit(self) -> float:
        """The highest burn-rate limit that is exceeded; 0 where none is."""
        return max((one.limit for one in self.burns if one.is_burning), default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """The blast radius of an incident and the severity that follows from it."""

    severity: Severity
    score: float
    """Share of the system's business weight that is affected, 0 to 1."""
    affected: tuple[Affected, ...]
    """Abnormal ones first, then by distance and name."""
    entry_points: tuple[EntityId, ...]
    """Affected entities where users come in."""
    reasons: tuple[str, ...]
    """Why this severity, as sentences with numbers."""
    predicted: float | None = None
    """The score to expect if nothing is done, 0 to 1."""
    entries: tuple[EntryImpact, ...] = ()
    """What users met at each of the entry points."""
    failed: Estimate | None = None
    """Requests of users that failed because of it, at all entry points; None: not known."""
    slowed: Estimate | None = None
    """Requests of users that were slow because of it; None: not known."""
    users: Estimate | None = None
    revenue: Estimate | None = None
    slos: tuple[SloStatus, ...] = ()
    unknown: tuple[str, ...] = ()
    """What could not be told, and why."""

    def is_clearly_worse(self, than: Impact) -> bool:
        """Whether users met at least twice as many failures, or slow answers, as were told then.

        The lower end of the interval counts, and fewer than `_FEW` are not worth telling.
        """
        pairs = ((self.failed, than.failed), (self.slowed, than.slowed))
        return any(
            now is not None and now.low >= 2.0 * max(_FEW, then.value if then else 0.0)
            for now, then in pairs
        )


_FEW = 50.0
