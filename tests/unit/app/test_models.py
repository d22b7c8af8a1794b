"""Candidates, promotion and rollback as files: atomic, audited, and applied at the next start."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from dos.app.models import ModelBook, settings_from
from dos.app.settings import Settings
from dos.kit.clock import Millis
from dos.kit.errors import ConfigError, CorruptDataError, PermanentError
from dos.ml.card import find
from dos.model.candidate import ModelAction

NOW = Millis(1_790_000_000_000)


@pytest.fixture
def present(tmp_path: Path) -> Settings:
    return Settings.model_validate({"data_dir": tmp_path})


@pytest.fixture
def book(tmp_path: Path, present: Settings) -> ModelBook:
    """Two candidates: `eager` and `calm`."""
    made = ModelBook(tmp_path)
    for name, minimum in (("eager", 3.0), ("calm", 9.0)):
        file = tmp_path / f"{name}.yaml"
        file.write_text(f"detect: {{threshold: {{minimum: {minimum}}}}}\n")
        made.add(name, file, present, NOW)
        file.unlink()
    return made


def test_a_candidate_is_the_detect_section_of_its_file(book: ModelBook, present: Settings) -> None:
    assert [one.name for one in book.candidates()] == ["calm", "eager"]
    settings = book.settings_of("eager", present)
    assert settings.detect.threshold.minimum == 3.0
    assert settings.model_copy(update={"detect": present.detect}) == present


def test_what_is_promoted_takes_the_place_of_the_configuration(
    book: ModelBook, present: Settings
) -> None:
    assert book.applied(present) == present
    book.promote("eager", by="ann", now=NOW, note="finds more")
    assert book.live == "eager"
    assert ModelBook(present.data_dir).applied(present).detect.threshold.minimum == 3.0
    with pytest.raises(PermanentError, match="live already"):
        book.promote("eager", by="ann", now=NOW)


def test_rollback_goes_back_step_by_step_and_everything_is_written_down(book: ModelBook) -> None:
    book.promote("eager", by="ann", now=NOW)
    book.promote("calm", by="bob", now=Millis(NOW + 1))
    assert book.roll_back(by="ann", now=Millis(NOW + 2), note="too quiet") == "eager"
    assert book.roll_back(by="ann", now=Millis(NOW + 3)) is None
    assert book.live is None
    with pytest.raises(PermanentError, match="Nothing was promoted"):
        book.roll_back(by="ann", now=NOW)
    told = [(one.by, one.action, one.name, one.previous) for one in book.log[::-1]]
    assert told == [
        ("ann", ModelAction.PROMOTED, "eager", None),
        ("bob", ModelAction.PROMOTED, "calm", "eager"),
        ("ann", ModelAction.ROLLED_BACK, "eager", "calm"),
        ("ann", ModelAction.ROLLED_BACK, None, "eager"),
    ]
    assert book.log[1].note == "too quiet"


def test_the_shadow_ends_with_its_promotion(book: ModelBook) -> None:
    book.run_beside("eager", by="ann", now=NOW)
    assert book.shadow == "eager"
    book.promote("eager", by="ann", now=NOW)
    assert book.shadow is None
    book.run_beside("calm", by="ann", now=NOW)
    book.run_beside(None, by="ann", now=NOW)
    assert book.shadow is None
    assert book.log[0].action is ModelAction.STOPPED


def test_a_network_is_copied_and_used_by_its_detector(tmp_path: Path, present: Settings) -> None:
    book = ModelBook(tmp_path)
    source = find("temporal")
    book.add("own", source, present, NOW)
    (candidate,) = book.candidates()
    assert candidate.has_network
    detect = book.settings_of("own", present).detect
    model = Path(str(detect.options["temporal"]["model"]))
    assert model == (tmp_path / "models" / "own").resolve()
    assert (model / "model.onnx").read_bytes() == (source / "model.onnx").read_bytes()
    assert "temporal" in {*detect.closely, *detect.beside, detect.detector}
    beside = settings_from(source, present).detect
    assert Path(str(beside.options["temporal"]["model"])) == source.resolve()


def test_names_and_sources_that_are_none_are_refused(
    book: ModelBook, present: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "new.yaml"
    file.write_text("detect: {}\n")
    for name in ("../up", "", ".hidden", "a/b", "x" * 80):
        with pytest.raises(ConfigError, match="no name of a model"):
            book.add(name, file, present, NOW)
    with pytest.raises(ConfigError, match="already"):
        book.add("eager", file, present, NOW)
    with pytest.raises(ConfigError, match="neither a configuration nor"):
        book.add("none", tmp_path / "nothing", present, NOW)
    for name in ("none", "../eager"):
        with pytest.raises(PermanentError, match="There is no model"):
            book.promote(name, by="ann", now=NOW)
    assert [one.name for one in book.candidates()] == ["calm", "eager"]


def test_damage_is_named(book: ModelBook, present: Settings, tmp_path: Path) -> None:
    book.promote("eager", by="ann", now=NOW)
    made = tmp_path / "models" / "eager" / "candidate.json"
    raw = json.loads(made.read_text())
    made.write_text(json.dumps({**raw, "detect": {"detector": "gone"}}))
    with pytest.raises(ConfigError, match="cannot be used"):
        book.applied(present)
    made.write_text("{")
    with pytest.raises(CorruptDataError, match=r"candidate\.json is damaged"):
        book.applied(present)
    (tmp_path / "models" / "state.json").write_text("[]")
    with pytest.raises(CorruptDataError, match=r"state\.json is damaged"):
        _ = book.live


def test_changes_from_several_sides_are_all_kept(book: ModelBook, tmp_path: Path) -> None:
    def change(number: int) -> None:
        ModelBook(tmp_path).run_beside("calm", by=f"p{number}", now=NOW)

    threads = [threading.Thread(target=change, args=(number,)) for number in range(12)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(one.by for one in book.log) == sorted(f"p{number}" for number in range(12))
