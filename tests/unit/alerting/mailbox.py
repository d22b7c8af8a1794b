"""SMTP servers on loopback for the tests of mails, what they took, and mails read as people do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from dos.alerting.base import AlertingConfig, Receiver
from dos.alerting.book import AlertBook
from dos.alerting.notifiers.email import Config, EmailNotifier
from dos.kit.clock import ManualClock
from dos.model.alert import Alert, AlertState, Notification
from dos.model.ids import AlertId
from dos.model.impact import Severity
from tests.unit.alerting.builders import START, at, incident, notifications, resolved

HELLO = b"220 mx\r\n"
EHLO = b"250-mx\r\n250 AUTH PLAIN LOGIN\r\n"
TAKEN = b"250 taken\r\n"
SILENCE, HANG_UP = b"", b"-"
PASSWORD = "s3cret-pass/word"
KEYS: dict[str, object] = {
    "smarthost": "127.0.0.1",
    "from": "DOS <dos@mail.example.com>",
    "to": ["oncall@example.com", "Jörg <joerg@example.com>"],
    "tls": "none",
    "hello": "dos.example.com",
    "timeout": "5s",
}


class Mailbox:
    """What arrived, and what to answer instead of 250."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.raw: list[bytes] = []
        self.to: list[list[str]] = []
        self.sender: list[str | None] = []
        self.encrypted: list[bool] = []
        self.user: list[object] = []
        self.replies: dict[str, str] = {}
        """By recipient, or `MAIL`, `DATA`."""

    async def handle_MAIL(  # noqa: N802  aiosmtpd finds it by this name
        self, _: SMTP, __: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        return self.replies.get("MAIL", "250 OK")

    async def handle_RCPT(  # noqa: N802
        self, _: SMTP, __: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        reply = self.replies.get(address, "250 OK")
        if reply.startswith("250"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, _: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        reply = self.replies.get("DATA", "250 taken")
        if reply.startswith("250"):
            content = envelope.content
            assert isinstance(content, bytes)
            self.raw.append(content)
            mail = message_from_bytes(content, policy=policy.default)
            assert isinstance(mail, EmailMessage)
            self.mails.append(mail)
            self.to.append(envelope.rcpt_tos)
            self.sender.append(envelope.mail_from)
            self.encrypted.append(session.ssl is not None)
            self.user.append(session.auth_data)
        return reply


def authenticate(_: SMTP, __: Session, ___: Envelope, mechanism: str, data: Any) -> AuthResult:
    assert isinstance(data, LoginPassword)
    right = data.login == b"dos" and data.password == PASSWORD.encode()
    return AuthResult(success=right, handled=False, auth_data=f"{mechanism} {data.login.decode()}")


def notifier(port: int, **keys: object) -> EmailNotifier:
    config = Config.model_validate({**KEYS, "port": port, **keys})
    return EmailNotifier(config, name="oncall", clock=ManualClock(START))


def life() -> list[Notification]:
    """Firing and resolved."""
    book = AlertBook(
        AlertingConfig(receivers=(Receiver(name="oncall"),), external_url="https://dos.example.com")
    )
    begun = book.observe(incident(), at(15))
    return notifications([*begun, *book.observe(resolved(incident(), at(60)), at(60))])


def alert(
    number: int = 1, state: AlertState = AlertState.FIRING, url: str = "", **facts: str
) -> Alert:
    return Alert(
        id=AlertId(f"alr-{number}"),
        fingerprint=f"{number:016}",
        state=state,
        severity=Severity.SEV3,
        labels=(("alertname", "Down"), ("instance", f"db-{number}")),
        annotations=tuple(sorted(({"summary": f"db-{number} is down"} | facts).items())),
        starts_at=at(0),
        ends_at=at(60) if state is AlertState.RESOLVED else None,
        updated_at=at(60),
        generator_url=url,
    )


def posted(*alerts: Alert, route: str = "") -> Notification:
    first, *others = alerts
    return Notification(
        id="ntf-1",
        receiver="oncall",
        alert=first,
        others=tuple(others),
        created_at=at(60),
        route=route,
        group=(("alertname", "Down"),) if route else (),
    )


def part(mail: EmailMessage, kind: str) -> str:
    found = mail.get_body((kind,))
    assert found is not None
    return str(found.get_content()).replace("\r\n", "\n")


class Tags(HTMLParser):
    """What a browser would see: tags with their attributes, and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def links(self) -> list[str | None]:
        return [attrs["href"] for tag, attrs in self.tags if tag == "a"]


@asynccontextmanager
async def scripted(*replies: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Gives one reply to the connection and to each line, then hangs up.

    `SILENCE` says nothing any more, `TAKEN` reads a whole mail first, `HANG_UP` only the line.
    """
    heard: list[bytes] = []

    tasks: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.current_task())
        for index, reply in enumerate(replies):
            if reply == TAKEN:
                heard.append(await reader.readuntil(b"\r\n.\r\n"))
            elif index:
                heard.append(await reader.readline())
            if reply == HANG_UP:
                break
            writer.write(reply)
            if reply == SILENCE:
                await reader.read()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], heard
    finally:
        server.close()
        await asyncio.gather(*filter(None, tasks))
        await server.wait_closed()
