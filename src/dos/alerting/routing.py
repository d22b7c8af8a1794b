"""By which routes alerts go: from a file of Alertmanager's, or to every receiver."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dos.alerting.alertmanager import AlertmanagerConfig, read_alertmanager, shown, written
from dos.alerting.base import Receiver
from dos.alerting.groups import RESOLVE_TIMEOUT
from dos.alerting.inhibition import InhibitRule
from dos.alerting.routes import Route
from dos.alerting.timeinterval import TimeInterval
from dos.kit.duration import parse_duration
from dos.kit.errors import ConfigError
from dos.model.impact import Severity

NOBODY = "nobody"
"""The root's receiver where none is configured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """Routes and what belongs to them."""

    tree: Route
    inhibit: tuple[InhibitRule, ...] = ()
    intervals: Mapping[str, TimeInterval] = field(default_factory=dict)
    resolve_timeout: float = RESOLVE_TIMEOUT
    """Seconds after which an alert that nobody sends again counts as over."""
    flap_calm: float = 0.0
    """Seconds an alert that flaps has to be over before its end is told."""
    least: Mapping[str, Severity] = field(default_factory=dict)
    """Receivers that there are, with the least severity they are told about."""
    text: str = ""
    """The same as a configuration of Alertmanager; without secrets."""

    def channels(self, receiver: str) -> tuple[str, ...]:
        """Receivers of DOS that are one of the routes: of that name, or with it before a slash."""
        if receiver in self.least:
            return (receiver,)
        return tuple(one for one in self.least if one.startswith(f"{receiver}/"))


def default_routing(receivers: Iterable[Receiver]) -> Routing:
    """Everybody is told, with Alertmanager's intervals; alerts of one name are one group."""
    names = {one.name: one.min_severity for one in receivers}
    first = next(iter(names), NOBODY)
    data = {
        "route": {
            "receiver": first,
            "group_by": ["alertname"],
            "routes": [{"receiver": name, "continue": True} for name in names],
        },
        "receivers": [{"name": name} for name in names or [first]],
    }
    return _routing(AlertmanagerConfig.model_validate(data), shown(data), names)


def routing_of_file(text: str, where: str, receivers: Iterable[Receiver]) -> Routing:
    """Routes as a file of Alertmanager's has them.

    Its receivers are those of DOS with the same names; `team/mail` and `team/chat` are both `team`.
    One without any channel in the file is told
    nothing, as in Alertmanager.

    Args:
        text: The file.
        where: Its name, for errors.
        receivers: Of DOS.

    Raises:
        ConfigError: It cannot be read, or a receiver with channels is none of DOS.
    """
    config = read_alertmanager(text, where)
    names = {one.name: one.min_severity for one in receivers}
    routing = _routing(config, shown(written(text, where)), names)
    for one in config.receivers:
        if one.channels and not routing.channels(one.name):
            msg = f"{where}: DOS has no receiver {one.name!r}"
            raise ConfigError(
                msg, remedy="Add it to `alerting.receivers`; `dos config import` writes them."
            )
    return routing


def _routing(config: AlertmanagerConfig, text: str, names: Mapping[str, Severity]) -> Routing:
    timeout = config.global_.get("resolve_timeout")
    return Routing(
        tree=config.tree,
        inhibit=config.inhibit,
        intervals=config.intervals,
        resolve_timeout=RESOLVE_TIMEOUT if timeout is None else parse_duration(str(timeout)),
        least=names,
        text=text,
    )
