"""Mails through real SMTP servers on loopback: aiosmtpd, and one whose replies are scripted."""

from __future__ import annotations

import base64
import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from pydantic import ValidationError
from structlog.testing import capture_logs

from dos.alerting.notifiers.email import Config, EmailNotifier
from dos.kit.clock import ManualClock
from dos.kit.errors import PermanentError, TransientError
from dos.model.alert import AlertState, Notification
from dos.model.impact import Severity
from tests.conftest import require_binary
from tests.unit.alerting.builders import START
from tests.unit.alerting.mailbox import (
    EHLO,
    HANG_UP,
    HELLO,
    KEYS,
    PASSWORD,
    SILENCE,
    TAKEN,
    Mailbox,
    Tags,
    alert,
    authenticate,
    life,
    notifier,
    part,
    posted,
    scripted,
)  # fmt: skip

Start = Callable[..., int]


@pytest.fixture
def box() -> Mailbox:
    return Mailbox()


@pytest.fixture
def start(box: Mailbox, free_ports: Callable[[int], list[int]]) -> Iterator[Start]:
    """Starts an SMTP server with some of aiosmtpd's settings, and gives its port."""
    running: list[Controller] = []

    def begin(**settings: Any) -> int:
        port = free_ports(1)[0]
        server = Controller(
            box, hostname="127.0.0.1", port=port, server_hostname="mx.test", **settings
        )
        server.start()
        running.append(server)
        return port

    yield begin
    for server in running:
        server.stop()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate of 127.0.0.1, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            require_binary("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=mx.test",
            "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return cert, key


@pytest.fixture
def server_tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


async def delivered(start: Start, box: Mailbox, *sent: Notification) -> list[EmailMessage]:
    channel = notifier(start())
    for one in sent:
        await channel.send(one)
    await channel.close()
    return box.mails


async def test_a_mail_says_it_as_text_and_as_html(start: Start, box: Mailbox) -> None:
    firing = life()[0]
    (mail,) = await delivered(start, box, firing)
    assert box.sender == ["dos@mail.example.com"]
    assert box.to == [["oncall@example.com", "joerg@example.com"]]
    assert mail["From"] == "DOS <dos@mail.example.com>"
    assert mail["To"] == "oncall@example.com, Jörg <joerg@example.com>"
    assert mail["Subject"] == "[FIRING sev2] Latency in payment"
    assert mail["Date"].datetime.timestamp() * 1000 == START
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["X-DOS-Notification"] == firing.id
    assert mail["X-Priority"] == "1 (Highest)"
    assert mail["Importance"] == "high"
    assert mail["Reply-To"] is None
    assert mail.get_content_type() == "multipart/alternative"
    assert [one.get_content_type() for one in mail.iter_parts()] == ["text/plain", "text/html"]
    text = part(mail, "plain")
    assert "Probable cause: payment (80%): payment latency_p95 rose 9 times." in text
    assert "  incident = inc-1\n" in text
    seen = Tags(part(mail, "html"))
    assert seen.text.split()[:2] == ["FIRING", "sev2"]
    assert "Probable cause: payment (80%)" in seen.text
    assert seen.links == ["https://dos.example.com/incidents/inc-1"]
    assert not {tag for tag, _ in seen.tags} & {"img", "link", "script", "style", "iframe"}


async def test_mails_about_one_matter_are_a_thread(start: Start, box: Mailbox) -> None:
    fired, over = life()
    first, last, other = await delivered(start, box, fired, over, posted(alert()))
    assert last["Subject"].startswith("[RESOLVED] Latency in payment, after ")
    assert first["References"] == last["References"] == first["In-Reply-To"] == last["In-Reply-To"]
    assert other["References"] != first["References"]
    ids = {one["Message-ID"] for one in (first, last, other)}
    assert len(ids) == 3
    assert first["References"] not in ids
    assert all(one.endswith("@mail.example.com>") for one in ids)
    assert last["X-Priority"] is None
    assert last["Importance"] is None


async def test_a_repeat_is_the_same_mail(start: Start, box: Mailbox) -> None:
    firing = life()[0]
    await delivered(start, box, firing, firing)
    assert box.raw[0] == box.raw[1]


async def test_receivers_have_threads_of_their_own(start: Start, box: Mailbox) -> None:
    port, firing = start(), life()[0]
    await notifier(port).send(firing)
    config = Config.model_validate({**KEYS, "port": port})
    await EmailNotifier(config, name="boss", clock=ManualClock(START)).send(firing)
    assert box.mails[0]["References"] != box.mails[1]["References"]


async def test_ids_stay_whole_under_a_long_domain(start: Start, box: Mailbox) -> None:
    domain = ".".join(["a-rather-long-part-of-a-name"] * 4) + ".example.com"
    await notifier(start(), **{"from": f"dos@{domain}"}).send(life()[0])
    for name in (b"Message-ID", b"References", b"In-Reply-To"):
        line = next(
            one for one in box.raw[0].replace(b"\r\n ", b" ").split(b"\r\n") if one.startswith(name)
        )
        assert line.split(b":", 1)[1].strip().startswith(b"<")
        assert line.endswith(b"example.com>")


@pytest.mark.parametrize(
    "hostile",
    [
        "down\r\nBcc: thief@example.net\r\n\r\nnew body",
        "down\nBcc: thief@example.net",
        "down =?utf-8?q?a=0D=0ABcc:_thief@example.net?=",
        "down =\x00?utf-8?q?a=0D=0ABcc:_thief@example.net?=",
        "down\u2028Bcc: thief@example.net",
        "=?utf-8?b?DQpCY2M6IHRoaWVmQGV4YW1wbGUubmV0?= down",
        "down \ud800 \u202egpj.exe\u202c",
    ],
)
async def test_no_header_comes_from_an_alert(start: Start, box: Mailbox, hostile: str) -> None:
    calm, bad = posted(alert(1)), posted(alert(1, summary=hostile))
    usual, mail = await delivered(start, box, calm, bad)
    assert mail.keys() == usual.keys()
    assert mail["Bcc"] is None
    assert "down" in mail["Subject"]
    assert not set("\r\n\x00\u2028\u202e") & set(str(mail["Subject"]))
    assert box.to[0] == box.to[1]
    assert len(list(mail.iter_parts())) == 2


async def test_hostile_text_is_text(start: Start, box: Mailbox) -> None:
    (calm,) = await delivered(start, box, posted(alert()))
    bad = alert(
        url="javascript:alert(1)",
        summary="<script>alert(1)</script>",
        description=f'<img src="https://evil.example/x.png">\n--{calm.get_boundary()}--\n\x1b[2J.\n.\nend',
        runbook="javascript:alert(2)",
        page='https://good.example/" onmouseover="alert(3)',
        data="data:text/html,<script>",
        wiki="https://wiki.example/a?b=1&c=2",
    )
    bad = replace(bad, labels=(("alertname", "<b>x</b>"), ("zone", "</td><a href='x'>")))
    _, mail = await delivered(start, box, posted(bad))
    assert mail.get_boundary() == calm.get_boundary(), "so a stranger could know it"
    html = part(mail, "html")
    seen = Tags(html)
    assert seen.links == ["https://wiki.example/a?b=1&c=2"]
    shown = {"html", "head", "meta", "body", "p", "span", "h2", "br", "h3", "table", "tr", "td"}
    assert {tag for tag, _ in seen.tags} <= shown | {"a", "small"}
    assert {name for _, attrs in seen.tags for name in attrs} <= {
        "charset", "name", "content", "style", "href", "rel"
    }  # fmt: skip
    for said in ("<script>alert(1)</script>", "<b>x</b>", "</td><a href='x'>", "\n.\nend"):
        assert said in seen.text
    assert "\x1b" not in html + part(mail, "plain")
    assert "\n.\nend" in part(mail, "plain")


async def test_text_of_all_scripts_and_of_any_length_arrives(start: Start, box: Mailbox) -> None:
    title = "Größe überschritten: データベース 🔥"
    long = "word " * 40_000
    first, second = await delivered(
        start,
        box,
        posted(alert(summary=title, description=title)),
        posted(alert(summary="x" * 5000, description=long)),
    )
    assert first["Subject"] == f"[FIRING sev3] {title}"
    assert title in part(first, "plain")
    assert title in part(first, "html")
    assert len(second["Subject"]) <= 201
    assert len(box.raw[1]) < 60_000
    assert all(len(line) <= 998 for raw in box.raw for line in raw.split(b"\r\n"))
    assert all(byte < 128 for raw in box.raw for byte in raw), "needs no 8-bit transport"


async def test_a_group_is_a_table(start: Start, box: Mailbox) -> None:
    states = [AlertState.FIRING, AlertState.RESOLVED]
    few = [alert(n, states[n % 2], url=f"http://prom/{n}") for n in (2, 3, 4)]
    many = [alert(n, AlertState.RESOLVED) for n in range(1, 54)]
    small, large = await delivered(start, box, posted(*few, route="{}"), posted(*many, route="{}"))
    assert small["Subject"] == "[FIRING sev3] db-2 is down (and 2 more)"
    seen = Tags(part(small, "html"))
    assert "2 firing, 1 resolved" in seen.text
    assert all(f"instance=db-{n}" in seen.text for n in (2, 3, 4))
    assert "[RESOLVED] db-3 is down" in part(small, "plain")
    assert "  alertname = Down" in part(small, "plain")
    assert "instance = " not in part(small, "plain"), "only what all of them have"
    assert {"http://prom/2", "http://prom/3", "http://prom/4"} <= set(seen.links)
    assert small["X-Priority"] is None, "sev3 is no reason to wake up"
    seen = Tags(part(large, "html"))
    assert seen.text.split()[:2] == ["RESOLVED", "sev3"]
    assert "db-50 is down" in seen.text
    assert "db-51 is down" not in seen.text
    assert "and 3 more" in seen.text


async def test_the_worst_that_fires_gives_a_group_its_priority(start: Start, box: Mailbox) -> None:
    calm, bad = alert(1), replace(alert(2), severity=Severity.SEV1)
    over = replace(bad, state=AlertState.RESOLVED)
    first, second = await delivered(
        start, box, posted(calm, bad, route="{}"), posted(calm, over, route="{}")
    )
    assert first["Importance"] == "high"
    assert second["Importance"] is None


async def test_starttls_with_a_login(
    start: Start, box: Mailbox, server_tls: ssl.SSLContext, certificate: tuple[Path, Path]
) -> None:
    port = start(
        tls_context=server_tls,
        require_starttls=True,
        auth_required=True,
        authenticator=authenticate,
    )
    keys = {"tls": "starttls", "ca_file": str(certificate[0]), "username": "dos"}
    await notifier(port, **keys, password=PASSWORD, reply_to="team@example.com").send(life()[0])
    assert box.encrypted == [True]
    assert box.user == ["PLAIN dos"]
    assert box.mails[0]["Reply-To"] == "team@example.com"

    wrong = notifier(port, **keys, password="wrong-one")
    with pytest.raises(
        PermanentError, match=rf"oncall: 127.0.0.1:{port} refused the login: 535 .*password\.$"
    ) as caught:
        await wrong.send(life()[0])
    assert "wrong-one" not in str(caught.value) + repr(caught.value)

    with pytest.raises(PermanentError, match=r"530 .*Authentication required.*Check `from`"):
        await notifier(port, tls="starttls", ca_file=str(certificate[0])).send(life()[0])
    assert len(box.mails) == 1


async def test_implicit_tls(
    start: Start, box: Mailbox, server_tls: ssl.SSLContext, certificate: tuple[Path, Path]
) -> None:
    port = start(ssl_context=server_tls)
    await notifier(port, tls="implicit", ca_file=str(certificate[0])).send(life()[0])
    assert len(box.mails) == 1
    with pytest.raises(TransientError, match="failed"):
        await notifier(port, tls="none", timeout="500ms").send(life()[0])


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_a_strange_certificate_is_refused(
    start: Start, box: Mailbox, server_tls: ssl.SSLContext, tls: str
) -> None:
    port = start(**{"tls_context" if tls == "starttls" else "ssl_context": server_tls})
    with pytest.raises(PermanentError, match=r"not trusted: self.signed certificate.*ca_file"):
        await notifier(port, tls=tls).send(life()[0])
    assert box.mails == []


async def test_a_certificate_of_another_name_is_refused(
    start: Start, box: Mailbox, server_tls: ssl.SSLContext, certificate: tuple[Path, Path]
) -> None:
    keys = {"smarthost": "localhost", "tls": "starttls", "ca_file": str(certificate[0])}
    with pytest.raises(PermanentError, match="not trusted: Hostname mismatch"):
        await notifier(start(tls_context=server_tls), **keys).send(life()[0])
    assert box.mails == []


async def test_tls_where_none_is_spoken_is_told(start: Start) -> None:
    with pytest.raises(TransientError, match=r"failed in TLS: .*what this port speaks"):
        await notifier(start(), tls="implicit").send(life()[0])


async def test_without_starttls_nothing_is_sent(start: Start, box: Mailbox) -> None:
    port = start(auth_require_tls=False, authenticator=authenticate)
    channel = notifier(port, tls="starttls", username="dos", password=PASSWORD)
    with pytest.raises(PermanentError, match="offers no STARTTLS, so nothing was sent"):
        await channel.send(life()[0])
    assert box.mails == []


async def test_a_missing_ca_file_is_told(start: Start, tmp_path: Path) -> None:
    channel = notifier(start(), tls="starttls", ca_file=str(tmp_path / "no.pem"))
    with pytest.raises(PermanentError, match=r"oncall: ca_file .*no\.pem cannot be read"):
        await channel.send(life()[0])


async def test_a_login_that_is_not_offered_is_told(start: Start, box: Mailbox) -> None:
    with pytest.raises(PermanentError, match="offers no way to log in"):
        await notifier(start(), username="dos", password=PASSWORD).send(life()[0])
    assert box.mails == []


@pytest.mark.parametrize(
    ("step", "reply", "kind"),
    [
        ("MAIL", "451 come back later", TransientError),
        ("MAIL", "553 not your address", PermanentError),
        ("DATA", "452 disk full", TransientError),
        ("DATA", "554 looks like spam", PermanentError),
    ],
)
async def test_replies(
    start: Start, box: Mailbox, step: str, reply: str, kind: type[Exception]
) -> None:
    port = start()
    box.replies = {step: reply}
    with pytest.raises(kind, match=f"Receiver oncall: 127.0.0.1:{port} refused .*{reply}"):
        await notifier(port).send(life()[0])
    box.replies = {}
    await notifier(port).send(life()[0])
    assert len(box.mails) == 1


async def test_some_recipients_refused_is_sent(start: Start, box: Mailbox) -> None:
    box.replies = {"oncall@example.com": "550 no such user"}
    with capture_logs() as logs:
        await notifier(start()).send(life()[0])
    assert box.to == [["joerg@example.com"]]
    (line,) = [one for one in logs if one["event"] == "recipients_refused"]
    assert line["log_level"] == "warning"
    assert line["receiver"] == "oncall"
    assert line["refused"] == {"oncall@example.com": "550 no such user"}


async def test_all_recipients_refused(start: Start, box: Mailbox) -> None:
    port = start()
    box.replies = dict.fromkeys(["oncall@example.com", "joerg@example.com"], "550 no such user")
    with pytest.raises(PermanentError, match=r"refused all 2 recipients: 550 no such user.*`to`"):
        await notifier(port).send(life()[0])
    # Greylisting: one of them would be taken in a while.
    box.replies["joerg@example.com"] = "450 greylisted"
    with pytest.raises(TransientError, match="refused all 2 recipients: 450 greylisted"):
        await notifier(port).send(life()[0])
    assert box.mails == []


async def test_nobody_listening_is_transient(free_port: int) -> None:
    with pytest.raises(
        TransientError, match=rf"oncall: 127.0.0.1:{free_port} failed: .*Connect call"
    ):
        await notifier(free_port).send(life()[0])


@pytest.mark.parametrize(
    "replies",
    [
        (),
        (HELLO,),
        (HELLO, EHLO, b"250 ok\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"),
        (b"421 shutting down\r\n",),
        (b"no smtp at all\r\n",),
    ],
    ids=["at once", "after the greeting", "in the mail", "421", "nonsense"],
)
async def test_a_server_that_hangs_up_is_transient(replies: tuple[bytes, ...]) -> None:
    async with scripted(*replies) as (port, _):
        with pytest.raises(TransientError, match=f"oncall: 127.0.0.1:{port} "):
            await notifier(port).send(life()[0])


@pytest.mark.parametrize("replies", [(SILENCE,), (HELLO, SILENCE), (HELLO, EHLO, SILENCE)])
async def test_silence_is_transient(replies: tuple[bytes, ...]) -> None:
    async with scripted(*replies) as (port, _):
        with pytest.raises(TransientError, match=r"127.0.0.1:\d+ failed: Timed out"):
            await notifier(port, timeout="100ms").send(life()[0])


async def test_a_greeting_that_refuses_is_permanent() -> None:
    async with scripted(b"554 go away\r\n") as (port, _):
        with pytest.raises(PermanentError, match="554 go away"):
            await notifier(port).send(life()[0])


async def test_a_mail_that_was_taken_is_sent_whatever_the_goodbye() -> None:
    ok = b"250 ok\r\n"
    async with scripted(HELLO, EHLO, ok, ok, ok, b"354 go\r\n", TAKEN, HANG_UP) as (port, heard):
        await notifier(port).send(life()[0])
    assert heard[0] == b"EHLO dos.example.com\r\n"
    assert heard[-1] == b"QUIT\r\n"


async def test_a_password_that_the_server_repeats_is_not_shown() -> None:
    plain = base64.b64encode(f"\0dos\0{PASSWORD}".encode())
    refusal = b"500 what is AUTH PLAIN " + plain + b" or " + PASSWORD.encode() + b"?\r\n"
    async with scripted(HELLO, EHLO, refusal) as (port, heard):
        channel = notifier(port, username="dos", password=PASSWORD)
        with pytest.raises(PermanentError, match="500 what is AUTH PLAIN") as caught:
            await channel.send(life()[0])
    assert heard[1] == b"AUTH PLAIN " + plain + b"\r\n", "one try with one mechanism"
    for secret in (PASSWORD, plain.decode()):
        assert secret not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


async def test_a_login_that_fails_for_now_is_transient() -> None:
    async with scripted(HELLO, EHLO, b"454 try later\r\n") as (port, _):
        with pytest.raises(TransientError, match="refused the login: 454 try later"):
            await notifier(port, username="dos", password=PASSWORD).send(life()[0])


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"to": []}, "at least 1 item"),
        ({"to": ["nobody"]}, "not one address"),
        ({"to": ["a@example.com, b@example.com"]}, "not one address"),
        ({"to": ["a@example.com\r\nBcc: x@example.net"]}, "not one address"),
        ({"to": ["a@"]}, "not one address"),
        ({"to": ["a b@example.com"]}, "not one address"),
        ({"to": ["jörg@example.com"]}, "not one address"),
        ({"from": "=?utf-8?q?a=0D=0ABcc:_x?= <dos@example.com>"}, "not one address"),
        ({"reply_to": "x@exa mple.com"}, "not one address"),
        ({"smarthost": "mx.example.com:587"}, "the port has a key of its own"),
        ({"smarthost": "mx\r\nQUIT"}, "not a host name"),
        ({"hello": "a b"}, "not a host name"),
        ({"port": 0}, "greater than or equal to 1"),
        ({"username": "dos"}, "belong together"),
        ({"password": PASSWORD}, "belong together"),
        ({"username": "d\0s", "password": PASSWORD}, "control characters"),
        (
            {"smarthost": "mx.example.com", "username": "dos", "password": PASSWORD},
            "readable for all",
        ),
        ({"bcc": "x@example.com"}, "Extra inputs"),
    ],
)
def test_what_cannot_work_is_refused(keys: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        Config.model_validate(KEYS | keys)
    assert PASSWORD not in str(caught.value)


def test_a_configuration_hides_the_password() -> None:
    config = Config.model_validate(
        KEYS | {"smarthost": "localhost", "to": "a@example.com", "username": "dos"}
        | {"password": PASSWORD}
    )  # fmt: skip
    assert config.to == ("a@example.com",)
    assert PASSWORD not in repr(config) + config.model_dump_json()
    assert Config.model_validate({**KEYS, "smarthost": "::1"}).smarthost == "::1"
