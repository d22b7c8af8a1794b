"""What the API answers about the models of detection and their drift."""

from __future__ import annotations

from pydantic import Field

from dos.api.wire import Number, Time, Wire
from dos.model.candidate import ModelAction
from dos.model.drift import Fit
from dos.model.ids import EntityId, IncidentId


class DriftOut(Wire):
    """Whether what was learned of a group of series still fits them."""

    group: str = Field(description="Namespace and role: `shop/latency`.")
    series: int
    fit: Fit
    stability: Number = Field(
        description="Population stability index of recent deviations; null while learning."
    )
    bias: Number = Field(description="Mean deviation in half widths of the band.")
    outside: Number = Field(description="Share of recent samples outside the band.")
    outside_before: Number
    reference_since: Time
    hint: str = Field(description="What to do; empty while it fits.")


class CandidateOut(Wire):
    """A model that can be run in shadow or promoted."""

    name: str
    made_at: Time
    origin: str
    has_network: bool


class ModelChangeOut(Wire):
    """Who changed what about models, when and why."""

    at: Time
    by: str
    action: ModelAction
    name: str | None
    previous: str | None
    note: str


class ShadowPageOut(Wire):
    """A page of the live model, or what would have been one of its shadow."""

    at: Time
    incident: IncidentId
    title: str
    entities: tuple[EntityId, ...]
    by_shadow: bool


class ShadowOut(Wire):
    """A model that runs beside the live one, without effect."""

    name: str
    since: Time
    inputs: int
    anomalies: int
    live_anomalies: int
    both: int = Field(description="Recent pages that both decided on.")
    only_shadow: int
    only_live: int
    pages: tuple[ShadowPageOut, ...]
    failure: str | None


class ModelsOut(Wire):
    """What decides, what runs beside it, and what there is."""

    live: str | None = Field(description="The promoted model; null: the configuration decides.")
    running: str | None = Field(
        description="What decides in this process; a promotion takes effect at the next start."
    )
    shadow: ShadowOut | None
    candidates: tuple[CandidateOut, ...]
    log: tuple[ModelChangeOut, ...]
