"""The graph network and the fused ranker as they serve: without torch, from the committed model."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dos.kit.errors import PermanentError
from dos.kit.plugins import load
from dos.ml.card import CARD, find, read_card
from dos.model.entity import Entity
from dos.model.graph import Edge
from dos.model.ids import EntityId
from dos.model.rootcause import EvidenceKind, FaultKind
from dos.rca.base import ROOM, Ranker
from dos.rca.joint import Joint
from dos.rca.network import Network
from dos.rca.verdict import COVERAGE
from tests.unit.rca.shop import Shop, graph


def ranker(name: str, **keys: object) -> Ranker:
    plugin = load(ROOM, name)
    built: Ranker = plugin.build(plugin.config.model_validate(keys))
    return built


@pytest.mark.parametrize("name", ["graph_network", "fused"])
def test_what_fails_by_itself_is_first_with_its_kind_and_callers_are_symptoms(name: str) -> None:
    case = (
        Shop()
        .spoil("payment", "cpu", 3.0)
        .spoil("payment", "latency_p95", 8.0)
        .spoil("orders", "latency_p95", 5.0, after_steps=1)
        .spoil("frontend", "latency_p95", 3.0, after_steps=1)
        .case()
    )
    cause = ranker(name).rank(case)
    assert cause.top is not None
    assert cause.top.entity == "payment"
    assert cause.top.kind is FaultKind.CPU
    assert cause.coverage == COVERAGE
    assert "payment" in cause.likely
    assert cause.method == name


@pytest.mark.parametrize("name", ["graph_network", "fused"])
def test_where_nothing_is_abnormal_nobody_is_blamed(name: str) -> None:
    cause = ranker(name).rank(Shop().case())
    assert cause.top is None
    assert cause.unknown > max((one.probability for one in cause.ranked), default=0.0)


def test_a_third_party_that_nobody_measures_can_be_named() -> None:
    shop = Shop()
    for name in ("orders", "catalogue"):
        shop.spoil(name, "latency_p95", 9.0).spoil(name, "error_ratio", 80.0)
    case = shop.case()
    calls = (*[(one.caller, one.callee) for one in graph().edges],)
    assert case.graph is not None
    more = tuple(
        Edge(caller=EntityId(caller), callee=EntityId("mail-provider"))
        for caller in ("catalogue", "orders")
    )
    edges = tuple(sorted((*case.graph.edges, *more), key=lambda one: (one.caller, one.callee)))
    entities = tuple(
        sorted((*case.graph.entities, Entity(id=EntityId("mail-provider"))), key=lambda one: one.id)
    )
    wider = replace(case, graph=replace(case.graph, entities=entities, edges=edges))
    assert len(edges) == len(calls) + 2
    cause = ranker("graph_network", hypotheses=20, least=0.0).rank(wider)
    (third,) = [one for one in cause.ranked if one.entity == "mail-provider"]
    assert third.metric is None
    kinds = {one.kind for one in third.evidence}
    assert {EvidenceKind.DEPENDENTS_ABNORMAL, EvidenceKind.DEVIATION} <= kinds
    healthy = [one for one in cause.ranked if one.entity in {"payment", "user-db"}]
    assert all(third.probability > one.probability for one in healthy)


def test_names_and_order_do_not_matter() -> None:
    case = Shop().spoil("user-db", "latency_p95", 8.0).spoil("orders", "latency_p95", 4.0).case()
    network = Network("graph")
    order = np.random.default_rng(1).permutation(len(case.series))
    moved = replace(
        case, values=case.values[:, order], series=tuple(case.series[at] for at in order)
    )
    one, two = network.read(case), network.read(moved)
    odds = dict(zip(two.entities, two.odds.tolist(), strict=True))
    assert [odds[entity] for entity in one.entities] == pytest.approx(one.odds.tolist(), abs=1e-4)
    assert one.none == pytest.approx(two.none, abs=1e-4)


def test_a_model_of_another_version_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "old"
    shutil.copytree(find("graph"), folder)
    card = read_card(folder)
    (folder / CARD).write_text(card.model_copy(update={"version": "0"}).model_dump_json())
    with pytest.raises(PermanentError, match="another version"):
        Network(str(folder))
    with pytest.raises(PermanentError, match="no model"):
        ranker("fused", model=str(tmp_path / "none"))


def test_the_committed_model_is_small_and_says_what_it_is() -> None:
    folder = find("graph")
    assert sum(path.stat().st_size for path in folder.iterdir()) < 2_000_000
    card = read_card(folder)
    assert card.training.command.startswith("dos train rca")
    assert {"temperature", "share"} < set(card.fitted)
    assert Joint.of(card.fitted).usual.max() <= 1.0
    assert card.figures["first"] > 0.5
    assert card.limits
