"""The terminal view: what it looks like, that it always fits, and that no name can break it.

After a wanted change: `UPDATE_SNAPSHOTS=1 pytest tests/unit/cli/test_view.py`, and look at the
difference.
"""

from __future__ import annotations

import io
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from dos.app.demo_types import Notice, NoticeKind, ViewState
from dos.cli.view import LineView, TerminalView, open_view
from dos.cli.view_format import UNICODE, duration, in_unit, lasting, percent, quantity
from dos.cli.view_screen import Screen
from dos.ingest.base import SourceHealth, SourceStatus
from dos.model.incident import IncidentReason, IncidentState
from tests.unit.cli.view_states import BUSY, CALM, NOW, OPEN, RESOLVED

SNAPSHOTS = Path(__file__).parent / "snapshots"
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


def draw(state: ViewState, width: int, height: int, encoding: str = "utf-8") -> list[str]:
    """The screen as plain lines."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, errors="strict", newline="\n")
    console = Console(file=file, width=width, height=height, force_terminal=True, color_system=None)
    console.print(Screen(state), end="")
    file.flush()
    text = raw.getvalue().decode(encoding)
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", text).split("\n")]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40)])
@pytest.mark.parametrize("name", ["busy", "calm"])
def test_looks_as_it_did(name: str, width: int, height: int) -> None:
    lines = draw({"busy": BUSY, "calm": CALM}[name], width, height)
    path = SNAPSHOTS / f"{name}_{width}x{height}.txt"
    text = "\n".join(lines) + "\n"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")
    assert len(lines) == height
    assert max(map(cell_len, lines)) <= width


def test_what_is_wrong_is_on_the_smallest_screen() -> None:
    text = "\n".join(draw(BUSY, 80, 24))
    for word in (
        "1 incident open", "payment-service", "CRITICAL", "SEV2", "inc-3f9a2c1b7d04", "78%",
        "cpu_usage rose 3.1×", "firing", "prometheus retrying", "next try in 12 s",
        "found after 12 s", "62%",
    ):  # fmt: skip
        assert word in text


def test_health_has_a_shape_and_a_word_beside_its_colour() -> None:
    lines = draw(BUSY, 120, 40)
    for shape, name, word in (
        ("■", "checkout", "CRITICAL"), ("▲", "user", "warning"), ("?", "catalog-db", "unknown"),
        ("○", "fraud-check", "idle"), ("●", "api-gateway", "ok"),
    ):  # fmt: skip
        assert any(re.match(rf"\{shape} {name} +{word}\b", line) for line in lines), name


def test_a_terminal_without_unicode_gets_ascii() -> None:
    text = "\n".join(draw(BUSY, 80, 24, encoding="ascii"))
    for words in ("X payment-service", "! user", "o api-gateway", "####", "3.1x (31 % > 96 %)"):
        assert words in text


@pytest.mark.parametrize("variable", ["NO_COLOR", "plain"])
def test_colours_can_be_refused(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    if variable == "NO_COLOR":
        monkeypatch.setenv("NO_COLOR", "1")
    file = io.StringIO()
    console = Console(file=file, width=80, height=24, force_terminal=True, color_system="standard")
    console.print(Screen(BUSY))
    coloured = re.findall(r"\x1b\[[0-9;]*\b3[1-7]m", file.getvalue())
    assert bool(coloured) is (variable == "plain")


def hostile(text: str) -> ViewState:
    entity = replace(BUSY.services[7].entity, id=text)  # type: ignore[arg-type]
    cause = OPEN.root_cause
    assert cause is not None
    top = replace(cause.ranked[0], entity=text, metric=text,  # type: ignore[arg-type]
                  evidence=(replace(cause.ranked[0].evidence[0], text=text),))  # fmt: skip
    incident = replace(OPEN, title=text, root_cause=replace(cause, ranked=(top,)))
    return replace(
        BUSY,
        services=(replace(BUSY.services[7], entity=entity), *BUSY.services),
        incidents=(incident, RESOLVED),
        notices=(Notice(at=NOW, kind=NoticeKind.FIRING, text=text),),
        sources=(SourceStatus(name=text, type="push", health=SourceHealth.FAILED, error=text),),
        truths=(replace(BUSY.truths[0], target=text, fault=text),),  # type: ignore[arg-type]
        phase=text,
    )


@given(
    st.text(max_size=30)
    | st.sampled_from(["[red]x[/red]", "a" * 5000, "\x1b[2J", "界" * 60, ":+1:"]),
    st.integers(20, 140),
    st.integers(10, 50),
)
def test_no_name_breaks_the_screen(text: str, width: int, height: int) -> None:
    lines = Screen(hostile(text)).lines(UNICODE, width, height)
    assert len(lines) == height
    for line in lines:
        line.truncate(width, overflow="ellipsis")
        assert line.cell_len <= width
        assert not CONTROL.search(line.plain)
        assert "\n" not in line.plain


def test_markup_in_names_is_shown_not_obeyed() -> None:
    assert "[red]boo[/red]" in "\n".join(draw(hostile("[red]boo[/red]"), 120, 40))


def test_the_terminal_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    file = io.StringIO()
    console = Console(file=file, width=80, height=24, force_terminal=True)

    def crash() -> None:
        with open_view(console) as view:
            assert isinstance(view, TerminalView)
            view.update(BUSY)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        crash()
    shown = file.getvalue()
    assert shown.index("\x1b[?1049h") < shown.index("payment-service") < shown.index("\x1b[?1049l")


class TestLines:
    """Off a terminal: one plain line for each event."""

    def lines(self, *states: ViewState) -> list[str]:
        file = io.StringIO()
        with open_view(Console(file=file)) as view:
            assert isinstance(view, LineView)
            for state in states:
                view.update(state)
        return file.getvalue().splitlines()

    def test_each_event_is_told_once(self) -> None:
        ended = replace(
            OPEN,
            state=IncidentState.RESOLVED,
            reason=IncidentReason.RECOVERED,
            resolved_at=NOW,
            updated_at=NOW,
        )
        over = replace(BUSY, incidents=(ended,), sources=CALM.sources)
        assert self.lines(CALM, BUSY, BUSY, over, over) == [
            "14:32:07 PHASE watching, API on http://127.0.0.1:8000",
            "14:32:07 SOURCE simulator ok",
            "14:31:15 INJECTED CPU spike in payment-service",
            (
                "14:32:07 SOURCE prometheus retrying: http://127.0.0.1:9090 refused the "
                "connection. Is Prometheus running there?"
            ),
            "14:17:27 INCIDENT inc-91bb02d6c4e8 opened: sev2 cart-cache: memory_usage",
            (
                "14:21:27 INCIDENT inc-91bb02d6c4e8 cause: 78% payment-service (cpu_usage rose "
                "3.1× (31 % → 96 %) at 14:31:15, 15 s before frontend)"
            ),
            "14:21:27 INCIDENT inc-91bb02d6c4e8 resolved: recovered after 4 min 20 s",
            (
                "14:31:27 INCIDENT inc-3f9a2c1b7d04 opened: sev2 payment-service: cpu_usage, "
                "latency_p95 and 2 more"
            ),
            (
                "14:32:02 INCIDENT inc-3f9a2c1b7d04 cause: 78% payment-service (cpu_usage rose "
                "3.1× (31 % → 96 %) at 14:31:15, 15 s before frontend)"
            ),
            "14:17:27 ALERT firing: console: SEV3 cart-cache: memory_usage",
            "14:21:27 ALERT resolved: console: SEV3 cart-cache: memory_usage",
            "14:31:29 ALERT firing: console: SEV2 payment-service: cpu_usage",
            "14:32:07 FOUND CPU spike in payment-service (found after 12 s)",
            "14:32:07 INCIDENT inc-3f9a2c1b7d04 resolved: recovered after 52 s",
        ]

    def test_no_control_characters_and_no_wrapping(self) -> None:
        lines = self.lines(hostile("\x1b[31mx\ny" + "z" * 500))
        assert lines
        assert not [line for line in lines if CONTROL.search(line)]
        assert all(re.match(r"\d\d:\d\d:\d\d [A-Z]+ ", line) for line in lines)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (quantity(0), "0"), (quantity(0.25), "0.25"), (quantity(4.04), "4.0"), (quantity(41), "41"),
        (quantity(999.7), "1.0k"), (quantity(1530), "1.5k"), (quantity(150_000), "150k"),
        (quantity(3.4e9), "3.4G"), (quantity(-2500), "-2.5k"),
        (duration(0.00085), "850µs"), (duration(0.12), "120ms"), (duration(1.1), "1.10s"),
        (duration(95), "95s"), (duration(0), "0µs"),
        (percent(0), "0%"), (percent(0.004), "0.4%"), (percent(0.12), "12%"), (percent(1), "100%"),
        (lasting(42), "42 s"), (lasting(190), "3 min 10 s"), (lasting(7500), "2 h 5 min"),
        (in_unit(1.2e9, "bytes"), "1.2GB"), (in_unit(60, "1/s"), "60/s"),
        (in_unit(float("nan"), "ratio"), "?"),
    ],
)  # fmt: skip
def test_numbers_are_short(shown: str, expected: str) -> None:
    assert shown == expected
