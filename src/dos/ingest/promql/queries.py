"""PromQL queries with the meaning of their answers, as presets and users write them.

Text in `promql` may hold `$range` (the window for rates), `$interval` (the step) and the
variables of the preset's variant. `$1` and the like are left for `label_replace`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from dos.kit.errors import ConfigError
from dos.model.entity import EntityKind
from dos.model.graph import EdgeKind
from dos.model.telemetry import Role

_VARIABLE = re.compile(r"\$([a-z_]+)")


class Combine(StrEnum):
    """How several answers for one series (the pods of a workload) become one value."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"
    MEAN = "mean"


class EntityRule(BaseModel):
    """Which labels name the entity an answer belongs to.

    The first label of `name` that is there and not empty gives the name. Some labels are read
    for what they are: `pod` gives its workload, `instance` its host without the port, `job` the
    part after the last slash (OpenTelemetry writes `namespace/service` there).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: tuple[str, ...] = Field(min_length=1, description="Labels that may name it, in order.")
    namespace: tuple[str, ...] = Field(
        default=(), description="Labels that may hold its namespace, in order."
    )
    kind: EntityKind = Field(default=EntityKind.UNKNOWN, description="What such entities are.")

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label the rule reads."""
        return (*self.name, *self.namespace)


def _rule(value: object) -> object:
    """A bare label, or a list of them, is a rule with just names."""
    if isinstance(value, str):
        return {"name": (value,)}
    return {"name": tuple(value)} if isinstance(value, list) else value


Rule = Annotated[EntityRule, BeforeValidator(_rule)]

USUAL = EntityRule(
    name=("service_name", "service", "workload", "deployment", "pod", "job", "instance"),
    namespace=("k8s_namespace_name", "namespace"),
)
"""For a user's own queries that do not say otherwise."""


class Query(BaseModel):
    """A query for one metric of many entities."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: str = Field(min_length=1, description="What DOS calls the metric.")
    promql: str = Field(min_length=1, description="Must yield an instant vector.")
    role: Role | None = Field(default=None, description="Else read off the metric's name.")
    unit: str = Field(default="", description="Base unit of the values; else off the name.")
    entity: Rule = Field(default=USUAL, description="Labels that name the entity.")
    labels: tuple[str, ...] = Field(default=(), description="Further labels to keep.")
    combine: Combine = Field(default=Combine.SUM, description="For several answers per series.")


class EdgeQuery(BaseModel):
    """A query each answer of which is one edge from a caller to a callee."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    promql: str = Field(min_length=1, description="Must yield an instant vector.")
    caller: Rule
    callee: Rule
    kind: EdgeKind = EdgeKind.CALL
    source: str = Field(min_length=1, description="Who says so, as shown beside the edge.")
    confidence: float = Field(default=0.9, gt=0, le=1)


class Variant(BaseModel):
    """One naming under which a preset's metrics are found in the wild."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    detects: tuple[str, ...] = Field(min_length=1, description="All of these must exist.")
    variables: dict[str, str] = Field(default_factory=dict)


class Preset(BaseModel):
    """A set of queries for one kind of exporter; one YAML file in `dos/ingest/promql/presets`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    about: str
    variants: tuple[Variant, ...] = Field(min_length=1)
    queries: tuple[Query, ...] = ()
    edges: tuple[EdgeQuery, ...] = ()

    @property
    def families(self) -> frozenset[str]:
        """Metric names that tell whether the preset fits."""
        return frozenset(name for variant in self.variants for name in variant.detects)

    def choose(self, present: Collection[str]) -> Variant | None:
        """The first variant all of whose metrics are `present`."""
        fits = (one for one in self.variants if all(name in present for name in one.detects))
        return next(fits, None)


def expand(promql: str, variables: Mapping[str, str], where: str) -> str:
    """`promql` with its `$variables` filled in, on one line.

    Raises:
        ConfigError: A variable is unknown; names it and `where` it stands.
    """

    def value(match: re.Match[str]) -> str:
        found = variables.get(match[1])
        if found is None:
            msg = f"{where}: ${match[1]} is not known in PromQL."
            raise ConfigError(msg, remedy=f"Known are ${', $'.join(sorted(variables))}.")
        return found

    return " ".join(_VARIABLE.sub(value, promql).split())
