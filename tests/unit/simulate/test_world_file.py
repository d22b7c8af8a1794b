"""Worlds in YAML: what may be written, what is refused and how, and the way back."""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dos.kit.errors import ConfigError
from dos.model.entity import EntityKind
from dos.model.graph import EdgeKind
from dos.model.ids import EntityId
from dos.simulate import world_file
from dos.simulate.engine import Simulation
from dos.simulate.source import Config
from dos.simulate.world import Autoscaler, Call, World
from dos.simulate.worlds import BUILT_IN, generate, shop, world

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "simulations/worlds/bookshop.yaml"
GUIDE = ROOT / "docs/simulation/worlds.md"
SMALL = """\
name: small
entries: {web: 40}
services:
  web:
    kind: gateway
    calls: {api: {per_request: 0.5, timeout: 1500ms, retries: 2}}
  api:
    version: 2.3.0
    service_time: 12ms
    autoscale: {at_least: 2, at_most: 6, target: 0.6}
    calls:
      db:
      jobs: 0.25
  db: {kind: database, replicas: 1, capacity: 80, disk: 0.4}
  jobs: {kind: queue, calls: {worker: }}
  worker:
"""


def alike(one: World, other: World) -> bool:
    """The order of calls means nothing."""

    def sort(calls: tuple[Call, ...]) -> tuple[Call, ...]:
        return tuple(sorted(calls, key=lambda call: (call.caller, call.callee)))

    return replace(one, calls=sort(one.calls)) == replace(other, calls=sort(other.calls))


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        world_file.parse(text, "w.yaml")
    return str(caught.value)


def test_a_file_says_what_is_not_as_usual() -> None:
    there = world_file.parse(SMALL)
    assert (there.name, there.entries) == ("small", {"web": 40.0})
    api = there.service(EntityId("api"))
    assert (api.version, api.service_time, api.cpu) == ("2.3.0", 0.012, 0.35)
    assert api.autoscale == Autoscaler(at_least=2, at_most=6, target=0.6)
    calls = {(call.caller, call.callee): call for call in there.calls}
    web = calls[EntityId("web"), EntityId("api")]
    assert (web.per_request, web.timeout, web.retries, web.breaker) == (0.5, 1.5, 2, True)
    assert calls[EntityId("api"), EntityId("jobs")].per_request == 0.25
    assert there.service(EntityId("worker")).kind is EntityKind.SERVICE


def test_the_kind_of_a_call_follows_from_the_two() -> None:
    text = SMALL.replace("      db:\n", "      db: {kind: write}\n      cache: 1\n")
    there = world_file.parse(text + "  cache: {kind: cache}\n")
    kinds = {(call.caller, call.callee): call.kind for call in there.calls}
    assert kinds == {
        ("web", "api"): EdgeKind.CALL,
        ("api", "db"): EdgeKind.WRITE,
        ("api", "cache"): EdgeKind.READ,
        ("api", "jobs"): EdgeKind.MESSAGE,
        ("jobs", "worker"): EdgeKind.MESSAGE,
    }


def test_capacity_is_what_it_can_serve() -> None:
    """20 requests/s reach the database, which can serve 80: a quarter of it is in use."""
    there = world_file.parse(SMALL)
    assert there.service(EntityId("db")).cpu == pytest.approx(0.25)
    physics = Simulation(there).physics
    assert physics.capacity[physics.index[EntityId("db")]] == pytest.approx(80)


def test_replicas_run_in_the_zones_they_are_bound_to() -> None:
    there = world_file.read(EXAMPLE)
    zones = {node.id: node.zone for node in there.nodes}
    assert {name: zones[name] for name in zones} == {
        "node-1": "north", "node-2": "north", "node-3": "south", "node-4": "west",
    }  # fmt: skip
    placed = there.placement()
    assert [zones[node] for node in placed[EntityId("orders-db")]] == ["north"]
    assert {zones[node] for node in placed[EntityId("storefront")]} == set(there.zones)
    assert placed[EntityId("payment-provider")] == ()


@pytest.mark.parametrize("name", [*BUILT_IN, str(EXAMPLE)])
def test_what_is_written_reads_as_the_same_world(name: str) -> None:
    there = world(name)
    assert alike(world_file.parse(world_file.write(there)), there)


@settings(max_examples=30, deadline=None)
@given(st.integers(4, 80), st.integers(0, 10_000))
def test_generated_worlds_survive_a_file(count: int, seed: int) -> None:
    there = generate(count, seed)
    assert alike(world_file.parse(world_file.write(there)), there)


def test_a_namespace_is_part_of_the_name() -> None:
    there = world_file.parse(
        "entries: {web/front: 5}\nservices:\n  web/front: {calls: {data/db: 2}}\n  data/db:\n"
    )
    front = there.services[0]
    assert (front.namespace, front.name, front.id) == ("web", "front", "web/front")
    assert alike(world_file.parse(world_file.write(there)), there)


def test_a_file_works_wherever_a_name_does(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(world_file.write(shop()), encoding="utf-8")
    assert alike(world(str(path)), shop())
    assert Config(world=str(path)).world == str(path)
    ours, theirs = Simulation(world(str(path)), seed=3), Simulation(shop(), seed=3)
    assert ours.ticks(40).value.tobytes() == theirs.ticks(40).value.tobytes()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("web: 40", "wep: 40", "w.yaml:2:11: entries.wep: is no service; did you mean 'web'?"),
        ("web: 40", "web: 0", "w.yaml:2:16: entries.web: input should be greater than 0"),
        (
            "kind: gateway",
            "kind: gate",
            "w.yaml:5:11: services.web.kind: input should be 'gateway'",
        ),
        (
            "version:",
            "verison:",
            "w.yaml:8:5: services.api.verison: unknown key; did you mean 'version'? (keys: kind, ",
        ),
        ("retries: 2", "retry: 2", "services.web.calls.api.retry: unknown key; did you mean 'retr"),
        ("target: 0.6", "traget: 0.6", "did you mean 'target'? (keys: at_least, at_most, target)"),
        ("at_most: 6", "at_most: 1", "services.api.autoscale: at_least is more than at_most"),
        ("12ms", "soon", "w.yaml:9:19: services.api.service_time: 'soon' is not a duration"),
        ("replicas: 1,", "cpu: 0.3,", "services.db: cpu and capacity say the same thing"),
        (
            "capacity: 80",
            "capacity: 10",
            "w.yaml:14:47: services.db.capacity: 10 requests/s are too few: on average 20 reach",
        ),
        ("jobs: 0.25", "api: 0.25", "services.api.calls.api: calls itself"),
        ("jobs: 0.25", "job: 0.25", "services.api.calls.job: is no service; did you mean 'jobs'?"),
        ("name: small", "name: my world", "w.yaml:1:7: name: a name is letters, digits"),
        (
            "  worker:\n",
            "  wor ker:\n",
            "w.yaml:16:3: services['wor ker']: a name is letters, digits",
        ),
        ("  worker:\n", "  worker: &w\n", "w.yaml:16:11: anchors and aliases"),
        ("  worker:\n", "  worker: {calls: {api: }}\n", "cycle of calls through api, jobs, worker"),
        ("{worker: }", "{worker: {kind: call}}", "jobs calls worker, but a queue does not call"),
        ("jobs: 0.25", "worker: {kind: message}", "with messages, but neither is a queue"),
        ("  worker:\n", "  worker: {zones: [zone-z]}\n", "worker runs in zone 'zone-z', in which"),
        (
            "  worker:\n",
            "  worker: {zones: [zon-a]}\nnodes: {n1: zone-a}\n",
            "services.worker.zones[0]: there is no node in zone 'zon-a'; did you mean 'zone-a'?",
        ),
    ],
)
def test_mistakes_are_told_with_their_place(old: str, new: str, message: str) -> None:
    assert old in SMALL
    told = refusal(SMALL.replace(old, new, 1))
    assert message in told
    assert told.startswith("w.yaml")


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("replicas", "0"), ("replicas", "1001"), ("cpu", "0"), ("cpu", "0.96"), ("cpu", ".nan"),
        ("capacity", "0.5"), ("service_time", "0s"), ("service_time", "61s"), ("dispersion", "-1"),
        ("memory", "0.95"), ("error_rate", "0.6"), ("disk", "1"), ("version", "''"),
        ("calls", "{b: 0}"), ("calls", "{b: 1001}"), ("calls", "{b: {timeout: 2h}}"),
        ("calls", "{b: {retries: 11}}"), ("calls", "{b: {criticality: 1.1}}"),
        ("calls", "{b: true}"), ("zones", "['']"),
    ],
)  # fmt: skip
def test_numbers_have_bounds(where: str, value: str) -> None:
    text = f"entries: {{a: 1}}\nservices:\n  a: {{{where}: {value}}}\n  b:\n"
    assert f"services.a.{where}" in refusal(text)


def test_all_mistakes_are_told_at_once_up_to_a_bound() -> None:
    services = "".join(f"  s{number}: {{replica: 1}}\n" for number in range(30))
    told = refusal(f"entries: {{s0: 1}}\nservices:\n{services}")
    lines = told.splitlines()
    assert lines[0] == "the world has 30 problems:"
    assert lines[1].startswith("w.yaml:3:8: services.s0.replica: unknown key; did you mean")
    assert lines[-1] == "… and 10 more."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "entries: is missing"),
        ("entries: {a: 1}\nservices: {}\n", "services: dictionary should have at least 1 item"),
        ("- a\n", "must be keys and values"),
        ("x" * 2_000_000, "larger than 1 MiB"),
    ],
)
def test_what_is_no_world_is_refused(text: str, message: str) -> None:
    assert message in refusal(text)


def test_more_services_than_the_bound_are_refused() -> None:
    services = "".join(f"  s{number}: \n" for number in range(world_file.MOST_SERVICES + 1))
    assert "should have at most 10000 items" in refusal(
        f"entries: {{s0: 1}}\nservices:\n{services}"
    )


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file"):
        world(str(tmp_path / "none.yaml"))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_text_breaks_the_reader(data: st.DataObject) -> None:
    """A damaged file is refused or is another world; nothing else comes out."""
    start = data.draw(st.integers(0, len(SMALL) - 1))
    length = data.draw(st.integers(0, 12))
    junk = data.draw(st.text(st.sampled_from("ab:{}[], \n-0159.&*!|>'\"%"), max_size=6))
    text = SMALL[:start] + junk + SMALL[start + length :]
    with contextlib.suppress(ConfigError):
        assert isinstance(world_file.parse(text), World)


def test_the_worlds_of_the_guide_are_worlds() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    whole = [block for block in blocks if block.startswith(("name:", "entries:"))]
    assert whole
    for block in whole:
        world_file.parse(block)
    keys = {
        *world_file.WorldFile.model_fields,
        *world_file.ServiceFile.model_fields,
        *world_file.CallFile.model_fields,
        *world_file.AutoscalerFile.model_fields,
    }
    described = set(re.findall(r"^\| `(\w+)` \|", GUIDE.read_text(encoding="utf-8"), re.MULTILINE))
    assert keys <= described
