"""Alertmanager's configuration file: `alertmanager.yml` as it is written, checked as strictly.

    read_alertmanager(text) ─▶ AlertmanagerConfig ─▶ .tree (`dos.alerting.routes`), .inhibit, …

Keys have Alertmanager's names and defaults. What a receiver sends through (`slack_configs` and so
on) is kept as it is written; notifiers of DOS read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from dos.alerting.inhibition import InhibitRule
from dos.alerting.routes import EVERYTHING, Route
from dos.alerting.timeinterval import TimeInterval
from dos.kit.duration import Duration
from dos.kit.errors import ConfigError
from dos.model.matchers import Matcher, Matchers, Operator, parse_matchers

_INTEGRATIONS = (
    "discord",
    "email",
    "jira",
    "msteams",
    "msteamsv2",
    "opsgenie",
    "pagerduty",
    "pushover",
    "rocketchat",
    "slack",
    "sns",
    "telegram",
    "victorops",
    "webex",
    "webhook",
    "wechat",
)


class _Loader(yaml.SafeLoader):
    """Plain scalars are text, as for Alertmanager, which knows what each key is to be.

    Else a time interval could not be called `off`.
    """


_Loader.yaml_implicit_resolvers = {
    sign: [(tag, pattern) for tag, pattern in known if tag.endswith((":null", ":merge"))]
    for sign, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _matchers(value: object) -> Matchers:
    """A list of texts, of which each may hold several."""
    if not isinstance(value, (list, tuple)):
        msg = 'a list of matchers is expected, such as [severity="page"]'
        raise ValueError(msg)  # noqa: TRY004  pydantic reports ValueError, not TypeError, per field
    found: list[Matcher] = []
    for one in value:
        found += [one] if isinstance(one, Matcher) else parse_matchers(str(one))
    return tuple(found)


_Matchers = Annotated[Matchers, BeforeValidator(_matchers)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _old_style(equal: Mapping[str, str], like: Mapping[str, str], matchers: Matchers) -> Matchers:
    """Old and new ways to write matchers together, in the order in which Alertmanager has them."""
    found = [
        *(Matcher(name=k, operator=Operator.EQUAL, value=v) for k, v in equal.items()),
        *(Matcher(name=k, operator=Operator.LIKE, value=v) for k, v in like.items()),
        *matchers,
    ]
    return tuple(sorted(found, key=lambda one: (one.name, one.value, one.operator)))


class RouteConfig(_Strict):
    """A route as it is written; what is None comes from above."""

    receiver: str | None = None
    group_by: tuple[str, ...] | None = None
    continue_: bool = Field(default=False, alias="continue")
    match: dict[str, str] = Field(default_factory=dict)
    match_re: dict[str, str] = Field(default_factory=dict)
    matchers: _Matchers = ()
    group_wait: Duration | None = None
    group_interval: Duration | None = None
    repeat_interval: Duration | None = None
    mute_time_intervals: tuple[str, ...] = ()
    active_time_intervals: tuple[str, ...] = ()
    routes: tuple[RouteConfig, ...] = ()

    @model_validator(mode="after")
    def _sound(self) -> Self:
        names = self.group_by or ()
        if EVERYTHING in names and len(names) > 1:
            msg = f"group_by: {EVERYTHING!r} groups by all labels; it stands alone"
            raise ValueError(msg)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            msg = f"group_by: {twice[0]!r} is there twice"
            raise ValueError(msg)
        for name in ("group_interval", "repeat_interval"):
            if getattr(self, name) == 0:
                msg = f"{name} cannot be zero"
                raise ValueError(msg)
        return self

    @property
    def when(self) -> Matchers:
        """All of its matchers."""
        return _old_style(self.match, self.match_re, self.matchers)

    def built(self, above: Route | None) -> Route:
        """The route with what it has from the one above."""
        base = above or Route(receiver="")
        matchers = self.when
        own = "{" + ",".join(str(one) for one in matchers) + "}"
        route = Route(
            receiver=self.receiver or base.receiver,
            group_by=base.group_by if self.group_by is None else frozenset(self.group_by),
            group_by_all=(
                base.group_by_all if self.group_by is None else EVERYTHING in self.group_by
            ),
            group_wait=base.group_wait if self.group_wait is None else self.group_wait,
            group_interval=self.group_interval or base.group_interval,
            repeat_interval=self.repeat_interval or base.repeat_interval,
            matchers=matchers,
            mute_time_intervals=self.mute_time_intervals,
            active_time_intervals=self.active_time_intervals,
            goes_on=self.continue_,
            path=own if above is None else f"{above.path}/{own}",
        )
        return replace(route, routes=tuple(child.built(route) for child in self.routes))


class InhibitConfig(_Strict):
    """A rule of inhibition as it is written."""

    source_match: dict[str, str] = Field(default_factory=dict)
    source_match_re: dict[str, str] = Field(default_factory=dict)
    source_matchers: _Matchers = ()
    target_match: dict[str, str] = Field(default_factory=dict)
    target_match_re: dict[str, str] = Field(default_factory=dict)
    target_matchers: _Matchers = ()
    equal: tuple[str, ...] = ()

    def built(self) -> InhibitRule:
        """The rule."""
        return InhibitRule(
            source=_old_style(self.source_match, self.source_match_re, self.source_matchers),
            target=_old_style(self.target_match, self.target_match_re, self.target_matchers),
            equal=self.equal,
        )


class ReceiverConfig(BaseModel):
    """Who is told, and through what; the channels' own keys are left as they are written."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(min_length=1)

    @model_validator(mode="after")
    def _known(self) -> Self:
        known = {f"{one}_configs" for one in _INTEGRATIONS}
        for key, value in (self.model_extra or {}).items():
            if key not in known:
                msg = f"receiver {self.name!r}: {key!r} is not a kind of channel"
                raise ValueError(msg)
            if value is not None and not isinstance(value, list):
                msg = f"receiver {self.name!r}: {key} is a list"
                raise ValueError(msg)
        return self

    @property
    def channels(self) -> tuple[tuple[str, Mapping[str, Any]], ...]:
        """Kind (`slack`) and keys of each, in the order of Alertmanager's kinds."""
        extra = self.model_extra or {}
        return tuple(
            (kind, one or {})
            for kind in _INTEGRATIONS
            for one in extra.get(f"{kind}_configs") or ()
        )


class AlertmanagerConfig(_Strict):
    """The whole file."""

    global_: dict[str, Any] = Field(default_factory=dict, alias="global")
    templates: tuple[str, ...] = ()
    route: RouteConfig
    inhibit_rules: tuple[InhibitConfig, ...] = ()
    receivers: tuple[ReceiverConfig, ...] = ()
    time_intervals: tuple[TimeInterval, ...] = ()
    mute_time_intervals: tuple[TimeInterval, ...] = ()
    """Their older name."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        root, names = self.route, [one.name for one in self.receivers]
        _once(names, "receiver")
        intervals = (*self.time_intervals, *self.mute_time_intervals)
        _once([one.name for one in intervals], "time interval")
        if root.receiver is None:
            msg = "route: the root needs a receiver"
            raise ValueError(msg)
        if root.when:
            msg = "route: the root takes every alert and cannot have matchers"
            raise ValueError(msg)
        if root.continue_:
            msg = "route: the root cannot say `continue`"
            raise ValueError(msg)
        if root.mute_time_intervals or root.active_time_intervals:
            msg = "route: the root cannot be muted or active at times"
            raise ValueError(msg)
        for route in self.tree.walk():
            if route.receiver not in names:
                msg = f"route {route.path}: there is no receiver {route.receiver!r}"
                raise ValueError(msg)
            for name in (*route.mute_time_intervals, *route.active_time_intervals):
                if name not in self.intervals:
                    msg = f"route {route.path}: there is no time interval {name!r}"
                    raise ValueError(msg)
        return self

    @property
    def intervals(self) -> Mapping[str, TimeInterval]:
        """Time intervals by name."""
        return {one.name: one for one in (*self.mute_time_intervals, *self.time_intervals)}

    @property
    def tree(self) -> Route:
        """The root of the routes."""
        return self.route.built(None)

    @property
    def inhibit(self) -> tuple[InhibitRule, ...]:
        """The rules of inhibition."""
        return tuple(one.built() for one in self.inhibit_rules)


def _once(names: Sequence[str], what: str) -> None:
    for name in names:
        if names.count(name) > 1:
            msg = f"two {what}s are called {name!r}; give one of them another name"
            raise ValueError(msg)


def written(text: str, where: str = "alertmanager.yml") -> dict[str, Any]:
    """What the file says, unchecked; scalars are text.

    Raises:
        ConfigError: It is no YAML, or no mapping.
    """
    try:
        data = yaml.load(text, _Loader)  # noqa: S506  a safe loader with fewer types
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not YAML: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: a mapping with `route` and `receivers` is expected.")
    return data


def shown(data: Mapping[str, Any]) -> str:
    """A file of Alertmanager's with what `written` found but for channels, which hold secrets."""
    kept: dict[str, Any] = {}
    timeout = (data.get("global") or {}).get("resolve_timeout")
    if timeout is not None:
        kept["global"] = {"resolve_timeout": timeout}
    for key in ("route", "inhibit_rules", "mute_time_intervals", "time_intervals"):
        if data.get(key):
            kept[key] = _typed(data[key])
    kept["receivers"] = [{"name": one["name"]} for one in data.get("receivers") or ()]
    return yaml.safe_dump(kept, sort_keys=False)


def _typed(value: Any) -> Any:
    """With what is no text for Alertmanager as what it is."""
    if isinstance(value, Mapping):
        return {
            key: str(one).lower() == "true" if key == "continue" else _typed(one)
            for key, one in value.items()
        }
    return [_typed(one) for one in value] if isinstance(value, list) else value


def read_alertmanager(text: str, where: str = "alertmanager.yml") -> AlertmanagerConfig:
    """Read a configuration file of Alertmanager.

    Args:
        text: The file.
        where: Its name, for errors.

    Raises:
        ConfigError: It is no YAML, or something in it is unknown or wrong; the message says what
            and where.
    """
    data = written(text, where)
    try:
        return AlertmanagerConfig.model_validate(data)
    except ValidationError as error:
        lines = []
        for one in error.errors():
            path = ".".join(str(part) for part in one["loc"]) or "file"
            lines.append(f"{path}: {one['msg'].removeprefix('Value error, ')}")
        raise ConfigError(f"{where}: " + "; ".join(lines)) from error
