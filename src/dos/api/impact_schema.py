"""What the API says of the impact of an incident."""

from __future__ import annotations

from pydantic import Field

from dos.api.wire import Number, Wire
from dos.model.ids import EntityId
from dos.model.impact import Severity, SloKind, Standing


class EstimateOut(Wire):
    """A number that is not known exactly, with its 90 % interval."""

    value: Number
    low: Number
    high: Number


class AffectedOut(Wire):
    """An entity that is affected or may become so."""

    entity: EntityId
    abnormal: bool
    distance: int = Field(description="Calls between it and the probable root.")
    weight: Number
    standing: Standing | None = Field(
        default=None,
        description="`asked_less`: all it shows is less traffic, nothing is wrong with it. "
        "Null in impacts stored before it was kept.",
    )
    risk: Number = Field(
        default=None,
        description="Of one at risk: how likely it shows symptoms too if nothing is done, 0 to 1.",
    )
    through: EntityId | None = Field(
        default=None, description="Of one at risk: what it uses and trouble may come from."
    )
    reason: str = Field(default="", description="Why, as a sentence.")


class EntryImpactOut(Wire):
    """What happened to the requests of users at one entry point."""

    entity: EntityId
    counted: bool = Field(
        description="False where another entry point calls it: its requests would count twice."
    )
    requests: Number = Field(description="Requests that came since the incident began.")
    failed: EstimateOut | None = Field(
        description="Requests that failed and usually would not have; null where not known."
    )
    slowed: EstimateOut | None = Field(
        description="Requests slower than the usual 95th percentile that usually would not be."
    )
    failing: EstimateOut | None = Field(
        description="Share of the requests of the last minutes that fail because of it, 0 to 1."
    )
    slowing: EstimateOut | None = Field(description="The same of slow ones.")
    users: EstimateOut | None
    revenue: EstimateOut | None
    unknown: tuple[str, ...] = Field(description="What could not be told, and why.")


class BurnOut(Wire):
    """The burn rate in a long and a short window; 1 uses up the budget in just its window."""

    long: Number = Field(description="Seconds.")
    short: Number = Field(description="Seconds.")
    limit: Number
    rate: Number = Field(description="In the long window, at least; null where not known.")
    rate_now: Number = Field(description="In the short window.")
    covered: Number = Field(description="Share of the long window that is known, 0 to 1.")
    is_burning: bool = Field(description="Whether both are beyond the limit.")


class SloOut(Wire):
    """How the error budget of one objective stands."""

    name: str
    entity: EntityId
    kind: SloKind
    objective: Number
    window: Number = Field(description="Seconds.")
    threshold: Number = Field(description="Seconds, of latency objectives.")
    burns: tuple[BurnOut, ...]
    burned: Number = Field(description="Share of the budget used up in its window, at least.")
    by_incident: Number = Field(description="Share of it used up since the incident began.")
    exhausted_in: Number = Field(
        description="Seconds until nothing is left at the present rate; null where it lasts."
    )
    unknown: str


class ImpactOut(Wire):
    """The blast radius, what users met, and the severity that follows."""

    severity: Severity
    score: Number
    affected: tuple[AffectedOut, ...]
    entry_points: tuple[EntityId, ...]
    reasons: tuple[str, ...]
    predicted: Number = Field(
        default=None, description="The score to expect if nothing is done, 0 to 1."
    )
    entries: tuple[EntryImpactOut, ...] = ()
    failed: EstimateOut | None = Field(
        default=None, description="Requests of users that failed because of it; null: not known."
    )
    slowed: EstimateOut | None = Field(
        default=None, description="Requests of users that were slow because of it."
    )
    users: EstimateOut | None = None
    revenue: EstimateOut | None = None
    slos: tuple[SloOut, ...] = ()
    unknown: tuple[str, ...] = Field(default=(), description="What could not be told, and why.")
