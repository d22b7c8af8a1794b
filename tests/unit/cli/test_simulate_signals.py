"""`dos simulate otlp` in front of a receiver."""

from __future__ import annotations

import asyncio
import gzip
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from typer.testing import CliRunner, Result

from dos.cli.main import app
from dos.simulate.exporter import listen

MESSAGES = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
}


class Receiver:
    """Decodes what it gets, and counts it by path."""

    def __init__(self) -> None:
        self.got: Counter[str] = Counter()
        self.tokens: set[str | None] = set()
        self.app = Starlette(
            routes=[Route(path, self._take, methods=["POST"]) for path in MESSAGES]
        )

    async def _take(self, request: Request) -> Response:
        path = request.url.path
        body = MESSAGES[path].FromString(gzip.decompress(await request.body()))
        self.got[path] += body.ByteSize()
        self.tokens.add(request.headers.get("authorization"))
        return Response(b"", media_type="application/x-protobuf")


@asynccontextmanager
async def received() -> AsyncIterator[tuple[Receiver, str]]:
    receiver = Receiver()
    config = uvicorn.Config(receiver.app, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    with listen("127.0.0.1", 0) as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        yield receiver, f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        await task


async def otlp(*words: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["simulate", "otlp", *words])


async def test_all_three_signals_arrive() -> None:
    async with received() as (receiver, url):
        result = await otlp(
            "--endpoint", url, "--header", "Authorization=Bearer t0k3n", "--every", "1",
            "--scenario", "classics", "--speed", "20", "--duration", "1m",
        )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert set(receiver.got) == set(MESSAGES)
    assert receiver.tokens == {"Bearer t0k3n"}
    # What goes wrong is told, what is as usual is not.
    assert "🚨 INCIDENT: CPU spike detected in payment-service" in result.stdout
    assert "🔄" not in result.stdout
    for kind in ("traces", "logs", "metrics"):
        (line,) = [line for line in result.stderr.splitlines() if line.startswith(f"{kind}: ")]
        assert not line.startswith(f"{kind}: 0 ")
        assert line.endswith(" delivered, 0 rejected, 0 dropped")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--endpoint", "collector:4318"), "is not a URL; write for example http://"),
        (("--header", "Authorization"), "write NAME=VALUE"),
        (("--header", "=x"), "write NAME=VALUE"),
    ],
)
async def test_wrong_usage(words: tuple[str, ...], message: str) -> None:
    result = await otlp(*words, "--duration", "1s")
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())


async def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dos.cli.simulate_signals.find_spec", lambda _: None)
    result = await otlp("--duration", "1s")
    assert result.exit_code == 1
    assert "pip install 'dependency-ops-sentinel[otlp]'" in result.stderr
