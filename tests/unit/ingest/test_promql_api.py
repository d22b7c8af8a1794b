"""What failures of the HTTP API mean, each from a server that fails just so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dos.ingest.promql import api as promql_api
from dos.ingest.promql.api import PrometheusApi, QueryError, UnreachableError
from dos.ingest.promql.ask import ask_all
from dos.ingest.promql.connection import Connection
from dos.kit.clock import Millis
from dos.kit.errors import DosError, PermanentError, TransientError

AT = Millis(1_760_000_400_000)
EMPTY = b'{"status":"success","data":{"resultType":"vector","result":[]}}'
JSON = "Content-Type: application/json"


class Failing:
    """A loopback HTTP server that gives every request the same answer."""

    def __init__(self) -> None:
        self.status = "200 OK"
        self.headers = [JSON]
        self.body = EMPTY
        self.hangs = False
        self.requests: list[str] = []
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head.decode())
        if self.hangs:
            await reader.read()  # until the client goes away
        length = f"Content-Length: {len(self.body)}"
        lines = [f"HTTP/1.1 {self.status}", *self.headers, length, "Connection: close", "", ""]
        writer.write("\r\n".join(lines).encode() + self.body)
        writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Failing]:
    failing = Failing()
    listening = await asyncio.start_server(failing.answer, "127.0.0.1", 0)
    failing.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with listening:
        yield failing


async def query(server: Failing, **keys: Any) -> DosError:
    """The failure of one query."""
    async with PrometheusApi(Connection(url=server.url, **keys)) as api:
        with pytest.raises(DosError) as failure:
            await api.query("query x", "up", AT)
    assert str(failure.value).startswith(f"Prometheus at {server.url}: query x ")
    return failure.value


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (
            "400 Bad Request",
            b'{"status":"error","errorType":"bad_data","error":"parse error: bad"}',
            QueryError,
            "was answered 400 (parse error: bad). Correct the query.",
        ),
        (
            "422 Unprocessable Entity",
            b'{"status":"error","error":"found duplicate series"}',
            TransientError,
            "was answered 422 (found duplicate series). Correct or narrow the query.",
        ),
        (
            "401 Unauthorized",
            b"<html>Login</html>",
            PermanentError,
            "was answered 401. Check basic_auth, authorization and tenant of this source.",
        ),
        (
            "403 Forbidden",
            b"",
            PermanentError,
            "was answered 403. Check basic_auth, authorization and tenant of this source.",
        ),
        (
            "404 Not Found",
            b"",
            PermanentError,
            (
                "was answered 404. Check the url: the API lies at <url>/api/v1 "
                "(Mimir: /prometheus/api/v1)."
            ),
        ),
        (
            "503 Service Unavailable",
            b"",
            TransientError,
            "was answered 503. The server is overloaded or ill; DOS tries again.",
        ),
        (
            "200 OK",
            b"<html>Welcome</html>",
            PermanentError,
            (
                "was answered, but not in the form of the Prometheus API. "
                "Check that url is a Prometheus, not a page in front of it."
            ),
        ),
        (
            "200 OK",
            b'{"status":"success","data":{"resultType":"string","result":[1,"x"]}}',
            QueryError,
            "yields a string, not a vector. Query a metric, or wrap it in vector(…).",
        ),
    ],
)
async def test_an_answer_that_is_none(
    server: Failing, status: str, body: bytes, kind: type[DosError], message: str
) -> None:
    server.status, server.body = status, body
    error = await query(server)
    assert type(error) is kind
    assert str(error) == f"Prometheus at {server.url}: query x {message}"


async def test_the_wait_the_server_asks_for_is_passed_on(server: Failing) -> None:
    server.status, server.headers = "429 Too Many Requests", ["Retry-After: 17"]
    error = await query(server)
    assert isinstance(error, TransientError)
    assert error.retry_after == 17.0


async def test_a_redirect_is_not_followed_but_told(server: Failing) -> None:
    server.status, server.headers = "302 Found", ["Location: https://login.example.org/"]
    error = await query(server)
    assert isinstance(error, PermanentError)
    assert error.remedy == "It points to https://login.example.org/: write that into url."
    assert len(server.requests) == 1


async def test_a_slow_server_is_given_up_after_the_timeout(server: Failing) -> None:
    server.hangs = True
    error = await query(server, timeout=0.2)
    assert type(error) is TransientError
    assert "had no answer within 200ms. Make the query cheaper or raise timeout." in str(error)


async def test_an_answer_that_is_too_long_is_dropped(
    server: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promql_api, "MAX_BODY", 1 << 20)
    server.body = b"x" * ((1 << 20) + 1)
    error = await query(server)
    assert isinstance(error, QueryError)
    assert "has an answer of more than 1 MiB. Narrow or aggregate the query." in str(error)


async def test_nobody_there(free_port: int) -> None:
    async with PrometheusApi(Connection(url=f"http://127.0.0.1:{free_port}")) as api:
        with pytest.raises(UnreachableError, match=r"^Cannot reach Prometheus at http://127"):
            await api.query("query x", "up", AT)


async def test_after_the_first_dead_end_nothing_more_is_asked(free_port: int) -> None:
    asked = []
    async with PrometheusApi(Connection(url=f"http://127.0.0.1:{free_port}")) as api:

        async def ask(name: str) -> Any:
            asked.append(name)
            return await api.query(name, "up", AT)

        with pytest.raises(UnreachableError):
            await ask_all([f"q{n}" for n in range(10)], ask, concurrency=2)
    assert len(asked) <= 2


@pytest.mark.parametrize(
    ("keys", "header"),
    [
        (
            {"basic_auth": {"username": "u", "password": "s3cret"}},
            "authorization: Basic dTpzM2NyZXQ=",
        ),
        ({"authorization": {"credentials": "s3cret"}}, "authorization: Bearer s3cret"),
        ({"tenant": "team-a"}, "x-scope-orgid: team-a"),
        ({"headers": {"X-Api-Key": "s3cret"}}, "x-api-key: s3cret"),
    ],
)
async def test_credentials_are_sent_and_never_shown(
    server: Failing, keys: dict[str, Any], header: str
) -> None:
    server.status = "401 Unauthorized"
    error = await query(server, **keys)
    assert header.lower() in server.requests[0].lower()
    connection = Connection(url=server.url, **keys)
    for text in (str(error), repr(connection), connection.model_dump_json()):
        assert "s3cret" not in text


async def test_a_credentials_file_is_read_for_every_request(
    server: Failing, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    keys = {"authorization": {"credentials_file": token}}
    async with PrometheusApi(Connection(url=server.url, **keys)) as api:
        for text in ("one", "two"):
            token.write_text(f"{text}\n")
            await api.query("query x", "up", AT)
        token.unlink()
        with pytest.raises(PermanentError, match=r"Cannot read the credentials in .*token"):
            await api.query("query x", "up", AT)
    sent = [line for head in server.requests for line in head.splitlines() if "earer" in line]
    assert [line.split()[-1] for line in sent] == ["one", "two"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"url": "prometheus:9090"}, "write a URL with http:// or https://"),
        ({"url": "http://u:p@prom"}, "put them under basic_auth"),
        ({"url": "http://prom/?x=1"}, "write only scheme, host, port and path prefix"),
        (
            {"url": "http://prom", "basic_auth": {"username": "u"}},
            "give either password or password_file",
        ),
        (
            {
                "url": "http://prom",
                "basic_auth": {"username": "u", "password": "p"},
                "authorization": {"credentials": "c"},
            },
            "give basic_auth or authorization, not both",
        ),
    ],
)
def test_a_wrong_connection_says_what_to_write(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as failure:
        Connection(**keys)
    assert message in str(failure.value)
    assert "u:p@" not in str(failure.value)


def test_the_api_path_and_slashes_do_not_matter() -> None:
    for url in ("http://prom/mimir/", "http://prom/mimir", "http://prom/mimir/api/v1/"):
        assert Connection(url=url).url == "http://prom/mimir"
