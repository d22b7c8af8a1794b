from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra `ml` is not installed")

from dos.detect.nets.attention import Attention  # noqa: E402  after the check that torch is there
from dos.detect.nets.carried import CarriedAnalyzer, CarriedStep  # noqa: E402
from dos.detect.nets.kinds import pinball  # noqa: E402
from dos.detect.nets.temporal import TemporalAnalyzer, ascending  # noqa: E402
from dos.detect.temporal_pace import INPUTS  # noqa: E402
from dos.detect.temporal_window import FEATURES, LEVELS, WINDOW  # noqa: E402
from dos.detect.training import SHAPES, network_of  # noqa: E402
from dos.kit.errors import PermanentError  # noqa: E402
from dos.ml.card import find  # noqa: E402
from dos.ml.export import AGREEMENT, restore  # noqa: E402
from dos.ml.runtime import Served  # noqa: E402

pytestmark = pytest.mark.models


def test_attention_weighs_the_steps_and_looks_where_the_query_points() -> None:
    attention = Attention(4)
    with torch.no_grad():
        attention.query.weight.copy_(8.0 * torch.eye(4))
        attention.query.bias.zero_()
    states = torch.zeros(1, 5, 4)
    states[0, 1, 2] = states[0, 4, 2] = 3.0  # the second step is like the last
    context, weights = attention(states)
    assert weights.sum().item() == pytest.approx(1.0)
    assert weights[0, 1].item() == pytest.approx(weights[0, 4].item())
    assert weights[0, 1].item() > 0.49
    assert context.shape == (1, 4)


@pytest.mark.parametrize("layers", [1, 2])
def test_the_analyzer_takes_windows_with_and_without_a_dimension_for_values(layers: int) -> None:
    network = TemporalAnalyzer(1, 8, layers).eval()
    window = torch.randn(3, WINDOW)
    flat, deep = network(window), network(window.unsqueeze(2))
    assert flat.reconstruction.shape == (3, WINDOW)
    assert deep.reconstruction.shape == (3, WINDOW, 1)
    assert torch.allclose(flat.anomaly, deep.anomaly)
    assert torch.equal(flat.anomaly, network(window, torch.zeros(3, FEATURES)).anomaly)
    assert (flat.quantiles.diff(dim=1) >= 0).all()


def test_quantiles_cannot_cross() -> None:
    raw = 5.0 * torch.randn(200, len(LEVELS))
    said = ascending(raw)
    assert (said.diff(dim=1) >= 0).all()
    assert torch.equal(said[:, len(LEVELS) // 2], raw[:, len(LEVELS) // 2])


def test_the_pinball_loss_is_least_at_the_quantiles() -> None:
    truth = torch.randn(50_000, generator=torch.Generator().manual_seed(1))
    right = torch.quantile(truth, torch.tensor(LEVELS))
    best = pinball(right.expand(len(truth), -1), truth).mean()
    for shift in (-0.3, 0.3):
        assert pinball((right + shift).expand(len(truth), -1), truth).mean() > best


def test_a_step_after_the_other_says_what_the_whole_sequence_says() -> None:
    analyzer = CarriedAnalyzer(16).eval()
    step = CarriedStep(analyzer).eval()
    steps = torch.randn(4, 30, INPUTS)
    whole = analyzer(steps)
    hidden = cell = torch.zeros(4, 16)
    for time in range(30):
        said = step(steps[:, time], hidden, cell)
        hidden, cell = said.hidden, said.cell
        assert torch.allclose(said.anomaly, whole.anomaly[:, time], atol=1e-5)
        assert torch.allclose(said.quantiles, whole.quantiles[:, time], atol=1e-5)


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_torch_and_onnx_say_the_same_with_the_committed_weights(name: str) -> None:
    kind, folder = SHAPES[name].kind, find(name)
    network = kind.served(kind.build(SHAPES[name].sizes))
    restore(network, folder)
    served = Served(folder)
    rng = np.random.default_rng(5)
    sizes = {"window": WINDOW, "memory": FEATURES, "sample": INPUTS}
    hidden = SHAPES[name].sizes["hidden_dim"]
    asked = {
        one: rng.uniform(-2, 2, (64, sizes.get(one, hidden))).astype(np.float32)
        for one in served.inputs
    }
    with torch.no_grad():
        said = network(*(torch.from_numpy(asked[one]) for one in served.inputs))
    answered = served.run(asked)
    for ours, output in zip(said, served.outputs, strict=True):
        difference = np.abs(ours.numpy() - answered[output]) / np.maximum(np.abs(ours.numpy()), 1)
        assert difference.max() <= AGREEMENT


def test_a_network_is_built_with_the_weights_of_another_of_its_name_only() -> None:
    tuned = network_of("temporal", find("temporal"), 0)
    fresh = network_of("temporal", None, 0)
    names = [name for name, _ in fresh.named_parameters()]
    assert any(
        not torch.equal(dict(tuned.named_parameters())[name], dict(fresh.named_parameters())[name])
        for name in names
    )
    with pytest.raises(PermanentError, match="weights of another network"):
        network_of("temporal_fast", find("temporal"), 0)
    with pytest.raises(PermanentError, match="no network 'nonsense'"):
        network_of("nonsense", None, 0)


def test_the_front_door_offers_the_networks() -> None:
    import dos

    assert dos.TemporalAnalyzer is TemporalAnalyzer
    assert dos.Attention is Attention
    assert Path(str(find("temporal"))).is_dir()
