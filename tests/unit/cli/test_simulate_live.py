"""Breaking and mending a simulation that runs behind an exporter, from the command line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from typer.testing import CliRunner, Result

import dos.cli.simulate_door
from dos.api.app import create_app
from dos.app.simulators import PlayedSimulators
from dos.cli.main import app
from dos.cli.simulate_door import open_door
from dos.kit.clock import ManualClock
from dos.kit.errors import TransientError
from dos.kit.secret import Secret
from dos.simulate.engine import Simulation
from dos.simulate.exporter import Exporter, listen, serve
from dos.simulate.worlds import sketch
from tests.api.fake import FakeBackend, simulated
from tests.unit.simulate.runs import MONDAY_NOON


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")


@pytest.fixture
def simulation() -> Simulation:
    return Simulation(sketch(), step_seconds=1.0, start=MONDAY_NOON)


@asynccontextmanager
async def exported(simulation: Simulation, token: str | None = None) -> AsyncIterator[str]:
    control = Secret(token) if token else "anybody"
    exporter = Exporter(simulation, ManualClock(MONDAY_NOON), control=control)  # type: ignore[arg-type]
    with listen("127.0.0.1", 0) as listener:
        task = asyncio.create_task(serve(exporter, listener))
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def served(backend: FakeBackend) -> AsyncIterator[str]:
    """The API of DOS on a free port."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[FakeBackend]:
        yield backend

    config = uvicorn.Config(create_app(opened), log_level="warning", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    with listen("127.0.0.1", 0) as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        await task


async def simulate(*words: str) -> Result:
    """A command, in a thread while the exporter answers here."""
    return await asyncio.to_thread(CliRunner().invoke, app, ["simulate", *words])


async def test_break_mend_and_look(simulation: Simulation) -> None:
    async with exported(simulation) as url:
        broken = await simulate(
            "inject", "deploy-regression", "order-service", "--severity", "0.95",
            "--duration", "10m", "--url", url,
        )  # fmt: skip
        assert broken.exit_code == 0, broken.output
        assert broken.stdout.startswith("deploy_regression of order-service: severity 0.95, 600 s")
        (running,) = simulation.running
        assert running.fault.duration == 600.0
        simulation.ticks(60)
        # As it was copied from the exporter's message, path and all.
        mended = await simulate("act", "rollback", "order-service", "--url", f"{url}/faults")
        assert "rollback of order-service: removes the cause of 1 fault" in mended.stdout
        simulation.ticks(200)
        told = await simulate("truth", "--url", url)
        rows = [" ".join(line.split()) for line in told.stdout.splitlines()]
        assert any(row.startswith("12:00:0") and "deploy_regression" in row for row in rows)
        assert any("rollback order-service yes yes" in row for row in rows)


async def test_dos_is_broken_through_its_api() -> None:
    sources = simulated("east", "west")
    backend = FakeBackend(simulators=PlayedSimulators(sources))
    async with served(backend) as url:
        unsaid = await simulate("inject", "cpu_spike", "user-service", "--url", url)
        assert unsaid.exit_code == 1
        assert "Give `source`, one of: east, west" in unsaid.stderr
        words = ("--url", url, "--source", "west")
        broken = await simulate("inject", "cpu_spike", "user-service", *words)
        assert "cpu_spike of user-service: severity 0.7, 180 s" in broken.stdout
        assert "(DOS at http://127.0.0.1" in broken.stdout
        mended = await simulate("act", "restart", "user-service", *words)
        assert "removes the cause of 1 fault" in mended.stdout
        told = await simulate("truth", *words)
        assert "cpu_spike" in told.stdout
        assert "restart" in told.stdout
        other = await simulate("truth", "--url", url, "--source", "east")
        assert other.stdout.endswith("nothing went wrong so far\n")  # the API logs there too
        assert "faults that recover now: 1 (DOS" in (await simulate("clear", *words)).stdout
    assert len(sources["west"].simulation.actions) == 1
    assert sources["east"].simulation.truths == ()


async def test_a_dos_without_simulation_says_so() -> None:
    async with served(FakeBackend(simulators=None)) as url:
        result = await simulate("truth", "--url", url)
    assert result.exit_code == 1
    assert "No source of this DOS is a simulation" in result.stderr


async def test_json_is_one_document(simulation: Simulation) -> None:
    async with exported(simulation) as url:
        made = await simulate("inject", "cpu_spike", "user-service", "--url", url, "--json")
        assert json.loads(made.stdout)["target"] == "user-service"
        truth = json.loads((await simulate("truth", "--url", url, "--json")).stdout)
        assert [one["type"] for one in truth["faults"]] == ["cpu_spike"]
        assert truth["actions"] == []


async def test_clear_lets_everything_recover(simulation: Simulation) -> None:
    async with exported(simulation) as url:
        empty = await simulate("truth", "--url", url)
        assert empty.stdout == "nothing went wrong so far\n"
        for kind in ("cpu_spike", "error_rate"):
            await simulate("inject", kind, "user-service", "--url", url)
        simulation.ticks(30)
        assert (await simulate("clear", "--url", url)).stdout.startswith(
            "faults that recover now: 2 ("
        )
        simulation.ticks(30)
        assert simulation.running == ()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("inject", "flood", "user-service"), "type: Input should be 'cpu_spike'"),
        (("inject", "disk_full", "user-service"), "'user-service' cannot have the fault disk_full"),
        (("act", "scale", "user-service"), "`replicas` is for `scale`, and needed there"),
    ],
)
async def test_the_reason_of_a_refusal_is_said(
    simulation: Simulation, words: tuple[str, ...], message: str
) -> None:
    async with exported(simulation) as url:
        result = await simulate(*words, "--url", url)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert message in result.stderr


async def test_a_guarded_exporter_wants_its_token(simulation: Simulation, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("s3cret\n")
    async with exported(simulation, "s3cret") as url:
        refused = await simulate("clear", "--url", url)
        assert refused.exit_code == 1
        assert "Send Authorization: Bearer" in refused.stderr
        allowed = await simulate("clear", "--url", url, "--token-file", str(file))
        assert allowed.exit_code == 0
        assert "s3cret" not in refused.output + allowed.output


async def test_what_is_no_simulation_is_said_to_be_none() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        result = await simulate("truth", "--url", url)
    assert result.exit_code == 1
    assert "neither an exporter of the simulator nor DOS" in result.stderr


def test_the_usual_addresses_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with listen("127.0.0.1", 0) as free:
        gone = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setattr(dos.cli.simulate_door, "USUAL", (gone,))
    with pytest.raises(TransientError, match=r"No simulation answers at .*Start one with"):
        open_door(None, None)
    result = CliRunner().invoke(app, ["simulate", "clear"])
    assert result.exit_code == 1
    assert gone in result.stderr


async def test_a_door_without_actions_says_so() -> None:
    async def faults(_: Request) -> JSONResponse:
        return JSONResponse({"faults": []})

    testbed = Starlette(routes=[Route("/faults", faults)])
    config = uvicorn.Config(testbed, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    with listen("127.0.0.1", 0) as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        result = await simulate("act", "restart", "catalog", "--url", url)
        told = await simulate("truth", "--url", url)
        server.should_exit = True
        await task
    assert result.exit_code == 1
    assert "has no actions. The testbed of real processes takes faults only." in result.stderr
    assert told.stdout == "nothing went wrong so far\n"
