from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra `ml` is not installed")
pytest.importorskip("torch_geometric", reason="the extra `ml` is not installed")

import dos  # noqa: E402  after the check that torch is there
from dos.kit.errors import PermanentError  # noqa: E402
from dos.ml.card import find, read_card  # noqa: E402
from dos.ml.export import AGREEMENT, restore  # noqa: E402
from dos.ml.runtime import Served  # noqa: E402
from dos.ml.trainer import FitOptions  # noqa: E402
from dos.model.rootcause import FaultKind  # noqa: E402
from dos.rca.examples import Cause, Example, GraphExamples, side_by_side  # noqa: E402
from dos.rca.inputs import EDGE_INPUTS, NODE_INPUTS  # noqa: E402
from dos.rca.nets.graph import HEADS, DependencyGNN  # noqa: E402
from dos.rca.training import GraphTraining, build, objective, say, split, train_graph  # noqa: E402

pytestmark = pytest.mark.models


def graph(rng: np.random.Generator, entities: int, edges: int, first: int = 0) -> Example:
    """Something random of the right shape; the entity that stands out is the cause.

    It does in 20 columns from `first` on.
    """
    node = rng.normal(0.0, 0.3, (entities, len(NODE_INPUTS)))
    node[0, first : first + 20] += 3.0
    order = rng.permutation(entities)
    return Example(
        node=node[order].astype(np.float16),
        edges=rng.integers(0, entities, (2, edges)).astype(np.int64),
        edge=rng.random((edges, len(EDGE_INPUTS))).astype(np.float16),
        causes=(Cause(entities=(int(np.argmin(order)),), kind=FaultKind.CPU),),
        group=int(rng.integers(0, 40)),
    )


def test_the_network_of_the_sketch() -> None:
    """`DependencyGNN(input_dim, hidden_dim, output_dim)`, importable from `dos`."""
    network = dos.DependencyGNN(5, 8, 3)
    assert network is not None
    said = network(torch.rand(4, 5), torch.tensor([[0, 1, 2], [1, 2, 3]]))
    assert said.entity.shape == (4, 3)
    assert said.none.shape == (1,)
    with pytest.raises(ValueError, match="layers"):
        DependencyGNN(5, 8, 3, layers=1)


def test_attention_weighs_what_neighbours_show_and_sums_to_one() -> None:
    torch.manual_seed(0)
    network = DependencyGNN(5, 8, 3, edge_dim=2).eval()
    x = torch.rand(4, 5)
    edges = torch.tensor([[0, 1, 2, 0], [3, 3, 3, 1]])
    about = torch.rand(4, 2)
    with torch.no_grad():
        weights = network.attention(x, edges, about)
        assert weights.shape == (4, HEADS)
        assert torch.allclose(weights[:3].sum(0), torch.ones(HEADS), atol=1e-6)
        assert torch.allclose(weights[3], torch.ones(HEADS))
        x[0] *= 5.0
        assert not torch.allclose(weights, network.attention(x, edges, about))


def test_the_order_of_entities_and_edges_makes_no_difference() -> None:
    torch.manual_seed(0)
    network = DependencyGNN(len(NODE_INPUTS), 8, 4, edge_dim=len(EDGE_INPUTS), layers=3).eval()
    one = side_by_side([graph(np.random.default_rng(1), 9, 20)]).columns
    order, edge_order = np.random.default_rng(2).permutation(9), np.arange(19, -1, -1)
    place = np.argsort(order)
    with torch.no_grad():
        said = network(*(torch.from_numpy(one[name]) for name in ("node", "edges", "edge")))
        moved = network(
            torch.from_numpy(one["node"][order]),
            torch.from_numpy(place[one["edges"]][:, edge_order]),
            torch.from_numpy(one["edge"][edge_order]),
        )
    assert torch.allclose(said.entity[order], moved.entity, atol=1e-5)
    assert torch.allclose(said.none, moved.none, atol=1e-5)


def test_cases_side_by_side_are_read_as_one_by_one() -> None:
    torch.manual_seed(0)
    options = GraphTraining(out=find("graph"), hidden=8)
    network = build(options).eval()
    rng = np.random.default_rng(3)
    examples = [graph(rng, n, e) for n, e in ((3, 4), (7, 0), (1, 0), (12, 30))]
    both = side_by_side(examples).columns
    with torch.no_grad():
        said = network(
            *(torch.from_numpy(both[name]) for name in ("node", "edges", "edge", "case")),
            len(examples),
        )
    single = say(network, examples)
    apart = np.concatenate([one.entity for one in single])
    np.testing.assert_allclose(said.entity.numpy(), apart, atol=1e-5)
    np.testing.assert_allclose(said.none.numpy(), [one.none for one in single], atol=1e-5)


@pytest.mark.parametrize(("entities", "edges"), [(20, 40), (7, 0), (1, 0), (1, 1), (400, 3_000)])
def test_torch_and_onnx_say_the_same(entities: int, edges: int) -> None:
    card = read_card(find("graph"))
    network = build(
        GraphTraining(
            out=find("graph"), hidden=card.shape["hidden_dim"], layers=card.shape["layers"]
        )
    )
    restore(network, find("graph"))
    example = graph(np.random.default_rng(entities), entities, edges)
    (said,) = say(network, [example])
    columns = side_by_side([example]).columns
    served = Served("graph").whole({name: columns[name] for name in ("node", "edges", "edge")})
    worst = np.abs(served["entity"] - said.entity) / np.maximum(np.abs(said.entity), 1.0)
    assert float(worst.max()) < AGREEMENT
    assert served["none"][0] == pytest.approx(said.none, rel=1e-4, abs=1e-4)


def test_training_learns_who_stands_out_and_two_trainings_are_equal(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    examples = [graph(rng, int(rng.integers(3, 9)), 6) for _ in range(240)]
    fit = FitOptions(epochs=3, batch=32, rate=3e-3, patience=3)
    made = [
        train_graph(examples, GraphTraining(out=tmp_path / name, hidden=8, layers=2, fit=fit))
        for name in ("a", "b")
    ]
    assert made[0].card.figures["first"] > 0.9
    assert made[0].card.sha256["model.onnx"] == made[1].card.sha256["model.onnx"]
    assert made[0].fitted.validation[-1] < made[0].fitted.validation[0]
    restored = build(GraphTraining(out=tmp_path / "a", hidden=8, layers=2))
    restore(restored, tmp_path / "a")
    with pytest.raises(PermanentError, match="another network"):
        restore(build(GraphTraining(out=tmp_path / "a", hidden=16, layers=2)), tmp_path / "a")


def test_confirmed_incidents_teach_a_trained_network_without_its_forgetting(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    usual = [graph(rng, int(rng.integers(3, 9)), 6) for _ in range(240)]
    fit = FitOptions(epochs=3, batch=32, rate=3e-3, patience=3)
    train_graph(usual, GraphTraining(out=tmp_path / "base", hidden=8, layers=2, fit=fit))
    own = [
        replace(graph(rng, int(rng.integers(3, 9)), 6, first=60), group=-1 - number)
        for number in range(30)
    ]
    tuned = GraphTraining(
        out=tmp_path / "tuned", hidden=8, layers=2, fit=fit, base=tmp_path / "base"
    )
    card = train_graph([*own, *usual], tuned).card
    assert card.training.base == read_card(tmp_path / "base").sha256["model.onnx"]

    def right(folder: Path, first: int) -> float:
        network = build(GraphTraining(out=folder, hidden=8, layers=2))
        restore(network, folder)
        fresh = np.random.default_rng(8)
        said = say(network, [graph(fresh, 6, 6, first=first) for _ in range(60)])
        return float(np.mean([one.place == 1 for one in said]))

    assert right(tmp_path / "tuned", 60) > 0.9 > right(tmp_path / "base", 60)
    assert min(right(tmp_path / name, 0) for name in ("base", "tuned")) > 0.9


def test_worlds_are_never_on_both_sides_of_a_split() -> None:
    rng = np.random.default_rng(5)
    examples = [graph(rng, 4, 3) for _ in range(200)]
    parts = split(examples)
    worlds = [
        {one.group for one in part} for part in (parts.train, parts.validate, parts.calibrate)
    ]
    assert not worlds[0] & worlds[1]
    assert not worlds[0] & worlds[2]
    assert not worlds[1] & worlds[2]
    assert sum(len(part) for part in (parts.train, parts.validate, parts.calibrate)) == 200
    with pytest.raises(PermanentError, match="at least 3 worlds"):
        split([one for one in examples if one.group < 2])


def test_the_loss_falls_when_what_is_right_becomes_likelier() -> None:
    torch.manual_seed(0)
    network = build(GraphTraining(out=find("graph"), hidden=8, dropout=0.0))
    rng = np.random.default_rng(6)
    (batch,) = GraphExamples([graph(rng, 5, 8) for _ in range(16)]).batches(16)
    columns = {name: torch.from_numpy(one) for name, one in batch.columns.items()}
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    before = float(objective(network, columns).detach())
    for _ in range(20):
        optimiser.zero_grad()
        loss = objective(network, columns)
        loss.backward()
        optimiser.step()
    assert float(objective(network, columns).detach()) < 0.5 * before
