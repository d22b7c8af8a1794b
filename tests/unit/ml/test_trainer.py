from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra `ml` is not installed")

from dos.kit.errors import PermanentError  # noqa: E402  after the check that torch is there
from dos.ml.dataset import Examples  # noqa: E402
from dos.ml.trainer import FitOptions, FitProgress, fit, seeded  # noqa: E402

pytestmark = pytest.mark.models


def examples(count: int, seed: int, noise: float = 0.1) -> Examples:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, 3)).astype(np.float32)
    y = x @ np.array([1.0, -2.0, 0.5]) + noise * rng.standard_normal(count)
    return Examples(columns={"x": x, "y": y.astype(np.float32)})


def build() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))


def objective(network: torch.nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.nn.functional.mse_loss(network(batch["x"]).squeeze(1), batch["y"])


def test_training_learns_and_says_how_far_it_is() -> None:
    told: list[FitProgress] = []
    network = seeded(build, 1)
    fitted = fit(
        network,
        objective,
        examples(600, 1),
        examples(200, 2),
        FitOptions(epochs=12, batch=32, rate=2e-2, patience=12),
        progress=told.append,
    )
    assert fitted.validation[-1] < 0.1 * fitted.validation[0] or fitted.loss < 0.05
    assert fitted.loss == min(fitted.validation)
    shares = [one.share for one in told]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)


def test_equal_seeds_give_equal_weights() -> None:
    weights = []
    for seed in (3, 3, 4):
        network = seeded(build, seed)
        options = FitOptions(epochs=2, batch=32, seed=seed)
        fit(network, objective, examples(200, 1), examples(50, 2), options)
        weights.append(torch.cat([one.flatten() for one in network.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_it_stops_early_and_keeps_the_best_weights() -> None:
    # Pure noise: the more it learns the few examples, the worse it gets on others.
    train, validate = examples(24, 1, noise=10.0), examples(200, 2, noise=10.0)
    network = seeded(build, 1)
    options = FitOptions(epochs=60, batch=4, rate=5e-2, patience=3, decay=0.0)
    fitted = fit(network, objective, train, validate, options)
    assert len(fitted.validation) < 60
    assert len(fitted.validation) == fitted.best + 3
    with torch.no_grad():
        batch = {name: torch.from_numpy(value) for name, value in validate.columns.items()}
        assert float(objective(network, batch)) == pytest.approx(fitted.loss, rel=1e-4)


def test_no_examples_and_no_gpu_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PermanentError, match="no examples"):
        fit(build(), objective, examples(0, 1), examples(5, 1), FitOptions())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(PermanentError, match="no GPU"):
        fit(build(), objective, examples(5, 1), examples(5, 1), FitOptions(device="cuda"))


def test_a_loss_that_is_not_finite_is_an_error() -> None:
    broken = Examples(
        columns={"x": np.full((8, 3), np.nan, np.float32), "y": np.zeros(8, np.float32)}
    )
    with pytest.raises(PermanentError, match="not finite"):
        fit(build(), objective, broken, broken, FitOptions(epochs=1))


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in length"):
        Examples(columns={"x": np.zeros((2, 1), np.float32), "y": np.zeros(3, np.float32)})
