"""Email: notifications as mails through an SMTP server.

One connection per mail, encrypted unless `tls: none` says otherwise: a server that does not offer
STARTTLS gets nothing. The `Message-ID` is the same each time a notification is repeated, and all
mails about one matter refer to one id, so that mail programs show them as a thread.

Labels and annotations come from strangers. They are cleaned of control characters and escaped,
only http and https addresses become links, and the mail loads nothing from anywhere.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address, HeaderRegistry
from email.message import EmailMessage
from email.policy import SMTP as MAIL
from hashlib import blake2b
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPSenderRefused,
)
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from dos.alerting.channel import NotificationChannel
from dos.alerting.mail import SUBJECT_SHOWN, URGENT, html_of, line, text_of, worst_of
from dos.alerting.message import subject_of
from dos.kit import log
from dos.kit.clock import SECOND, Clock
from dos.kit.duration import Duration
from dos.kit.errors import PermanentError, TransientError
from dos.kit.plugins import Plugin
from dos.kit.secret import Secret
from dos.model.alert import AlertState, Notification

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")

_REPLY_SHOWN = 200
_DOMAIN_SHOWN = 40
"""An id that does not fit on one line would be folded into something that is no id."""
_QUIT_WITHIN = 2.0
"""Seconds for the goodbye: the mail is taken by then."""


def _address(text: str) -> str:
    _parsed(text)
    return text


def _parsed(text: str) -> Address:
    """One address, with or without a name: `Ops <ops@example.com>`.

    Raises:
        ValueError: It is not one; the message shows what one looks like.
    """
    try:
        header = HeaderRegistry()("to", text)
        found: tuple[Address, ...] = () if header.defects else getattr(header, "addresses", ())
    # What the standard library's parser raises on text that is no address.
    except (AttributeError, IndexError, TypeError, ValueError, MessageError):
        found = ()
    one = found[0] if len(found) == 1 else None
    if (
        one is None
        or _CONTROL.search(text + one.display_name + one.addr_spec)
        or not one.username
        or not one.addr_spec.isascii()
        or not _HOST.fullmatch(one.domain)
    ):
        msg = f"{text!r} is not one address; write for example ops@example.com (ASCII only) "
        raise ValueError(msg + "or Ops <ops@example.com>")
    return one


def _as_list(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _host(text: str) -> str:
    if not _HOST.fullmatch(text) and not _is_ip(text):
        msg = f"{text!r} is not a host name or address; the port has a key of its own"
        raise ValueError(msg)
    return text


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    if _is_ip(host):
        return ip_address(host).is_loopback
    return host.lower().rstrip(".") == "localhost"


def _no_control(text: str) -> str:
    if not text or _CONTROL.search(text):
        msg = "must be text without control characters"
        raise ValueError(msg)
    return text


MailAddress = Annotated[str, AfterValidator(_address)]


class Config(BaseModel):
    """Keys of a receiver of type `email`."""

    # What was written may hold the password, and what is wrong can be said without showing it.
    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )

    smarthost: Annotated[str, AfterValidator(_host)]
    """Host name or address of the SMTP server that takes the mails."""
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    """Its port: 587 with `tls: starttls`, mostly 465 with `implicit` and 25 with `none`."""
    to: Annotated[
        tuple[MailAddress, ...],
        BeforeValidator(_as_list, json_schema_input_type=str | tuple[str, ...]),
        Field(min_length=1),
    ]
    """Who gets the mails, for example `["oncall@example.com", "Ops <ops@example.com>"]`; each
    sees the others."""
    from_: Annotated[MailAddress, Field(alias="from")]
    """Whom the mails are from; the server must let you send as it."""
    reply_to: MailAddress | None = None
    """Where answers go, if not to `from`."""
    username: Annotated[str, AfterValidator(_no_control)] | None = None
    """User at the server; with `password`."""
    password: Secret | None = None
    """Password at the server."""
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    """How the connection is encrypted: `starttls` after it was opened, and without it nothing is
    sent; `implicit` from its first byte on; `none` not at all, and then a password is sent to the
    own machine only."""
    ca_file: Path | None = None
    """Certificates (PEM) to trust instead of the system's."""
    hello: Annotated[str, AfterValidator(_host)] | None = None
    """Name that DOS gives for itself (EHLO); by default the machine's."""
    timeout: Annotated[Duration, Field(gt=0, le=60)] = 10.0
    """How long to wait for the connection, and for each reply."""

    @model_validator(mode="after")
    def _credentials(self) -> Self:
        if (self.username is None) != (not self.password):
            msg = "username and password belong together: give either both or none of them"
            raise ValueError(msg)
        if self.password and self.tls == "none" and not _is_loopback(self.smarthost):
            msg = "tls: none would send the password readable for all; use starttls or implicit"
            raise ValueError(msg)
        return self


class EmailNotifier(NotificationChannel):
    """Sends each notification as one mail to all addresses.

    Args:
        config: Which server, from whom and to whom.
        name: Name of the receiver, shown at the end of the mail and in errors.
        clock: Gives the mail its date.
    """

    def __init__(self, config: Config, *, name: str, clock: Clock) -> None:
        self._config = config
        self._name = name
        self._clock = clock
        self._to = tuple(_parsed(one) for one in config.to)
        self._where = f"Receiver {name}: {config.smarthost}:{config.port}"
        self._log = log.get("alerting")

    async def send(self, notification: Notification) -> None:
        """Send one notification; it counts as sent when the server took it for anybody.

        Raises:
            TransientError: Unreachable, hung up, no reply in time, or a reply 4xx.
            PermanentError: A reply 5xx, no STARTTLS or login where the configuration wants it, a
                certificate that is not trusted, or nobody of `to` is accepted.
        """
        config = self._config
        content = self._mail(notification).as_bytes()
        smtp = SMTP(
            hostname=config.smarthost,
            port=config.port,
            local_hostname=config.hello,
            timeout=config.timeout,
            use_tls=config.tls == "implicit",
            start_tls=False,  # done below, where a server that has none can be told apart
            tls_context=None if config.tls == "none" else await self._trust(),
        )
        try:
            await smtp.connect()
            await self._enter(smtp)
            refused, _ = await smtp.sendmail(
                _parsed(config.from_).addr_spec, [one.addr_spec for one in self._to], content
            )
            # From here on it is sent, whatever becomes of the goodbye.
            with contextlib.suppress(SMTPException, OSError):
                await smtp.execute_command(b"QUIT", timeout=min(_QUIT_WITHIN, config.timeout))
        # Replies are told without the exception behind them: some servers repeat what they were
        # sent, and that may have been the password.
        except SMTPRecipientsRefused as error:
            raise self._nobody(error.recipients) from None
        except SMTPResponseException as error:
            raise self._refusal(error) from None
        except (SMTPException, OSError) as error:
            raise self._broken(error) from error
        finally:
            await _hang_up(smtp)
        if refused:
            replies = {to: f"{no.code} {self._said(no.message)}" for to, no in refused.items()}
            self._log.warning("recipients_refused", receiver=self._name, refused=replies)

    async def close(self) -> None:
        """Nothing to release: each mail has its own connection."""

    async def _trust(self) -> ssl.SSLContext:
        """Whom to trust; read for each mail, so that renewed certificates need no restart."""
        try:
            return await asyncio.to_thread(ssl.create_default_context, cafile=self._config.ca_file)
        except OSError as error:  # ssl.SSLError is one too
            msg = f"Receiver {self._name}: ca_file {self._config.ca_file} cannot be read: {error}."
            raise PermanentError(msg, remedy="Name a readable PEM file.") from error

    async def _enter(self, smtp: SMTP) -> None:
        """Encrypt and log in, as configured."""
        await _greet(smtp)
        config = self._config
        if config.tls == "starttls":
            if not smtp.supports_extension("starttls"):
                msg = f"{self._where} offers no STARTTLS, so nothing was sent."
                raise PermanentError(msg, remedy="Set tls: implicit (mostly port 465), or none.")
            await smtp.starttls()
            await _greet(smtp)  # what it said before may have been written by somebody between
        if config.username is None or not config.password:
            return
        ways = {"plain": smtp.auth_plain, "login": smtp.auth_login, "cram-md5": smtp.auth_crammd5}
        # One way only: a wrong password tried in three ways locks people out three times as fast.
        way = next((ways[one] for one in ways if one in smtp.server_auth_methods), None)
        if way is None:
            offered = ", ".join(smtp.server_auth_methods) or "no way to log in"
            msg = f"{self._where} offers {self._said(offered)}; needed is plain, login or cram-md5."
            raise PermanentError(msg, remedy="Leave out username and password, or check the port.")
        await way(config.username, config.password.reveal())

    def _refusal(self, error: SMTPResponseException) -> TransientError | PermanentError:
        """The server said no."""
        what, remedy = "the mail", "Ask whoever runs the server why, or name another one."
        login = isinstance(error, SMTPAuthenticationError)
        if login:
            what, remedy = "the login", "Check username and password."
        elif isinstance(error, SMTPSenderRefused):
            what = "the sender"
            remedy = "Check `from`, and whether the server wants username and password."
        msg = f"{self._where} refused {what}: {error.code} {self._said(error.message)}."
        # A failed login that is not said to be for now only is one for good, whatever the number.
        if error.code >= 500 or (login and not 400 <= error.code < 500):
            return PermanentError(msg, remedy=remedy)
        return TransientError(msg)

    def _nobody(self, refused: Sequence[SMTPResponseException]) -> TransientError | PermanentError:
        """All recipients were refused; one for now only is reason to try again."""
        first = min(refused, key=lambda one: one.code)
        said = f"{first.code} {self._said(first.message)}"
        msg = f"{self._where} refused all {len(refused)} recipients: {said}."
        if first.code >= 500:
            return PermanentError(msg, remedy="Check `to`, and whether the server sends there.")
        return TransientError(msg)

    def _broken(self, error: Exception) -> TransientError | PermanentError:
        """No connection, or it ended."""
        for cause in (error, error.__cause__):
            if isinstance(cause, ssl.SSLCertVerificationError):
                msg = (
                    f"{self._where} has a certificate that is not trusted: {cause.verify_message}."
                )
                return PermanentError(msg, remedy="Name the CA in ca_file, or check smarthost.")
            if isinstance(cause, ssl.SSLError):
                msg = f"{self._where} failed in TLS: {cause}."
                return TransientError(msg, remedy="Check that `tls` is what this port speaks.")
        return TransientError(f"{self._where} failed: {str(error).rstrip('.')}.")

    def _said(self, reply: str) -> str:
        """A reply for an error: on one line, not too long, without the password."""
        user, password = self._config.username, self._config.password
        if password:
            plain = password.reveal()
            for sent in (f"\0{user}\0{plain}", plain):
                reply = reply.replace(base64.b64encode(sent.encode()).decode(), "***")
            reply = reply.replace(plain, "***")
        return line(reply, _REPLY_SHOWN).rstrip(".")

    def _mail(self, notification: Notification) -> EmailMessage:
        mail = EmailMessage(policy=MAIL)
        sender = _parsed(self._config.from_)
        domain = sender.domain[-_DOMAIN_SHOWN:].strip("-.")
        thread = f"<{_digest('thread', self._name, notification.subject)}@{domain}>"
        own = _digest("mail", notification.id)
        mail["From"] = sender
        mail["To"] = self._to
        if self._config.reply_to:
            mail["Reply-To"] = _parsed(self._config.reply_to)
        # Python decodes encoded words that stand in a header, also those that hold a line break
        # and a further header: what begins one must not come from a stranger.
        mail["Subject"] = line(subject_of(notification), SUBJECT_SHOWN).replace("=?", "= ?")
        mail["Date"] = datetime.fromtimestamp(self._clock.now() / SECOND, UTC)
        mail["Message-ID"] = f"<{own}@{domain}>"
        mail["In-Reply-To"] = thread
        mail["References"] = thread
        mail["Auto-Submitted"] = "auto-generated"
        mail["X-DOS-Notification"] = line(notification.id, SUBJECT_SHOWN)
        if notification.state is AlertState.FIRING and worst_of(notification) in URGENT:
            mail["X-Priority"] = "1 (Highest)"
            mail["Importance"] = "high"
        # Quoted-printable: no line is too long for a server, and none needs 8-bit transport.
        mail.set_content(text_of(notification, self._name), cte="quoted-printable")
        mail.add_alternative(
            html_of(notification, self._name), subtype="html", cte="quoted-printable"
        )
        # "=_" cannot occur in quoted-printable text: nobody can write the boundary into a label.
        mail.set_boundary(f"=_{own}")
        return mail


async def _hang_up(smtp: SMTP) -> None:
    """Close the connection now, not when the server has ended TLS as well, which some never do."""
    link = smtp.transport
    smtp.close()
    if isinstance(link, asyncio.WriteTransport):
        link.abort()
        await asyncio.sleep(0)  # noqa: TID251 - the loop's next turn closes it; no time passes


async def _greet(smtp: SMTP) -> None:
    """EHLO, or HELO for servers that do not know it; those have no extensions."""
    try:
        await smtp.ehlo()
    except SMTPResponseException as error:
        if error.code not in {500, 501, 502, 504}:
            raise
        await smtp.helo()


def _digest(*parts: str) -> str:
    return blake2b("\x1f".join(parts).encode("utf-8", "replace"), digest_size=12).hexdigest()


PLUGIN = Plugin(Config, EmailNotifier)
