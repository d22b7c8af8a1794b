"""Configuration of the impact room: what matters to the business, and when it is serious."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class SeverityShares(BaseModel):
    """From which affected share of the business weight on a severity applies, 0 to 1."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    sev1: float = Field(default=0.6, gt=0, le=1)
    """From this share on: the worst."""
    sev2: float = Field(default=0.3, gt=0, le=1)
    """From this share on: severe."""
    sev3: float = Field(default=0.1, gt=0, le=1)
    """From this share on: noticeable; below it sev4."""

    @model_validator(mode="after")
    def _descending(self) -> SeverityShares:
        if not self.sev1 >= self.sev2 >= self.sev3:
            msg = "shares must fall with the severity: sev1 >= sev2 >= sev3"
            raise ValueError(msg)
        return self


class ImpactConfig(BaseModel):
    """The `impact` section of the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    weights: dict[str, float] = Field(default_factory=dict)
    """Business weight by entity id; 0 for what nobody misses."""
    default_weight: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Weight of every other entity."""
    at_risk: float = Field(default=0.25, ge=0, le=1)
    """How much of its weight an entity counts that depends on an abnormal one but is still
    normal itself."""
    severity: SeverityShares = Field(default_factory=SeverityShares)
    """From which affected share of the business weight on a severity applies, 0 to 1."""
    entry_points: tuple[str, ...] = ()
    """Entities where users come in, besides gateways and callers that nobody calls."""

    @model_validator(mode="after")
    def _weights_not_negative(self) -> ImpactConfig:
        for entity, weight in self.weights.items():
            if not 0 <= weight < float("inf"):
                msg = f"the weight of {entity!r} is {weight}; write 0 or more"
                raise ValueError(msg)
        return self

    def weight(self, entity: str) -> float:
        """Business weight of `entity`."""
        return self.weights.get(entity, self.default_weight)
