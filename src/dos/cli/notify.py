"""`dos notify`: who is told, and whether that works."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from dos.cli.output import PROBLEM, USAGE, err, out, plain
from dos.cli.serve import ConfigOption

if TYPE_CHECKING:
    from dos.alerting.base import Notifier
    from dos.model.alert import Notification

app = typer.Typer(no_args_is_help=True, help="Receivers of the configuration; DOS need not run.")


@app.command("list")
def list_receivers(config: ConfigOption = None) -> None:
    """Show the configured receivers: name, kind, and from which severity on they are told."""
    from dos.app.settings_load import load

    receivers = load(config).settings.alerting.receivers
    for one in receivers:
        line = f"{one.title}  {one.type}  from {one.min_severity.value} on"
        out().print(plain(line), markup=False)
    if not receivers:
        out().print("no receiver: add one to `alerting.receivers`", style="dim")


@app.command("test")
def send_test(
    receiver: Annotated[str, typer.Argument(metavar="RECEIVER", help="Its name, as in the list.")],
    *,
    severity: Annotated[
        str, typer.Option(metavar="SEV", help="How bad the alert claims to be: sev1 to sev4.")
    ] = "sev3",
    config: ConfigOption = None,
) -> None:
    """Send a test alert to one receiver, and its end.

    Once, without waiting for better times: what goes wrong is shown, with what to do about it.
    """
    from dos.alerting.trial import trial
    from dos.alerting.words import Words
    from dos.app import wiring
    from dos.app.settings_load import load
    from dos.kit.clock import SystemClock
    from dos.model.impact import Severity

    settings, clock = load(config).settings, SystemClock()
    names = [one.title for one in settings.alerting.receivers]
    if receiver not in names:
        known = f"there are: {', '.join(names)}" if names else "there is none"
        err().print(plain(f"There is no receiver {receiver!r}; {known}."), style="red")
        raise typer.Exit(USAGE)
    try:
        chosen = Severity(severity)
    except ValueError:
        err().print(plain(f"{severity!r} is no severity; write sev1 to sev4."), style="red")
        raise typer.Exit(USAGE) from None
    notifier = wiring.build_notifiers(settings, clock)[receiver]
    fires, over = trial(receiver, chosen, clock.now())
    words = wiring.words_of(settings).get(receiver, Words())
    asyncio.run(_send(notifier, words.of(fires), words.of(over)))


async def _send(notifier: Notifier, *notifications: Notification) -> None:
    from dos.kit.errors import PermanentError, TransientError

    try:
        for one in notifications:
            await notifier.send(one)
            out().print(plain(f"{one.receiver}: took that it is {one.state.value}"), markup=False)
    except (PermanentError, TransientError) as error:
        err().print(plain(str(error)), style="red", markup=False)
        raise typer.Exit(PROBLEM) from None
    finally:
        await notifier.close()
