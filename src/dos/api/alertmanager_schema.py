"""Alertmanager's API version 2 as its description has it (`api/v2/openapi.yaml` there)."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic.alias_generators import to_camel

from dos.kit.clock import Millis, from_rfc3339, to_rfc3339
from dos.model.alert import LabelPairs, PostedAlert
from dos.model.matchers import Matcher, Operator
from dos.model.silence import Silence

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_ZERO = "0001-01-01T00:00:00"
"""How Go writes a time that is not set."""
_LONGEST = 4096


def _time(value: object) -> object:
    if value in (None, ""):
        return None
    text = str(value)
    return None if text.startswith(_ZERO) else from_rfc3339(text)


def _labels(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        if not _NAME.fullmatch(name):
            msg = f"{name!r} is not the name of a label"
            raise ValueError(msg)
        if len(text) > _LONGEST:
            msg = f"the value of {name!r} has {len(text)} characters; {_LONGEST} are the most"
            raise ValueError(msg)
    return value


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, populate_by_name=True, alias_generator=to_camel)


Time = Annotated[str | None, WithJsonSchema({"type": "string", "format": "date-time"})]
LabelSet = Annotated[dict[str, str], Field(max_length=64), AfterValidator(_labels)]


class Empty(_Model):
    """Done."""


class PostableAlert(_Model):
    """An alert as Prometheus sends it."""

    labels: LabelSet
    annotations: LabelSet = Field(default_factory=dict)
    starts_at: Time = None
    ends_at: Time = None
    generator_url: str = Field(
        default="",
        validation_alias="generatorURL",
        serialization_alias="generatorURL",
        max_length=_LONGEST,
    )

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not any(self.labels.values()):
            msg = "an alert needs at least one label"
            raise ValueError(msg)
        starts, ends = _time(self.starts_at), _time(self.ends_at)
        if isinstance(starts, int) and isinstance(ends, int) and ends < starts:
            msg = "endsAt lies before startsAt"
            raise ValueError(msg)
        return self

    def taken(self, now: Millis) -> PostedAlert:
        """As it is taken in; labels without a value are none."""
        starts, ends = _time(self.starts_at), _time(self.ends_at)
        ends_at = Millis(ends) if isinstance(ends, int) else None
        starts_at = Millis(starts) if isinstance(starts, int) else Millis(min(now, ends_at or now))
        return PostedAlert(
            labels=_pairs(self.labels),
            annotations=_pairs(self.annotations),
            starts_at=starts_at,
            ends_at=ends_at,
            updated_at=now,
            generator_url=self.generator_url,
        )


class MatcherModel(_Model):
    """A matcher of a silence."""

    name: str = Field(min_length=1, max_length=_LONGEST)
    value: str = Field(max_length=_LONGEST)
    is_regex: bool
    is_equal: bool = True

    @staticmethod
    def of(matcher: Matcher) -> MatcherModel:
        """As it is shown."""
        return MatcherModel(
            name=matcher.name,
            value=matcher.value,
            is_regex=matcher.operator.is_pattern,
            is_equal=not matcher.operator.negative,
        )

    def taken(self) -> Matcher:
        """As it is taken in.

        Raises:
            ValueError: The value is to be a regular expression and is none.
        """
        sign = {
            (False, True): Operator.EQUAL,
            (False, False): Operator.NOT_EQUAL,
            (True, True): Operator.LIKE,
            (True, False): Operator.NOT_LIKE,
        }[self.is_regex, self.is_equal]
        return Matcher(name=self.name, operator=sign, value=self.value)


class PostableSilence(_Model):
    """A silence as somebody asks for it; with an id it changes the one there is."""

    id: str = Field(default="", max_length=100)
    matchers: tuple[MatcherModel, ...] = Field(min_length=1, max_length=64)
    starts_at: Time
    ends_at: Time
    created_by: str = Field(max_length=256)
    comment: str = Field(max_length=_LONGEST)

    def taken(self, now: Millis) -> Silence:
        """As it is taken in.

        Raises:
            ValueError: A matcher or a time is wrong.
        """
        starts, ends = _time(self.starts_at), _time(self.ends_at)
        if not (isinstance(starts, int) and isinstance(ends, int)):
            msg = "a silence needs startsAt and endsAt"
            raise ValueError(msg)  # noqa: TRY004  what is wrong is the value
        return Silence(
            id=self.id,
            matchers=tuple(one.taken() for one in self.matchers),
            starts_at=Millis(starts),
            ends_at=Millis(ends),
            created_by=self.created_by,
            comment=self.comment,
            updated_at=now,
        )


class SilenceStatus(_Model):
    """Whether it holds."""

    state: str


class GettableSilence(_Model):
    """A silence as it stands."""

    id: str
    status: SilenceStatus
    updated_at: str
    comment: str
    created_by: str
    ends_at: str
    matchers: tuple[MatcherModel, ...]
    starts_at: str

    @staticmethod
    def of(silence: Silence, now: Millis) -> GettableSilence:
        """As it is shown."""
        return GettableSilence(
            id=silence.id,
            status=SilenceStatus(state=silence.state(now).value),
            updated_at=to_rfc3339(silence.updated_at),
            comment=silence.comment,
            created_by=silence.created_by,
            ends_at=to_rfc3339(silence.ends_at),
            matchers=tuple(MatcherModel.of(one) for one in silence.matchers),
            starts_at=to_rfc3339(silence.starts_at),
        )


class SilenceId(_Model):
    """Of the silence that holds from now on."""

    silence_id: str = Field(validation_alias="silenceID", serialization_alias="silenceID")


class ReceiverModel(_Model):
    """A receiver."""

    name: str


class AlertStatus(_Model):
    """Whether anybody hears of it, and what keeps it quiet."""

    inhibited_by: tuple[str, ...]
    silenced_by: tuple[str, ...]
    state: str


class GettableAlert(_Model):
    """An alert as it stands."""

    annotations: dict[str, str]
    ends_at: str
    fingerprint: str
    receivers: tuple[ReceiverModel, ...]
    starts_at: str
    status: AlertStatus
    updated_at: str
    generator_url: str = Field(validation_alias="generatorURL", serialization_alias="generatorURL")
    labels: dict[str, str]


class AlertGroup(_Model):
    """Alerts that are told together."""

    alerts: tuple[GettableAlert, ...]
    labels: dict[str, str]
    receiver: ReceiverModel


class ClusterStatus(_Model):
    """DOS forms no gossip cluster."""

    status: str = "disabled"
    peers: tuple[str, ...] = ()


class ConfigText(_Model):
    """Routes, inhibition and receivers as a configuration of Alertmanager."""

    original: str


class VersionInfo(_Model):
    """Of DOS, in the fields that Alertmanager has."""

    version: str
    revision: str = ""
    branch: str = ""
    build_user: str = ""
    build_date: str = ""
    go_version: str = ""


class AlertmanagerStatus(_Model):
    """Who answers."""

    cluster: ClusterStatus = ClusterStatus()
    version_info: VersionInfo
    config: ConfigText
    uptime: str


def _pairs(labels: dict[str, str]) -> LabelPairs:
    return tuple(sorted((name, value) for name, value in labels.items() if value))
