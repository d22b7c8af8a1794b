"""What sources that are pushed to serve, over HTTP."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from dos.api.limits import MAX_BODY
from dos.ingest.base import Delivery
from dos.ingest.endpoint import (
    Answer,
    Endpoint,
    Inlet,
    Posted,
    RefusedBodyError,
    inflate,
    no_room,
)
from dos.kit.secret import Secret
from dos.testing.sinks import RecordingSink
from tests.api.fake import FakeBackend

PATH = "/api/v1/taken"
SIGNED = "/api/v1/signed"


@pytest.fixture
def posted(backend: FakeBackend) -> Iterator[list[Posted]]:
    """What reached the handlers."""
    found: list[Posted] = []

    async def take(one: Posted) -> Answer:
        found.append(one)
        if one.query.get("full"):
            return no_room()
        return Answer(headers={"X-Written": str(len(one.body))})

    backend.endpoints[PATH] = Endpoint(path=PATH, handle=take)
    backend.endpoints[SIGNED] = Endpoint(path=SIGNED, handle=take, signed=True)
    yield found
    backend.endpoints.clear()


def test_a_body_reaches_the_source_as_it_was_sent(client: TestClient, posted: list[Posted]) -> None:
    body = gzip.compress(b"some samples")
    answer = client.post(
        f"{PATH}?a=1", content=body, headers={"Content-Encoding": "gzip", "X-What": "write"}
    )
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["x-written"] == str(len(body))
    assert answer.headers["x-request-id"]
    [one] = posted
    assert one.body == body
    assert one.headers["x-what"] == "write"
    assert one.query == {"a": "1"}


def test_without_room_the_sender_is_told_when_to_come_back(
    client: TestClient, posted: list[Posted]
) -> None:
    answer = client.post(f"{PATH}?full=1", content=b"x")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert len(posted) == 1


def test_bodies_over_the_limit_never_reach_the_source(
    client: TestClient, posted: list[Posted]
) -> None:
    declared = client.post(PATH, content=b"x" * (MAX_BODY + 1))
    pieces = client.post(PATH, content=(b"x" * 65_536 for _ in range(MAX_BODY // 65_536 + 1)))
    assert [declared.status_code, pieces.status_code] == [413, 413]
    assert posted == []
    assert client.post(PATH, content=b"x" * MAX_BODY).status_code == 204


def test_only_post(client: TestClient, posted: list[Posted]) -> None:
    answer = client.get(PATH)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert posted == []


def test_a_token_is_asked_for_where_no_signature_is_checked(
    client: TestClient, backend: FakeBackend, posted: list[Posted]
) -> None:
    backend.write_token = Secret("s3cret")
    assert client.post(PATH, content=b"x").status_code == 401
    assert client.post(PATH, content=b"x", headers={"Authorization": "Basic s3cret"}).is_error
    assert posted == []
    good = client.post(PATH, content=b"x", headers={"Authorization": "Bearer s3cret"})
    assert good.status_code == 204
    assert client.post(SIGNED, content=b"x").status_code == 204


def test_what_no_source_serves_is_not_found(client: TestClient, posted: list[Posted]) -> None:
    assert client.post("/api/v1/other", content=b"x").status_code == 404
    assert posted == []


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [(None, bytes), ("identity", bytes), ("gzip", gzip.compress), ("Deflate", zlib.compress)],
)
def test_bodies_are_inflated(encoding: str | None, pack: type[bytes]) -> None:
    plain = b"metrics " * 1000
    assert inflate(pack(plain), encoding) == plain
    with pytest.raises(RefusedBodyError) as refused:
        inflate(pack(plain), encoding, most=len(plain) - 1)
    assert refused.value.answer.status == 413


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (b"plain", "gzip", 400),
        (gzip.compress(b"x" * 100)[:-9], "gzip", 400),
        (gzip.compress(b"x") + b"more", "gzip", 400),
        (gzip.compress(bytes(1 << 26)), "gzip", 413),
        (b"x", "br", 415),
    ],
)
def test_bodies_that_cannot_be_inflated_are_refused(
    body: bytes, encoding: str, status: int
) -> None:
    with pytest.raises(RefusedBodyError) as refused:
        inflate(body, encoding)
    assert refused.value.answer.status == status
    assert refused.value.answer.body


async def test_an_inlet_takes_nothing_while_its_source_does_not_run() -> None:
    inlet = Inlet()
    assert not inlet.offer(Delivery(problems=("x",)))
    assert not await inlet.submit(Delivery(problems=("x",)))
    assert RecordingSink(capacity=0).has_room is False
