"""What only a real server shows: signals, connections, bytes."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from dos.api.limits import MAX_BODY

ROOT = Path(__file__).resolve().parents[2]


class Running:
    """A server process and where it listens."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "uvicorn", "--factory", "tests.api.served:make_app"]
        self.process = subprocess.Popen(
            [*command, "--port", str(port), "--log-level", "warning"], cwd=ROOT
        )

    def wait_until_ready(self) -> None:
        """Return once it answers."""
        deadline = time.monotonic() + 60
        while True:
            try:
                httpx2.get(self.url + "/healthz", timeout=5)
            except httpx2.TransportError:
                assert self.process.poll() is None, "the server ended by itself"
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.05)
            else:
                return

    def speak(self, request: bytes) -> bytes:
        """Send raw bytes and read until the server hangs up."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(request)
            answer = b""
            while piece := connection.recv(65_536):
                answer += piece
        return answer


@pytest.fixture
def running(free_port: int) -> Iterator[Running]:
    server = Running(free_port)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.process.kill()
        server.process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_open_streams_do_not_hold_up_the_end(running: Running, number: signal.Signals) -> None:
    with (
        httpx2.Client(timeout=20) as client,
        client.stream("GET", f"{running.url}/api/v1/stream?after=0") as answer,
    ):
        lines = answer.iter_lines()
        assert any(line == "id: 15" for line in lines)
        asked = time.monotonic()
        running.process.send_signal(number)
        assert not any(line.startswith("id") for line in lines)  # ends cleanly: no exception
    running.process.wait(timeout=20)
    assert time.monotonic() - asked < 10


def test_a_declared_body_is_refused_unread_and_the_connection_closed(running: Running) -> None:
    head = (
        f"POST /collect-metrics HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {MAX_BODY + 1}\r\n\r\n"
    )
    answer = running.speak(head.encode())  # and not one byte of the body
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"application/problem+json" in answer


def test_a_chunked_body_is_cut(running: Running) -> None:
    chunk = b"%x\r\n" % (1 << 20) + b" " * (1 << 20) + b"\r\n"
    head = (
        b"POST /collect-metrics HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    answer = running.speak(head + chunk * 4 + b"1\r\n \r\n")  # one byte too many, no end
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_pushing_over_loopback_needs_no_token(running: Running) -> None:
    sample = {"service": "a", "metric": "latency_p95", "value": 1}
    answer = httpx2.post(running.url + "/collect-metrics", json=[sample])
    assert answer.json()["accepted"] == 1
    assert answer.headers["x-request-id"]
