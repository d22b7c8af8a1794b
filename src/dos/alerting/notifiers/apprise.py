"""Apprise: more than a hundred services (Telegram, Teams, ntfy, Matrix, SMS …), each by a URL.

Needs the extra `apprise`. What a URL looks like is said by Apprise
(https://appriseit.com/services/); the URL holds the token, so it is a secret, and errors name only
what stands before `://`.

The connections are Apprise's own, not those of `dos.alerting.outgoing`: addresses are neither
judged nor pinned, and proxies of the environment are used. Redirects are not followed where the
library can be told so and the URL does not say otherwise. What reaches nobody but the own machine
(its desktop, its log, its files) is refused.

Apprise knows success and failure, and no reason: a failure is tried again, and an idempotency key
there is none. Of several URLs only those are tried again that failed, as long as DOS runs.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from dos.alerting.channel import NotificationChannel
from dos.alerting.message import body_of, severity_of, subject_of
from dos.alerting.text import utf
from dos.kit.clock import Clock
from dos.kit.duration import Duration
from dos.kit.errors import ConfigError, TransientError
from dos.kit.plugins import Plugin
from dos.kit.secret import Secret
from dos.model.alert import AlertState, Notification
from dos.model.impact import Severity

if TYPE_CHECKING:
    import apprise

_LOCAL = frozenset(
    {
        "blink1",
        "dbus",
        "gio",
        "glib",
        "gnome",
        "kde",
        "macosx",
        "qt",
        "syslog",
        "vapid",
        "windows",
    }
)
"""Schemas that show something on the own machine, run a program there or keep files."""
_TALKATIVE = ("apprise", "oauthlib", "requests", "requests_oauthlib", "slixmpp", "urllib3")
"""Loggers that write addresses, which hold tokens."""
_TYPES = {
    Severity.SEV1: "failure",
    Severity.SEV2: "failure",
    Severity.SEV3: "warning",
    Severity.SEV4: "info",
}
_REMEMBERED = 1000
"""Notifications of which it is known where they arrived, while they are tried again elsewhere."""


class Config(BaseModel):
    """Keys of a receiver of type `apprise`."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )

    urls: Annotated[tuple[Secret, ...], Field(min_length=1)]
    """Where to send, as Apprise writes it, for example `tgram://TOKEN/CHAT` or `ntfys://TOPIC`; all
    of them are told. Kept secret, as they hold tokens."""
    timeout: Annotated[Duration, Field(gt=0, le=300)] = 30.0
    """How long one notification may take to one of the URLs. Apprise waits some seconds between
    two messages to the same service."""

    @field_validator("urls")
    @classmethod
    def _not_local(cls, value: tuple[Secret, ...]) -> tuple[Secret, ...]:
        for place, one in enumerate(value, start=1):
            found = re.match(r"\s*([A-Za-z0-9]{1,32})://", one.reveal())
            if not found:
                msg = f"number {place}: write the whole URL, for example tgram://TOKEN/CHAT"
                raise ValueError(msg)
            if found[1].lower() in _LOCAL:
                msg = f"number {place}: {found[1].lower()}:// reaches only the own machine"
                raise ValueError(msg)
        return value


class AppriseNotifier(NotificationChannel):
    """Tells each of the URLs; what Apprise calls success is success.

    Args:
        config: Which URLs.
        name: Name of the receiver, for messages.
        clock: Not used; Apprise takes the machine's time.

    Raises:
        ConfigError: Apprise is not installed, or does not understand a URL.
    """

    def __init__(self, config: Config, *, name: str, clock: Clock) -> None:
        del clock
        self._name = name
        self._targets = _targets(config, name)
        self._arrived: OrderedDict[str, set[int]] = OrderedDict()

    async def send(self, notification: Notification) -> None:
        """Tell all URLs that were not yet told of it.

        Raises:
            TransientError: At least one of them was not reached, or refused it: Apprise does not
                say which.
        """
        arrived = self._arrived.setdefault(notification.id, set())
        left = [place for place in range(len(self._targets)) if place not in arrived]
        said = await asyncio.gather(*(self._targets[place].tell(notification) for place in left))
        arrived.update(place for place, error in zip(left, said, strict=True) if not error)
        failures = [error for error in said if error]
        if not failures:
            self._arrived.pop(notification.id, None)
            return
        while len(self._arrived) > _REMEMBERED:
            self._arrived.popitem(last=False)
        msg = f"Receiver {self._name}: {'; '.join(failures)}."
        remedy = "Apprise does not say why; try the URL with its command: apprise -vv -b test URL"
        raise TransientError(msg, remedy=remedy)

    async def close(self) -> None:
        """Nothing stays open."""


class _Target:
    """One URL; messages to it go one after another, as Apprise's services are not made for more."""

    def __init__(self, service: apprise.NotifyBase, told: apprise.Apprise, within: float) -> None:
        self._schema = _schemas(service)[0]
        self._told = told
        self._turn = asyncio.Lock()
        self._within = within

    async def tell(self, notification: Notification) -> str:
        """What went wrong, or nothing."""
        try:
            async with self._turn, asyncio.timeout(self._within):
                done = await self._told.async_notify(
                    title=utf(" ".join(subject_of(notification).split())),
                    body=utf(body_of(notification).strip() or subject_of(notification)),
                    notify_type=_type(notification),
                    body_format="text",
                )
        except TimeoutError:
            return f"{self._schema}:// did not answer in time"
        except Exception as error:  # noqa: BLE001 - a service may raise anything, with its URL in it
            return f"{self._schema}:// failed ({type(error).__name__})"
        return "" if done else f"{self._schema}:// did not take it"


def _targets(config: Config, name: str) -> list[_Target]:
    """The services, made without any connection.

    Raises:
        ConfigError: Apprise is not installed, or does not understand a URL.
    """
    try:
        import apprise
    except ImportError:
        msg = f"Receiver {name}: the type apprise needs the Python package 'apprise'."
        raise ConfigError(
            msg, remedy="Install it: pip install 'dependency-ops-sentinel[apprise]'."
        ) from None
    _silence()
    asset = apprise.AppriseAsset(
        app_id="DOS", app_desc="Dependency Ops Sentinel", secure_logging=True
    )
    if hasattr(asset, "http_redirects"):
        asset.http_redirects = False
    targets: list[_Target] = []
    for place, url in enumerate(config.urls, start=1):
        # Not `add` with the text itself, which would take it apart at commas.
        service = apprise.Apprise.instantiate(url.reveal().strip(), asset=asset)
        told = apprise.Apprise(asset=asset)
        where = f"Receiver {name}: urls, number {place}"
        if service is None or not told.add(service):
            schema = url.reveal().strip().partition("://")[0]
            msg = (
                f"{where}: Apprise does not understand this URL of {schema}://, or lacks a package."
            )
            raise ConfigError(
                msg, remedy="See https://appriseit.com/services/ for how it is written."
            )
        if refused := _LOCAL.intersection(_schemas(service)):
            msg = f"{where}: {min(refused)}:// reaches only the own machine."
            raise ConfigError(msg, remedy="Use a service that reaches people elsewhere.")
        if "overflow=" not in url.reveal().lower() and service.overflow_mode == "upstream":
            # A message that is too long would be refused each time, and nobody told.
            service.overflow_mode = apprise.OverflowMode.TRUNCATE
        targets.append(_Target(service, told, config.timeout))
    return targets


def _schemas(service: apprise.NotifyBase) -> list[str]:
    """What its URLs may begin with, the encrypted ones first."""
    found: list[str] = []
    # A text, several or none, whatever Apprise's annotations say.
    for attribute in ("secure_protocol", "protocol"):
        one: object = getattr(service, attribute)
        if isinstance(one, str):
            found.append(one)
        elif isinstance(one, Iterable):
            found += [str(name) for name in one]
    return found or ["apprise"]


def _silence() -> None:
    """Keep what Apprise and its libraries log out of our logs."""
    for name in _TALKATIVE:
        logger = logging.getLogger(name)
        logger.setLevel(logging.CRITICAL + 1)
        if name == "apprise":
            logger.propagate = False


def _type(notification: Notification) -> str:
    if notification.state is AlertState.RESOLVED:
        return "success"
    return _TYPES[severity_of(notification)]


PLUGIN = Plugin(Config, AppriseNotifier)
