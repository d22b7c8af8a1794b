"""When anomalies are an incident: the keys of `incidents` in the configuration."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from dos.kit.duration import Duration


class IncidentsConfig(BaseModel):
    """When anomalies are an incident."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_distance: int = Field(default=2, ge=0, le=10)
    """Abnormal entities this many calls apart, or fewer, belong together."""
    page_budget: float = Field(default=2.0, gt=0, le=1000)
    """False pages that people bear, per service and week. It sets how much evidence an incident
    takes: a larger budget finds more and sooner, a smaller one leaves people in peace."""
    together: Duration = 15.0
    """Trouble near an open incident that begins this long after its last onset, or sooner, is part
    of it. What begins later is a trouble of its own, unless the graph explains it."""
    resolve_after: Duration = 20.0
    """An incident is over when nothing in it was abnormal for this long."""
    alone_after: Duration = 60.0
    """How long a signal at twice its threshold has to last to be an incident without a second
    one; the stronger it is, the shorter."""
    stale_after: Duration = 300.0
    """An abnormal series without samples for this long no longer keeps an incident open."""
