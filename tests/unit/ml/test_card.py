from __future__ import annotations

from pathlib import Path

import pytest

from dos.detect.committee import VOTE
from dos.kit.errors import CorruptDataError, PermanentError
from dos.ml.card import (
    CARD,
    MODEL,
    WEIGHTS,
    ModelCard,
    Training,
    checked,
    find,
    read_card,
    write_card,
)

WEIGHTS_DIR = Path(__file__).parents[3] / "src" / "dos" / "ml" / "weights"


def card(**changed: object) -> ModelCard:
    return ModelCard(
        name="tiny",
        version="1",
        about="for tests",
        shape={"hidden_dim": 2},
        parameters=3,
        training=Training(
            command="dos train detect",
            data="none",
            series=1,
            examples=2,
            epochs=1,
            seed=0,
            device="cpu",
            hours=0.0,
            torch="0",
        ),
        figures={"auc": 0.5},
        limits=["all"],
        sha256={},
    ).model_copy(update=changed)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / MODEL).write_bytes(b"model")
    (tmp_path / WEIGHTS).write_bytes(b"weights")
    write_card(tmp_path, card())
    return tmp_path


def test_a_card_comes_back_as_it_was_written(folder: Path) -> None:
    assert read_card(folder) == write_card(folder, card())
    assert checked(folder, MODEL) == b"model"


@pytest.mark.parametrize("name", [MODEL, WEIGHTS])
def test_a_file_that_was_changed_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"something else")
    with pytest.raises(CorruptDataError, match="not the file that its card describes"):
        checked(folder, name)


def test_a_card_that_is_none_is_refused(folder: Path) -> None:
    (folder / CARD).write_text('{"name": "x"}')
    with pytest.raises(CorruptDataError, match=r"card\.json: version"):
        read_card(folder)


def test_a_folder_without_a_card_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="is no model"):
        read_card(tmp_path)


def test_a_model_is_found_by_name_or_by_folder(folder: Path) -> None:
    assert find("temporal") == WEIGHTS_DIR / "temporal"
    assert find(str(folder)) == folder
    with pytest.raises(PermanentError, match="no model 'nonsense'"):
        find("nonsense")


def test_the_committed_models_are_whole_small_and_say_how_they_were_made() -> None:
    folders = sorted(one for one in WEIGHTS_DIR.iterdir() if one.is_dir())
    assert folders
    total = 0
    for one in folders:
        said = read_card(one)
        assert said.name == one.name
        assert {file.name for file in one.iterdir()} == {CARD, *said.sha256}
        size = sum(len(checked(one, name)) for name in said.sha256)
        total += size
        if said.name == "graph":
            assert set(said.sha256) == {MODEL, WEIGHTS}
            assert said.training.command.startswith("dos train rca")
            assert said.figures["first"] > 0.5
            assert size < 2_000_000
            continue
        if said.name == "vote":
            assert set(said.sha256) == {VOTE}
            assert said.training.command.startswith("dos train vote")
            assert said.figures["vus_roc"] > 0.75
            continue
        assert set(said.sha256) == {MODEL, WEIGHTS}
        assert said.training.command.startswith("dos train detect")
        assert said.figures["torch_onnx_difference"] <= 1e-5
        assert said.figures["auc"] > 0.75
        suspicion, rarity = zip(*said.calibration, strict=True)
        assert list(suspicion) == sorted(suspicion)
        assert list(rarity) == sorted(rarity)
    assert total < 3_000_000
