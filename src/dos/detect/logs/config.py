"""The keys of log analysis."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from dos.kit.duration import Duration


class LogsConfig(BaseModel):
    """What is looked for in the log lines of the watched system."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    every: Duration = Field(default=10.0, ge=1, le=3600)
    """Length of the stretches of time in which lines are counted."""
    warm_up: Duration = Field(default=300.0, ge=0)
    """For so long the lines of an entity are learned from only."""
    memory: Duration = Field(default=86_400.0, ge=60)
    """How far back what is usual reaches, about."""
    false_alarms: float = Field(default=1.0, gt=0, le=1000)
    """Stretches of an entity in a week that may be called unusual although they are not."""
    max_templates: int = Field(default=500, ge=10, le=10_000)
    """Of an entity; beyond these the least recently used are forgotten."""
    max_entities: int = Field(default=2000, ge=1, le=100_000)
    """Entities whose lines are looked at; those of others are counted only."""
