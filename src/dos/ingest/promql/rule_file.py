"""Alerting rules in Prometheus's format.

https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/ ; recording rules in the
same file are left to Prometheus.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from dos.ingest.promql.rule_text import Text
from dos.kit.duration import Duration
from dos.kit.errors import ConfigError
from dos.kit.yaml_source import Document, DocumentError, Location, format_location, read

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def _label(name: str) -> str:
    if not _NAME.fullmatch(name):
        msg = f"{name!r} is not the name of a label"
        raise ValueError(msg)
    return name


def _template(text: str) -> str:
    Text.of(text)
    return text


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


_Label = Annotated[str, AfterValidator(_label)]
_Template = Annotated[str, BeforeValidator(_as_text), AfterValidator(_template)]


class Rule(BaseModel):
    """One rule of a group."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    alert: str = ""
    record: str = ""
    expr: Annotated[str, BeforeValidator(_as_text), Field(min_length=1, max_length=100_000)]
    for_: Annotated[Duration, Field(alias="for", ge=0)] = 0.0
    keep_firing_for: Annotated[Duration, Field(ge=0)] = 0.0
    labels: dict[_Label, _Template] = Field(default_factory=dict)
    annotations: dict[_Label, _Template] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if bool(self.alert) == bool(self.record):
            msg = "say either alert or record"
            raise ValueError(msg)
        return self


class Group(BaseModel):
    """Rules that are evaluated for the same time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    interval: Annotated[Duration, Field(gt=0)] = 60.0
    """Prometheus takes `global.evaluation_interval`, which is a minute unless it says otherwise."""
    query_offset: Annotated[Duration, Field(ge=0)] = 0.0
    limit: int = Field(default=0, ge=0)
    """Alerts of one rule at most; 0: any number."""
    labels: dict[_Label, str] = Field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    partial_response_strategy: str = ""
    """Of Thanos; not looked at."""


class RuleFile(BaseModel):
    """A file of rules."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    groups: tuple[Group, ...] = ()


def read_rules(paths: Sequence[str]) -> tuple[Group, ...]:
    """The groups of all files.

    Args:
        paths: Files, or patterns such as `rules/*.yml`.

    Raises:
        ConfigError: A file is missing or wrong; it says where.
    """
    groups: list[Group] = []
    for pattern in paths:
        path = Path(pattern)
        files = sorted(path.parent.glob(path.name)) if "*" in path.name else [path]
        if not files:
            msg = f"rule_files: no file matches {pattern}."
            raise ConfigError(msg, remedy="Correct the pattern, or remove it.")
        for file in files:
            groups += _read(file).groups
    return tuple(groups)


def _read(file: Path) -> RuleFile:
    try:
        document = read(file)
    except DocumentError as error:
        msg = "\n".join(str(one) for one in error.problems)
        raise ConfigError(msg) from error
    try:
        return RuleFile.model_validate(document.value)
    except ValidationError as error:
        lines = [
            f"{_place(document, one['loc'])}: {one['msg'].removeprefix('Value error, ')}"
            for one in error.errors(include_url=False)
        ]
        raise ConfigError("\n".join(lines)) from error


def _place(document: Document, location: Location) -> str:
    """`rules.yml:12:7: groups[0].rules[1].expr`."""
    path = tuple(one for one in location if one != "[key]")
    for length in range(len(path), 0, -1):
        mark = document.keys.get(path[:length])
        if mark is not None:
            where = f"{document.source}:{mark.line}:{mark.column}"
            return f"{where}: {format_location(path)}"
    return f"{document.source}: {format_location(path)}"
