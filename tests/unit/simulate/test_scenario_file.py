"""Scenarios in files: what may be written, and how mistakes are told."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from pydantic import ValidationError

from dos.kit.clock import ManualClock
from dos.kit.errors import ConfigError
from dos.simulate.actions import ActionKind
from dos.simulate.faults import FaultType
from dos.simulate.scenario import ScheduledAction, ScheduledFault
from dos.simulate.scenario_file import built_in, find, read, read_scenario
from dos.simulate.source import Config, SimulatorSource
from dos.simulate.worlds import sketch, world
from tests.docs.pages import blocks

WHOLE = """\
title: A full disk
description: >-
  Two lines
  of text.
world: sketch
timeline:
  - at: 1m
    fault: cpu_spike
    target: order-service
    severity: 0.5
  - {at: 2m, action: scale, target: order-service, replicas: 4}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "story.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_with_all_that_may_be_said(tmp_path: Path) -> None:
    story = read(written(tmp_path, WHOLE))
    fault, action = story.timeline
    assert isinstance(fault, ScheduledFault)
    assert isinstance(action, ScheduledAction)
    assert (fault.fault, fault.duration, fault.severity) == (FaultType.CPU_SPIKE, 180.0, 0.5)
    assert (action.action, action.replicas) == (ActionKind.SCALE, 4)
    assert story.content.description == "Two lines of text."
    assert story.content.length == 60 + 60 + 180 + 20  # at, a minute, duration, recovery
    assert story.place(1).endswith("story.yaml, line 11")


def test_a_list_alone_is_a_timeline(tmp_path: Path) -> None:
    path = written(tmp_path, "- {at: 1m, fault: cpu_spike, target: frontend}\n")
    assert read(path).timeline == read_scenario(path)
    assert read(path).content.world == "shop"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: x\n", "is not a list of faults. Write lines such as: - {at: 2m"),
        ("timeline: 3\n", "is not a list of faults"),
        ("timeline: []\n", "line 1, timeline: List should have at least 1 item"),
        ("titel: x\ntimeline:\n  - {at: 1s, fault: cpu_spike, target: a}\n",
         "line 1, titel: Extra inputs are not permitted"),
        ("timeline:\n  - {at: 1s, fault: cpu_spike, target: a}\n  - {at: 1s, fault: flood}",
         "line 3, fault: Input should be 'cpu_spike'"),
        ("timeline:\n  - {at: 1s, fault: cpu_spike, target: a, duration: 0s}\n",
         "line 2, duration: Input should be greater than 0"),
        ("- {at: 1s, action: restart, target: a, severity: 1}\n",
         "line 1, severity: Extra inputs are not permitted"),
        ("- {at: 1s, action: scale, target: a, replicas: 0}\n",
         "line 1, replicas: Input should be greater than or equal to 1"),
        ("- &a {at: 1s}\n- *a\n", "anchors and aliases"),
        ("- {at: 1s, at: 2s}\n", "is written twice"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(written(tmp_path, text))
    assert message in str(caught.value)
    assert "story.yaml" in str(caught.value)


def test_lines_that_do_not_fit_a_world_are_all_named(tmp_path: Path) -> None:
    text = """\
- {at: 1m, fault: disk_full, target: order-service}
- {at: 1m, fault: cpu_spike, target: order-service}
- {at: 2m, action: drain, target: order-service}
- {at: 2m, action: scale, target: order-service}
"""
    story = read(written(tmp_path, text))
    told = [str(one) for one in story.misfits(sketch())]
    assert [one.split("line ")[1][0] for one in told] == ["1", "3", "4"]
    with pytest.raises(ConfigError, match="line 1: 'order-service' cannot have"):
        story.check(sketch())


def test_names_and_paths(tmp_path: Path) -> None:
    assert find("classics").name == "classics.yaml"
    path = written(tmp_path, WHOLE)
    assert find(path) == find(str(path)) == path
    with pytest.raises(ConfigError, match=r"no scenario 'nonsense'\. Give a YAML file, or one of"):
        find("nonsense")
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path / "gone.yaml")


@pytest.mark.parametrize("name", built_in())
def test_those_that_come_with_dos_can_be_played(name: str) -> None:
    story = read(name)
    there = world(story.content.world)
    assert story.misfits(there) == []
    assert story.content.title
    assert all(line.at < story.content.length for line in story.timeline)


def test_scenarios_shown_in_the_documentation_can_be_played(tmp_path: Path) -> None:
    shown = [block for block in blocks("yaml") if "timeline:" in block.text]
    assert shown
    for block in shown:
        story = read(written(tmp_path, block.text))
        assert story.misfits(world(story.content.world)) == [], block


@pytest.mark.parametrize(
    ("keys", "places"),
    [
        ({"scenario": [{"at": "1s", "fault": "cpu_spike", "targt": "x"}]},
         {("scenario", 0, "target"), ("scenario", 0, "targt")}),
        ({"scenario": [{"at": "1s", "action": "scale", "target": "x", "replicas": "many"}]},
         {("scenario", 0, "replicas")}),
        ({"severity": [0.9, 0.5]}, {("severity",)}),
        ({"severity": [0, 0.5]}, {("severity",)}),
        ({"weights": {"cpu_spike": 0}}, {("weights",)}),
        ({"weights": {"cpu_spike": -1, "error_rate": 1}}, {("weights",)}),
    ],
)  # fmt: skip
def test_mistakes_in_a_source_are_told_once_and_in_their_place(
    keys: dict[str, object], places: set[tuple[str | int, ...]]
) -> None:
    with pytest.raises(ValidationError) as caught:
        Config.model_validate(keys)
    tags = {"timeline", "scheduled_fault", "scheduled_action"}
    found = [
        tuple(part for part in one["loc"] if part not in tags) for one in caught.value.errors()
    ]
    assert len(found) == len(places)
    assert set(found) == places


def test_a_source_takes_a_timeline_a_file_or_a_name(tmp_path: Path) -> None:
    path = written(tmp_path, WHOLE)
    clock, rng = ManualClock(), Random(0)
    for scenario in (read(path).timeline, path, "classics"):
        config = Config.model_validate({"world": "sketch", "scenario": scenario})
        source = SimulatorSource(config, name="s", clock=clock, rng=rng)
        assert source.simulation.world.name == "sketch"
