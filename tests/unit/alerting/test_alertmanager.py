"""Alertmanager's configuration file, held against the real `amtool`."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
import yaml

from dos.alerting.alertmanager import read_alertmanager
from dos.alerting.inhibition import Inhibitor, InhibitRule
from dos.alerting.timeinterval import Span, TimeInterval
from dos.kit.clock import Millis
from dos.kit.errors import ConfigError
from dos.model.matchers import Matcher, Operator, parse_matcher, parse_matchers
from tests.conftest import require_binary

SHOP = """
route:
  receiver: all
  group_by: [alertname]
  group_wait: 10s
  routes:
  - receiver: pages
    matchers: ['severity="page"', 'team=~"shop|pay.*"']
    continue: true
    repeat_interval: 1h
    routes:
    - receiver: nights
      match: {when: night}
      group_by: ['...']
      mute_time_intervals: [off]
  - receiver: tickets
    match_re: {severity: ticket|warning}
    group_interval: 1m
receivers:
- {name: all}
- name: pages
  slack_configs: [{channel: '#pages', api_url: http://127.0.0.1:1/}]
- {name: nights}
- {name: tickets}
inhibit_rules:
- source_matchers: [severity="page"]
  target_match: {severity: ticket}
  equal: [service]
time_intervals:
- name: off
  time_intervals:
  - weekdays: ['saturday', sunday]
  - times: [{start_time: '00:00', end_time: '07:00'}]
"""


def test_routes_have_what_is_said_above_them() -> None:
    config = read_alertmanager(SHOP)
    root = config.tree
    pages, tickets = root.routes
    (nights,) = pages.routes
    assert (root.group_wait, root.group_interval, root.repeat_interval) == (10.0, 300.0, 14400.0)
    assert (pages.group_wait, pages.repeat_interval) == (10.0, 3600.0)
    assert (nights.repeat_interval, tickets.repeat_interval) == (3600.0, 14400.0)
    assert tickets.group_interval == 60.0
    labels = {"alertname": "Slow", "service": "web"}
    assert tickets.group(labels) == (("alertname", "Slow"),)
    assert nights.group(labels) == tuple(sorted(labels.items()))
    assert nights.path == '{}/{severity="page",team=~"shop|pay.*"}/{when="night"}'
    assert config.receivers[1].channels[0][0] == "slack"


@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ({}, ["all"]),
        ({"severity": "page", "team": "shop"}, ["pages"]),
        ({"severity": "page", "team": "payment", "when": "night"}, ["nights"]),
        ({"severity": "page", "team": "workshop"}, ["all"]),  # patterns match the whole value
        ({"severity": "warning", "team": "shop"}, ["tickets"]),
    ],
)
def test_where_alerts_go(labels: dict[str, str], receivers: list[str]) -> None:
    assert [one.receiver for one in read_alertmanager(SHOP).tree.of(labels)] == receivers


def _some_tree(rng: Random, depth: int = 0) -> dict[str, object]:
    route: dict[str, object] = {"receiver": f"r{rng.randrange(6)}"}
    if depth:
        names = rng.sample(["a", "b", "c"], rng.randint(1, 2))
        route["matchers"] = [
            f'{name}{rng.choice(OPERATORS)}"{rng.choice(["x", "y", "x|y", ".*", ""])}"'
            for name in names
        ]
        route["continue"] = rng.random() < 0.4
    if depth < 3:
        route["routes"] = [_some_tree(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    return route


@pytest.mark.parametrize("seed", range(12))
def test_any_tree_routes_as_amtool_says(seed: int, tmp_path: Path) -> None:
    amtool, rng = require_binary("amtool"), Random(seed)
    file = tmp_path / "alertmanager.yml"
    tree = {"route": _some_tree(rng), "receivers": [{"name": f"r{n}"} for n in range(6)]}
    file.write_text(yaml.safe_dump(tree))
    ours = read_alertmanager(file.read_text()).tree
    for _ in range(5):
        labels = {name: rng.choice(["x", "y", "z"]) for name in "abc" if rng.random() < 0.7}
        told = subprocess.run(
            [amtool, "config", "routes", "test", f"--config.file={file}"]
            + [f"{name}={value}" for name, value in labels.items()],
            capture_output=True,
            text=True,
            check=True,
        )
        assert ",".join(one.receiver for one in ours.of(labels)) == told.stdout.strip()


OPERATORS = ("=", "!=", "=~", "!~")
GOOD = (
    "{a=b}",
    "{a=b",
    'a="b,c",d!~"e|f"',
    'a = "say \\"hi\\"\\n"',
    "a=",
    "a=~x.*,",
    "",
    "{}",
    "a=b\\",
)
BAD = ('a="b', 'a=b"', "=b", "a", "a~b", 'a=~"("', '1a="b"')


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_matcher_says_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S+ .*\S"):
        parse_matchers(text)


@pytest.mark.parametrize("text", GOOD)
def test_matchers_are_read_and_written_alike(text: str) -> None:
    found = parse_matchers(text)
    assert parse_matchers("{" + ",".join(str(one) for one in found) + "}") == found


@pytest.mark.parametrize("text", [*GOOD, *BAD])
def test_amtool_reads_the_same_matchers(text: str, tmp_path: Path) -> None:
    if not text.strip(" {}"):
        pytest.skip("amtool takes no empty matcher in a file")
    file = tmp_path / "alertmanager.yml"
    route = {"receiver": "a", "routes": [{"matchers": [text]}]}
    file.write_text(yaml.safe_dump({"route": route, "receivers": [{"name": "a"}]}))
    checked = subprocess.run(
        [require_binary("amtool"), "check-config", str(file)], check=False, capture_output=True
    )
    assert (checked.returncode == 0) is (text in GOOD), checked.stderr.decode()


def test_an_empty_label_is_one_that_is_not_there() -> None:
    assert parse_matcher('a=""').matches({})
    assert parse_matcher('a!=""').matches({"a": "x"})
    assert not parse_matcher('a=~".+"').matches({})
    assert Matcher(name="a", operator=Operator.NOT_LIKE, value="x|y").matches({"a": "xy"})


def test_a_hostile_expression_costs_no_time() -> None:
    evil = Matcher(name="a", operator=Operator.LIKE, value="(a*)*(a*)*b")
    assert not evil.matches({"a": "a" * 20_000})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"route": {"receiver": "nobody"}}, "no receiver 'nobody'"),
        ({"route": {}}, "needs a receiver"),
        ({"route": {"receiver": "a", "match": {"x": "y"}}}, "takes every alert"),
        ({"route": {"receiver": "a", "continue": True}}, "cannot say `continue`"),
        ({"route": {"receiver": "a", "group_by": ["x", "x"]}}, "'x' is there twice"),
        ({"route": {"receiver": "a", "group_by": ["...", "x"]}}, "stands alone"),
        ({"route": {"receiver": "a", "group_interval": "0s"}}, "cannot be zero"),
        ({"route": {"receiver": "a", "grop_by": []}}, "grop_by"),
        ({"receivers": [{"name": "a"}, {"name": "a"}]}, "two receivers are called 'a'"),
        ({"receivers": [{"name": "a", "pigeon_configs": []}]}, "pigeon_configs"),
        (
            {"route": {"receiver": "a", "routes": [{"mute_time_intervals": ["off"]}]}},
            "no time interval 'off'",
        ),
        (
            {
                "time_intervals": [
                    {"name": "x", "time_intervals": [{"weekdays": ["friday:monday"]}]}
                ]
            },
            "comes after",
        ),
        (
            {"time_intervals": [{"name": "x", "time_intervals": [{"days_of_month": ["0"]}]}]},
            "days of the month",
        ),
    ],
)
def test_what_is_wrong_is_said_and_amtool_refuses_it_too(
    change: dict[str, object], message: str, tmp_path: Path
) -> None:
    data = {"route": {"receiver": "a"}, "receivers": [{"name": "a"}], **change}
    with pytest.raises(ConfigError, match=message):
        read_alertmanager(yaml.safe_dump(data))
    file = tmp_path / "alertmanager.yml"
    file.write_text(yaml.safe_dump(data))
    assert (
        subprocess.run(
            [require_binary("amtool"), "check-config", str(file)], check=False
        ).returncode
        != 0
    )


def test_amtool_takes_the_example(tmp_path: Path) -> None:
    file = tmp_path / "alertmanager.yml"
    file.write_text(SHOP)
    assert (
        subprocess.run(
            [require_binary("amtool"), "check-config", str(file)], check=False
        ).returncode
        == 0
    )


def at(text: str) -> Millis:
    return Millis(round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000))


@pytest.mark.parametrize(
    ("span", "inside", "outside"),
    [
        (
            {"times": [{"start_time": "09:00", "end_time": "17:00"}]},
            ["2026-01-05T09:00", "2026-01-05T16:59:59"],
            ["2026-01-05T08:59", "2026-01-05T17:00"],
        ),
        (
            {"times": [{"start_time": "22:00", "end_time": "24:00"}]},
            ["2026-01-05T23:59:59"],
            ["2026-01-05T00:00"],
        ),
        (
            {"weekdays": ["monday:wednesday", "Sunday"]},
            ["2026-01-05T12:00", "2026-01-07T12:00", "2026-01-11T12:00"],
            ["2026-01-08T12:00", "2026-01-10T12:00"],
        ),
        (
            {"days_of_month": ["-3:-1", "1"]},
            ["2026-02-26T12:00", "2026-02-28T12:00", "2026-02-01T12:00"],
            ["2026-02-25T12:00", "2026-02-02T12:00"],
        ),
        ({"days_of_month": ["31"]}, ["2026-01-31T00:00"], ["2026-02-28T00:00"]),
        (
            {"months": ["january:march", "12"]},
            ["2026-03-31T00:00", "2026-12-01T00:00"],
            ["2026-04-01T00:00"],
        ),
        ({"years": ["2026:2027"]}, ["2027-12-31T00:00"], ["2028-01-01T00:00"]),
        (  # Summer time began at 01:00 UTC: before, nine o'clock is at eight, after at seven.
            {
                "times": [{"start_time": "09:00", "end_time": "10:00"}],
                "location": "Europe/Berlin",
            },
            ["2026-03-28T08:30", "2026-03-30T07:30"],
            ["2026-03-28T07:30", "2026-03-30T08:30"],
        ),
    ],
)
def test_times(span: dict[str, object], inside: list[str], outside: list[str]) -> None:
    interval = TimeInterval(name="x", time_intervals=(Span.model_validate(span),))
    assert all(interval.holds(at(one)) for one in inside)
    assert not any(interval.holds(at(one)) for one in outside)


def test_inhibition_needs_equal_labels_and_never_turns_on_itself() -> None:
    (rule,) = read_alertmanager(SHOP).inhibit
    page, ticket = {"severity": "page", "service": "web"}, {"severity": "ticket", "service": "web"}
    inhibitor = Inhibitor([rule])
    assert inhibitor.by(ticket) is None
    inhibitor.watch([page])
    assert inhibitor.by(ticket) == page
    assert inhibitor.by({**ticket, "service": "db"}) is None
    assert inhibitor.by(page) is None
    # Both sides match both: as in Alertmanager, none inhibits the other.
    everything = InhibitRule(source=(), target=(), equal=("service",))
    assert not everything.inhibits(page, ticket)
    # A label that neither has is equal.
    loose = InhibitRule(source=rule.source, target=rule.target, equal=("cluster",))
    assert loose.inhibits(page, {**ticket, "service": "db"})
