"""`dos simulate otlp`: the simulation's metrics, traces and logs, for whatever understands them."""

from __future__ import annotations

import asyncio
import sys
from importlib.util import find_spec
from random import Random
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from dos.cli.output import INTERRUPTED, err, plain
from dos.cli.simulate_options import (
    AtOnceOption,
    ChanceOption,
    ChangesOption,
    Dicing,
    DurationOption,
    IncidentsMode,
    IncidentsOption,
    LogsOption,
    OnlyOption,
    PaceOption,
    QuietOption,
    ScenarioOption,
    SeedOption,
    ServicesOption,
    TracesOption,
    WorldOfStoryOption,
    build,
    planned,
)

if TYPE_CHECKING:
    from dos.kit.clock import Clock
    from dos.simulate.otlp_sender import OtlpExport, Outbox
    from dos.simulate.signals import Signals

_DRAIN = 10.0
"""Seconds that what is queued gets to leave at the end."""


def otlp(  # noqa: PLR0913  each parameter is an option of the command line
    *,
    endpoint: Annotated[
        str, typer.Option(help="Base URL of the receiver, such as a collector's.")
    ] = "http://127.0.0.1:4318",
    header: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Sent along, for credentials. May be repeated."),
    ] = None,
    every: Annotated[
        float, typer.Option(help="Seconds between two exports of metrics.", min=1.0, max=3600.0)
    ] = 10.0,
    traces: TracesOption = 10,
    logs: LogsOption = 200,
    world: WorldOfStoryOption = None,
    services: ServicesOption = 50,
    seed: SeedOption = 0,
    duration: DurationOption = None,
    speed: PaceOption = 1.0,
    incidents: IncidentsOption = IncidentsMode.RANDOM,
    chance: ChanceOption = 0.1,
    quiet: QuietOption = 0.0,
    at_once: AtOnceOption = 1,
    only: OnlyOption = None,
    scenario: ScenarioOption = None,
    changes_per_day: ChangesOption = 0.0,
) -> None:
    """Send metrics, sampled traces and logs as OTLP over HTTP; tell what goes wrong meanwhile."""
    _need_extra()
    from dos.kit import log
    from dos.kit.clock import SystemClock
    from dos.simulate.signals import Amount, Signals

    log.configure("warning")
    clock = SystemClock()
    start = clock.now()
    dicing = Dicing(incidents, chance, quiet, at_once, tuple(only or ()))
    there, breaks, length = planned(
        world, services=services, seed=seed, start=start, dicing=dicing, scenario=scenario
    )
    simulation = build(there, seed, speed, start, breaks, changes_per_day)
    signals = Signals(simulation, seed=seed, amount=Amount(traces=traces, logs=logs))
    lasting = length if duration is None else duration
    try:
        asyncio.run(_send(signals, _url(endpoint), _headers(header or []), clock, every, lasting))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


async def _send(
    signals: Signals,
    endpoint: str,
    headers: dict[str, str],
    clock: Clock,
    every: float,
    lasting: float | None,
) -> None:
    import httpx2

    from dos.simulate.otlp_sender import OtlpExport, Outbox

    async with httpx2.AsyncClient(trust_env=False) as client:
        # Jitter between tries: nothing that is decided depends on it.
        rng = Random(0)  # noqa: S311  no secret
        outbox = Outbox(endpoint, client, clock, rng, headers=headers)
        export = OtlpExport(signals, outbox, every=round(every))
        err().print(plain(f"{signals.simulation.world.name} to {endpoint}"), markup=False)
        sending = asyncio.create_task(outbox.run())
        try:
            await _play(signals, export, clock, lasting)
            await asyncio.wait_for(outbox.drained(), _DRAIN)
        except TimeoutError:
            err().print("what is still queued was not sent", markup=False)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            _tell(outbox)


async def _play(signals: Signals, export: OtlpExport, clock: Clock, lasting: float | None) -> None:
    """Play a second each second, and tell what goes wrong."""
    from dos.kit.clock import SECOND
    from dos.simulate.narration import Narrator

    simulation = signals.simulation
    narrator = Narrator(simulation)
    end = None if lasting is None else simulation.now + round(lasting * SECOND)
    due = clock.monotonic()
    while end is None or simulation.now < end:
        seen = export.tick()
        for line in narrator.lines(seen.frame):
            if "🔄" not in line and "operating normally" not in line:
                sys.stdout.write(line + "\n")
                sys.stdout.flush()
        due += 1.0
        await clock.sleep(max(0.0, due - clock.monotonic()))


def _tell(outbox: Outbox) -> None:
    for kind, sent in outbox.sent.items():
        text = f"{kind}: {sent.delivered:,} delivered, {sent.rejected:,} rejected"
        err().print(f"{text}, {sent.dropped:,} dropped", markup=False)


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        msg = f"{text!r} is not a URL; write for example http://127.0.0.1:4318"
        raise typer.BadParameter(msg, param_hint="--endpoint")
    return text


def _headers(given: list[str]) -> dict[str, str]:
    pairs = [one.partition("=") for one in given]
    for name, sign, _ in pairs:
        if not name.strip() or not sign:
            msg = "write NAME=VALUE, such as Authorization=Bearer …"
            raise typer.BadParameter(msg, param_hint="--header")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _need_extra() -> None:
    """See that OpenTelemetry's messages are there.

    Raises:
        PermanentError: They are not; says how to get them.
    """
    from dos.kit.errors import PermanentError

    if find_spec("opentelemetry") is None or find_spec("opentelemetry.proto") is None:
        remedy = "Install the extra: pip install 'dependency-ops-sentinel[otlp]'."
        msg = "Sending OTLP needs opentelemetry-proto."
        raise PermanentError(msg, remedy=remedy)
