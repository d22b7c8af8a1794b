from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from dos.cli import train_door
from dos.cli.main import app
from dos.detect.committee import load_model
from dos.ml.card import find, read_card
from dos.ml.runtime import Served
from dos.testing.detectors import deviations

needs_torch = pytest.mark.skipif(
    find_spec("torch") is None, reason="the extra `ml` is not installed"
)


def history(folder: Path) -> Path:
    """Two days of six metrics at a minute's step."""
    rng = np.random.default_rng(1)
    time = np.arange(2_000)
    columns = [
        10 + k + np.sin(time / (20 + 9 * k)) + rng.normal(0, 0.2, len(time)) for k in range(6)
    ]
    header = ",".join(["time", *(f"cart|m{k}" for k in range(6))])
    rows = [
        ",".join([str(1_767_571_200 + 60 * i), *(f"{column[i]:.5f}" for column in columns)])
        for i in time.tolist()
    ]
    folder.mkdir()
    (folder / "metrics.csv").write_text("\n".join([header, *rows, ""]))
    return folder


@pytest.mark.models
@needs_torch
def test_a_model_is_tuned_on_ones_own_history_and_served(tmp_path: Path) -> None:
    out = tmp_path / "model"
    words = ["train", "detect", "--out", str(out), "--history", str(history(tmp_path / "past"))]
    result = CliRunner().invoke(app, [*words, "--epochs", "1", "--windows", "400"])
    assert result.exit_code == 0, result.output
    assert "epoch 1 was kept" in result.output
    card = read_card(out)
    assert card.name == "temporal"
    assert card.training.base == read_card(find("temporal")).sha256["model.onnx"]
    assert "6 stretches of one's own history" in card.training.data
    assert card.figures["torch_onnx_difference"] <= 1e-5
    assert card.calibration
    assert set(Served(out).outputs) == set(Served("temporal").outputs)
    values = np.random.default_rng(2).normal(10.0, 0.3, 200)
    assert np.any(deviations("temporal", values, model=str(out)))


@pytest.mark.models
@needs_torch
@pytest.mark.slow
@pytest.mark.parametrize("model", ["temporal_fast", "temporal_carried"])
def test_a_small_corpus_trains_each_network_afresh(tmp_path: Path, model: str) -> None:
    words = ["train", "detect", "--model", model, "--out", str(tmp_path), "--size", "0.01"]
    result = CliRunner().invoke(app, [*words, "--epochs", "1"])
    assert result.exit_code == 0, result.output
    card = read_card(tmp_path)
    assert card.training.base is None
    assert card.training.series > 50
    assert card.parameters == read_card(find(model)).parameters


@pytest.mark.models
@needs_torch
@pytest.mark.slow
def test_a_small_vote_is_trained_and_says_how_it_went(tmp_path: Path) -> None:
    words = ["train", "vote", "--out", str(tmp_path), "--size", "0.02", "--epochs", "2"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "was kept" in result.output
    card = read_card(tmp_path)
    assert card.name == "vote"
    assert "0.02 of the usual size" in card.training.data
    assert card.figures["vus_pr"] > 0.05
    assert len(load_model(tmp_path).weights.bias) == card.shape["units"]


@pytest.mark.parametrize("what", ["detect", "vote"])
def test_without_torch_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(train_door, "find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["train", what, "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "Training needs torch" in result.output


@pytest.mark.models
@needs_torch
def test_a_history_that_is_none_is_refused(tmp_path: Path) -> None:
    words = ["train", "detect", "--out", str(tmp_path / "m"), "--history", str(tmp_path)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert "neither history nor a metrics file" in result.output
