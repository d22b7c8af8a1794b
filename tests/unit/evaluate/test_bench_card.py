"""From flights to figures, and how the card is written."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from dos.cli.bench_report import render
from dos.evaluate.bench.card import SCORE_CARD, Figure, ScoreCard, TypeFigure
from dos.evaluate.bench.markdown import markdown
from dos.evaluate.bench.outcome import Contender
from dos.evaluate.bench.page import page
from dos.evaluate.bench.resample import Estimate
from dos.evaluate.bench.tables import Unit, number, show, summary, tables
from tests.unit.evaluate.bench_flown import BATCH, CPU, LEAK, card, results

CARD = card()
MINE = CARD.of(Contender.PIPELINE)


def value(figure: Figure) -> float | None:
    return MINE.figures[figure].value


class TestFigures:
    def test_detection(self) -> None:
        assert (MINE.faults, MINE.found, MINE.false_busy) == (8, 6, 1)
        assert value(Figure.PRECISION) == pytest.approx(6 / 7)
        assert value(Figure.RECALL) == pytest.approx(6 / 8)
        assert value(Figure.F1) == pytest.approx(2 * 6 / (6 + 1 + 8))

    def test_every_type_counts_the_same_in_the_mean(self) -> None:
        cpu, leak = 2 * 4 / (4 + 0 + 4), 2 * 2 / (2 + 1 + 4)
        assert value(Figure.MACRO_F1) == pytest.approx((cpu + leak) / 2)

    def test_faults_alone_and_at_once(self) -> None:
        assert value(Figure.RECALL_ALONE) == pytest.approx(5 / 6)
        assert value(Figure.RECALL_AT_ONCE) == pytest.approx(1 / 2)
        assert (MINE.absorbed, MINE.invisible) == (1, 1)

    def test_delays(self) -> None:
        assert MINE.delays == (10.0, 20.0, 30.0, 40.0, 60.0, 90.0)
        assert value(Figure.DELAY_MEDIAN) == 30.0
        assert value(Figure.DELAY_P95) == 90.0
        assert value(Figure.SEEN_MEDIAN) == 25.0

    def test_root_causes_are_counted_among_the_faults_found(self) -> None:
        assert value(Figure.AC1) == pytest.approx(4 / 6)
        assert value(Figure.AC3) == pytest.approx(5 / 6)
        assert value(Figure.AVG5) == pytest.approx((4 * 1.0 + 0.8 + 0.0) / 6)
        assert value(Figure.AC1_TOLD) == pytest.approx(5 / 6)

    def test_and_among_all_faults(self) -> None:
        assert value(Figure.AC1_OF_ALL) == pytest.approx(4 / 8)

    def test_calibration(self) -> None:
        assert value(Figure.ECE_FIRST) == pytest.approx(abs(0.9 - 0.5))
        assert value(Figure.ECE_UNKNOWN) == pytest.approx(0.025)
        assert value(Figure.NAMED) == 1.0
        assert value(Figure.RIGHT_WHEN_NAMED) == 0.5
        (one,) = MINE.reliability
        assert (one.claims, one.given, one.right) == (2, 0.9, 0.5)

    def test_false_incidents_per_service_week(self) -> None:
        assert CARD.service_weeks_quiet == CARD.service_weeks_busy == 40.0
        assert value(Figure.FALSE_QUIET) == pytest.approx(2 / 40)
        assert value(Figure.FALSE_PAGES_QUIET) == pytest.approx(1 / 40)
        assert value(Figure.FALSE_BUSY) == pytest.approx(1 / 40)
        assert value(Figure.FALSE_HARMLESS) == pytest.approx(1 / 4)
        (batch,) = MINE.harmless
        assert (batch.type, batch.events, batch.false) == (BATCH, 4, 1)

    def test_what_people_were_told(self) -> None:
        assert value(Figure.PAGES_PER_FAULT) == pytest.approx(7 / 8)
        assert value(Figure.ALERTS_PER_FAULT) == pytest.approx(4 / 8)
        assert MINE.duplicates == 2

    def test_resolving(self) -> None:
        assert value(Figure.RESOLVED_MEDIAN) == 180.0
        assert value(Figure.LAG_MEDIAN) == 80.0

    def test_actions_are_added_up(self) -> None:
        assert (CARD.actions.right, CARD.actions.wrong, CARD.actions.useless) == (1, 2, 0)

    def test_types(self) -> None:
        cpu, leak = MINE.types
        assert (cpu.type, cpu.faults, cpu.found, cpu.false) == (CPU, 4, 4, 0)
        assert (leak.type, leak.faults, leak.found, leak.false) == (LEAK, 4, 2, 1)
        assert leak.figures[TypeFigure.PRECISION].value == pytest.approx(2 / 3)
        assert leak.figures[TypeFigure.AC3].value == pytest.approx(1 / 2)
        assert cpu.figures[TypeFigure.DELAY_MEDIAN].value == 20.0

    def test_worlds(self) -> None:
        shop, sketch = MINE.worlds
        assert (shop.world, shop.faults, shop.services) == ("shop", 4, 10.0)
        assert shop.figures[Figure.RECALL].value == 1.0
        assert sketch.figures[Figure.RECALL].value == 0.5

    def test_who_found_nothing_has_no_precision(self) -> None:
        theirs = CARD.of(Contender.THRESHOLDS)
        assert theirs.figures[Figure.RECALL].value == 0.0
        assert theirs.figures[Figure.PRECISION].value is None
        assert theirs.figures[Figure.F1].value == 0.0
        assert theirs.figures[Figure.AC1].value is None

    def test_intervals_hold_their_value(self) -> None:
        for one in CARD.contenders:
            for figure, estimate in one.figures.items():
                if estimate.value is not None and estimate.low is not None:
                    assert estimate.high is not None
                    assert estimate.low <= estimate.value <= estimate.high, figure


def test_the_order_in_which_flights_land_does_not_matter() -> None:
    shuffled = results()
    random.Random(3).shuffle(shuffled)
    assert card(shuffled).to_json() == CARD.to_json()


def test_the_json_is_read_back_as_it_was() -> None:
    read = SCORE_CARD.validate_json(CARD.to_json())
    assert read == CARD
    assert json.loads(CARD.to_json())["contenders"][0]["figures"]["recall"]["value"] == 0.75


def test_an_interrupted_bench_says_so_everywhere() -> None:
    partial = card(results()[:3])
    assert not partial.complete
    assert "partial: 3 of 8" in summary(partial)
    assert "partial: 3 of 8" in markdown(partial)
    assert "Interrupted: 3 of 8" in page(partial)
    assert "Interrupted" in shown(partial)
    assert "Interrupted" not in shown(CARD)


def test_nothing_flown_is_a_card_without_figures() -> None:
    empty = card([])
    assert all(one.value is None for one in empty.contenders[0].figures.values())
    assert "0 flights" in shown(empty)
    assert markdown(empty)
    assert page(empty)


def shown(one: ScoreCard, width: int = 100) -> str:
    console = Console(width=width, record=True, file=None, quiet=False)
    with console.capture() as captured:
        console.print(render(one))
    return captured.get()


class TestTerminal:
    def test_it_fits_into_100_columns(self) -> None:
        text = shown(CARD)
        assert max(len(line) for line in text.splitlines()) <= 100
        assert "…" not in text

    def test_it_shows_figures_and_types(self) -> None:
        text = shown(CARD)
        for words in ("6 of 8", "Memory leak", "Batch job", "1 / 2 / 0", "fixed thresholds"):
            assert words in text

    def test_no_remediation_is_no_score(self) -> None:
        none = [replace(one, actions=type(one.actions)()) for one in results()]
        assert "none taken" in shown(card(none))


@pytest.mark.parametrize(
    ("estimate", "unit", "text"),
    [
        (Estimate(value=None), Unit.SHARE, "—"),
        (Estimate(value=0.5), Unit.SHARE, "0.50"),
        (Estimate(value=0.5, low=0.25, high=1.0), Unit.SHARE, "0.50 (0.25–1.00)"),
        (Estimate(value=12.4, low=5.0, high=95.0), Unit.SECONDS, "12 (5–95)"),
        (Estimate(value=12.44), Unit.NUMBER, "12.4"),
        (Estimate(value=1234.5), Unit.NUMBER, "1,234"),
    ],
)
def test_numbers_are_as_precise_as_they_deserve(estimate: Estimate, unit: Unit, text: str) -> None:
    assert show(estimate, unit) == text


def test_minus_is_kept() -> None:
    assert number(-12.6, Unit.SECONDS) == "-13"


def test_markdown_tables_have_as_many_cells_in_every_row() -> None:
    rows: list[list[str]] = []
    for line in [*markdown(CARD).splitlines(), ""]:
        if line.startswith("|"):
            rows.append(line.strip("|").split("|"))
        elif rows:
            assert len({len(row) for row in rows}) == 1
            rows = []
    titles = re.findall(r"^## (.*)$", markdown(CARD), re.MULTILINE)
    assert titles == [*(one.title for one in tables(CARD)), "What the figures mean"]


class _Page(HTMLParser):
    """Checks that tags are closed, and collects what would be fetched."""

    void = frozenset({"meta", "br", "img", "link", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [str(text) for name, text in attrs if name in {"src", "href"}]
        assert tag != "script"
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


class TestPage:
    def test_it_is_whole_and_needs_nothing_else(self) -> None:
        parser = _Page()
        parser.feed(page(CARD))
        parser.close()
        assert parser.open == []
        assert parser.fetched == []
        assert "url(" not in page(CARD)
        assert "@import" not in page(CARD)

    def test_every_plot_is_drawn_inside_its_frame(self) -> None:
        plots = re.findall(r"<svg.*?</svg>", page(CARD), re.DOTALL)
        assert len(plots) == 5
        for plot in plots:
            root = ET.fromstring(plot)
            width, height = (float(one) for one in root.attrib["viewBox"].split()[2:])
            for circle in root.iter("circle"):
                assert 0 <= float(circle.attrib["cx"]) <= width
                assert 0 <= float(circle.attrib["cy"]) <= height

    def test_a_dot_stands_where_its_share_is(self) -> None:
        """Recall of memory leaks is 0.5: half way between the lines of 0 and 1."""
        (plot,) = re.findall(r'<svg[^>]*aria-label="Recall by type".*?</svg>', page(CARD))
        root = ET.fromstring(plot)
        grid = sorted(float(one.attrib["x1"]) for one in root.iter("line")
                      if one.attrib.get("class") == "grid")  # fmt: skip
        dots = [one for one in root.iter("circle") if one.attrib["r"] == "3.5"]
        mine = [float(one.attrib["cx"]) for one in dots if "--c0" in one.attrib["style"]]
        assert mine == pytest.approx([grid[-1], (grid[0] + grid[-1]) / 2], abs=0.1)

    def test_names_cannot_break_out(self) -> None:
        options = replace(CARD.options, worlds=("shop",))
        text = page(replace(CARD, version="<script>alert(1)</script>", options=options))
        assert "<script>" not in text
        assert "&lt;script&gt;" in text
