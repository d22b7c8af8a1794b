"""Configuration of the impact room: what matters to the business, and when it is serious."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dos.kit.duration import Duration
from dos.model.impact import Severity, SloKind

_MOST = 1_000_000_000
"""Weights beyond this are a slip."""
LEVELS = tuple(Severity)
"""The worst first."""


class Measure(StrEnum):
    """What a rule of severity looks at. Of an estimate the lower end of its interval counts."""

    SCORE = "score"
    """Affected share of the business weight, 0 to 1."""
    FAILED_SHARE = "failed_share"
    """Share of users' requests that fail because of it, in the last minutes, at the worst entry
    point."""
    SLOWED_SHARE = "slowed_share"
    """The same of those that are slow."""
    FAILED_REQUESTS = "failed_requests"
    """Requests of users that failed because of it so far."""
    SLOWED_REQUESTS = "slowed_requests"
    """The same of those that were slow."""
    USERS = "users"
    """Users hit so far."""
    REVENUE = "revenue"
    """Money lost so far."""
    BURN_RATE = "burn_rate"
    """The highest limit of `impact.burn_rates` that an objective exceeds in both its windows."""
    BUDGET_BURNED = "budget_burned"
    """Share of an error budget that is used up, of the worst objective."""


class SeverityRule(BaseModel):
    """From this much on it is at least that severe."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    measure: Measure
    """What is looked at."""
    at_least: float = Field(ge=0, allow_inf_nan=False)
    """From how much on."""
    severity: Severity
    """The incident is at least this severe then."""


class BurnRate(BaseModel):
    """A pair of windows and the burn rate that is too fast in both."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    long: Duration
    """The window that says that it matters."""
    short: Duration
    """The window that says that it goes on."""
    rate: float = Field(gt=0, allow_inf_nan=False)
    """Burn rate from which on it is too fast; 1 uses up the budget in just its window."""
    severity: str = Field(default="critical", max_length=64)
    """The label `severity` of the alert that begins then; empty: no alert."""

    @model_validator(mode="after")
    def _short_is_shorter(self) -> BurnRate:
        if not 0 < self.short <= self.long:
            msg = "short must be more than 0 and at most as long as long"
            raise ValueError(msg)
        return self


class Slo(BaseModel):
    """A service level objective."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: str = ""
    """What people call it; left out, the entity and the kind."""
    entity: str
    """Whose requests."""
    kind: SloKind = SloKind.AVAILABILITY
    """Good is what does not fail (`availability`), or what is quick enough (`latency`)."""
    objective: float = Field(gt=0, lt=1)
    """Share of good requests that is promised: `0.999`."""
    window: Duration = 30 * 86_400.0
    """For how long the error budget is meant to last."""
    threshold: Duration | None = None
    """A request that takes longer is not good; for `latency` only."""

    @model_validator(mode="after")
    def _whole(self) -> Slo:
        if self.window <= 0:
            msg = "window must be more than 0"
            raise ValueError(msg)
        if self.kind is SloKind.LATENCY and not self.threshold:
            msg = "an objective of latency needs a threshold: write for example threshold: 300ms"
            raise ValueError(msg)
        if self.kind is SloKind.AVAILABILITY and self.threshold is not None:
            msg = "threshold is for kind: latency only"
            raise ValueError(msg)
        return self

    @property
    def title(self) -> str:
        """Its name."""
        return self.name or f"{self.entity} {self.kind.value}"


class SeverityConfig(BaseModel):
    """How severe an incident is: by share of the business weight, by who feels it, by rules."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    sev1: float = Field(default=0.6, gt=0, le=1)
    """From this affected share of the business weight on: the worst."""
    sev2: float = Field(default=0.3, gt=0, le=1)
    """From this share on: severe."""
    sev3: float = Field(default=0.1, gt=0, le=1)
    """From this share on: noticeable; below it sev4."""
    felt: Severity = Severity.SEV2
    """At least this where an entry point is abnormal in errors, latency or availability."""
    unfelt: Severity = Severity.SEV3
    """At worst this by the share alone while no error, latency or availability is abnormal."""
    rules: tuple[SeverityRule, ...] = (
        SeverityRule(measure=Measure.FAILED_SHARE, at_least=0.5, severity=Severity.SEV1),
        SeverityRule(measure=Measure.FAILED_SHARE, at_least=0.05, severity=Severity.SEV2),
        SeverityRule(measure=Measure.BURN_RATE, at_least=14.4, severity=Severity.SEV2),
        SeverityRule(measure=Measure.BURN_RATE, at_least=6.0, severity=Severity.SEV2),
        SeverityRule(measure=Measure.BURN_RATE, at_least=1.0, severity=Severity.SEV3),
    )
    """The worst that applies counts; a rule never makes an incident less severe. By default: half
    of users' requests failing is sev1, 5 % sev2; error budgets that burn 6 times too fast sev2,
    those that burn slower sev3."""

    @model_validator(mode="after")
    def _descending(self) -> SeverityConfig:
        if not self.sev1 >= self.sev2 >= self.sev3:
            msg = "shares must fall with the severity: sev1 >= sev2 >= sev3"
            raise ValueError(msg)
        return self


class ImpactConfig(BaseModel):
    """The `impact` section of the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    weights: dict[str, float] = Field(default_factory=dict)
    """Business weight by entity id; 0 for what nobody misses."""
    default_weight: float = Field(default=1.0, ge=0, le=_MOST)
    """Weight of every other entity."""
    at_risk: float = Field(default=0.25, ge=0, le=1)
    """How much of its weight an entity counts that depends on an abnormal one but is still
    normal itself."""
    severity: SeverityConfig = Field(default_factory=SeverityConfig)
    """How severe an incident is."""
    entry_points: tuple[str, ...] = ()
    """Entities where users come in, besides gateways and callers that nobody calls."""
    users_per_request: dict[str, float] = Field(default_factory=dict)
    """Users that one failed or slow request stands for, by entry point: `0.2` where a user makes
    five requests in a visit."""
    default_users_per_request: float | None = Field(default=None, ge=0, le=_MOST)
    """The same of every other entry point; left out, users are not estimated."""
    revenue_per_request: dict[str, float] = Field(default_factory=dict)
    """Money that one request brings on average, by entry point."""
    default_revenue_per_request: float | None = Field(default=None, ge=0, le=_MOST)
    """The same of every other entry point; left out, money is not estimated."""
    revenue_lost_when_slow: float = Field(default=0.0, ge=0, le=1)
    """Share of it that is lost where the request was answered, but slowly."""
    currency: str = ""
    """What money is counted in, for people: `EUR`."""
    slos: tuple[Slo, ...] = ()
    """Service level objectives, whose error budgets are watched."""
    burn_rates: tuple[BurnRate, ...] = (
        BurnRate(long=3_600.0, short=300.0, rate=14.4),
        BurnRate(long=21_600.0, short=1_800.0, rate=6.0),
        BurnRate(long=259_200.0, short=21_600.0, rate=1.0, severity="warning"),
    )
    """Windows and limits of the burn rate (The Site Reliability Workbook, chapter 5, table 5-8).
    What burns faster in both windows is an alert, `ErrorBudgetBurn`."""

    @model_validator(mode="after")
    def _not_negative(self) -> ImpactConfig:
        maps = {
            "weight": self.weights,
            "users per request": self.users_per_request,
            "revenue per request": self.revenue_per_request,
        }
        for what, values in maps.items():
            for entity, value in values.items():
                if not 0 <= value <= _MOST:
                    msg = f"the {what} of {entity!r} is {value}; write 0 or more"
                    raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _titles_differ(self) -> ImpactConfig:
        titles = [slo.title for slo in self.slos]
        for title in titles:
            if titles.count(title) > 1:
                msg = f"two objectives are called {title!r}; give each a name of its own"
                raise ValueError(msg)
        return self

    def weight(self, entity: str) -> float:
        """Business weight of `entity`."""
        return self.weights.get(entity, self.default_weight)

    def users(self, entity: str) -> float | None:
        """Users per request at `entity`; None where nobody said."""
        return self.users_per_request.get(entity, self.default_users_per_request)

    def revenue(self, entity: str) -> float | None:
        """Money per request at `entity`; None where nobody said."""
        return self.revenue_per_request.get(entity, self.default_revenue_per_request)
