"""What a rule is: its keys, and the texts of its alerts."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from dos.kit.duration import Duration
from dos.model.matchers import checked_matchers
from dos.model.telemetry import SeriesSpec

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_FIELD = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_SPEC = re.compile(r",?(?:\.\d)?[%efgd]?")


def _templated(text: str) -> str:
    """Refuses what `fill` could not fill in."""
    for found in _FIELD.finditer(text):
        if found[0] in {"{{", "}}"}:
            continue
        inside = found[1]
        name, _, spec = (inside or "").partition(":")
        if inside is None or not _NAME.fullmatch(name):
            msg = (
                f"{found[0]!r}: write {{entity}}, {{metric}}, {{value}} or {{label}}; {{{{ for a {{"
            )
            raise ValueError(msg)
        if not _SPEC.fullmatch(spec) or (spec and name != "value"):
            msg = f"{found[0]!r}: only {{value}} has a format, such as {{value:.0%}}"
            raise ValueError(msg)
    return text


def _label_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        msg = f"{name!r} is not the name of a label"
        raise ValueError(msg)
    return name


Template = Annotated[str, Field(max_length=2000), AfterValidator(_templated)]
LabelName = Annotated[str, AfterValidator(_label_name)]


class AnomalyCondition(BaseModel):
    """How much has to be abnormal about an entity."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    score: float = Field(default=0.0, ge=0, le=1)
    """Anomalies with at least this score count."""
    metrics: int = Field(default=1, ge=1, le=1000)
    """So many different metrics have to be abnormal."""


class RuleConfig(BaseModel):
    """One rule; it has exactly one of `above`, `below`, `absent_for` and `anomaly`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    alert: LabelName
    """Name of the alert (`alertname`)."""
    metric: str = Field(default="", max_length=256)
    """Name of the metric, as `dos` shows it; a pattern such as `cpu_*` is one for several. Only a
    rule on anomalies needs none: it then looks at all."""
    entity: str = Field(default="*", min_length=1, max_length=256)
    """Whose: a pattern such as `shop/*`."""
    matchers: Annotated[str, AfterValidator(checked_matchers)] = ""
    """Which of their series, by labels, such as `code=~"5..",method!="GET"`."""
    above: float | None = Field(default=None, allow_inf_nan=False)
    """Fires where the value is greater."""
    below: float | None = Field(default=None, allow_inf_nan=False)
    """Fires where the value is less."""
    of: str = Field(default="", max_length=256)
    """A metric to divide by, for a ratio: that of the same entity with the same labels or, where
    there is none, with no labels. Nothing holds where it is 0 or five minutes old."""
    change_over: Annotated[Duration | None, Field(gt=0, le=30 * 86_400)] = None
    """Compare what changed since so long ago, as a share of what it was then: 0.5 is half as much
    again, -0.5 half. What is near 0 is better compared with `change: absolute`."""
    change: Literal["relative", "absolute"] = "relative"
    """Whether a change is a share of the value before, or the difference."""
    anomaly: AnomalyCondition | None = None
    """Fires where so much is abnormal about an entity."""
    absent_for: Annotated[Duration | None, Field(gt=0)] = None
    """Fires where a series that was there reports nothing for so long."""
    for_: Annotated[Duration, Field(alias="for", ge=0)] = 0.0
    """How long the condition has to hold."""
    keep_firing_for: Annotated[Duration, Field(ge=0)] = 0.0
    """How long it must not hold before the alert ends."""
    severity: str = Field(default="warning", min_length=1, max_length=64)
    """The label `severity`: critical, error, warning, info."""
    labels: dict[LabelName, str] = Field(default_factory=dict)
    """Further labels."""
    annotations: dict[LabelName, Template] = Field(default_factory=dict)
    """Texts, with `{entity}`, `{metric}`, `{value}` (or `{value:.0%}`) and labels of the series."""

    def names(self, spec: SeriesSpec) -> bool:
        """Whether a series has the metric and the entity that it is about; labels aside."""
        return fnmatchcase(spec.metric, self.metric or "*") and fnmatchcase(
            spec.entity, self.entity
        )

    @property
    def key(self) -> str:
        """Tells rules apart, also across restarts."""
        labels = ",".join(f"{name}={value}" for name, value in sorted(self.labels.items()))
        parts = (self.alert, self.metric, self.entity, self.matchers, self.severity, labels)
        return "/".join(parts)

    @model_validator(mode="after")
    def _one_condition(self) -> Self:
        given = [self.above, self.below, self.absent_for, self.anomaly]
        if sum(one is not None for one in given) != 1:
            msg = f"rule {self.alert}: say one of above, below, absent_for and anomaly"
            raise ValueError(msg)
        if not self.metric and self.anomaly is None:
            msg = f"rule {self.alert}: metric is missing"
            raise ValueError(msg)
        if self.above is None and self.below is None and (self.of or self.change_over):
            msg = f"rule {self.alert}: of and change_over go with above or below"
            raise ValueError(msg)
        if self.change == "absolute" and self.change_over is None:
            msg = f"rule {self.alert}: change: absolute needs change_over"
            raise ValueError(msg)
        return self


def fill(template: str, spec: SeriesSpec, value: float) -> str:
    """`template` with what is known of a series filled in; what is not known stays empty.

    >>> from dos.model.telemetry import Role
    >>> from dos.model.ids import EntityId
    >>> spec = SeriesSpec(entity=EntityId("db"), metric="cpu", role=Role.SATURATION)
    >>> fill("High CPU in {entity}: {value:.0%}", spec, 0.853)
    'High CPU in db: 85%'
    """
    facts = {**dict(spec.labels), "entity": spec.entity, "metric": spec.metric}

    def one(found: re.Match[str]) -> str:
        if found[0] in {"{{", "}}"}:
            return found[0][0]
        name, _, spec_ = (found[1] or "").partition(":")
        if name == "value":
            return format(round(value) if spec_.endswith("d") else value, spec_ or ".6g")
        return facts.get(name, "")

    return _FIELD.sub(one, template)
