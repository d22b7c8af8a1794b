from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dos.detect.temporal_window import FEATURES, LEVELS, WINDOW
from dos.kit.errors import CorruptDataError
from dos.ml.card import CARD, MODEL, digest_of
from dos.ml.runtime import Served
from dos.model.telemetry import Float32Array


def batch(rows: int) -> dict[str, Float32Array]:
    rng = np.random.default_rng(rows)
    return {
        "window": rng.standard_normal((rows, WINDOW)).astype(np.float32),
        "memory": rng.standard_normal((rows, FEATURES)).astype(np.float32),
    }


def test_an_answer_has_a_row_for_each_asked() -> None:
    served = Served("temporal")
    for rows in (1, 2, 15, 16, 17, 300):
        said = served.run(batch(rows))
        assert said["reconstruction"].shape == (rows, WINDOW)
        assert said["quantiles"].shape == (rows, len(LEVELS))
        assert said["anomaly"].shape == (rows,)
        assert np.isfinite(said["quantiles"]).all()
        assert (np.diff(said["quantiles"], axis=1) >= 0).all()
        assert np.allclose(said["attention"].sum(axis=1), 1.0, atol=1e-5)


def test_an_answer_does_not_depend_on_who_else_is_in_the_batch() -> None:
    served = Served("temporal")
    asked = batch(290)
    together = served.run(asked)
    for first, count in ((0, 1), (3, 1), (5, 6), (250, 9), (273, 17), (100, 64)):
        part = slice(first, first + count)
        alone = served.run({name: value[part] for name, value in asked.items()})
        for name, value in together.items():
            assert value[part].tobytes() == alone[name].tobytes(), name


def test_a_wrong_shape_is_refused() -> None:
    asked = batch(4)
    with pytest.raises(ValueError, match="memory"):
        Served("temporal").run({**asked, "memory": asked["memory"][:, :-1]})


def test_what_is_no_onnx_is_refused(tmp_path: Path) -> None:
    source = Served("temporal").card
    (tmp_path / MODEL).write_bytes(b"no model")
    changed = source.model_copy(update={"sha256": {MODEL: digest_of(tmp_path / MODEL)}})
    (tmp_path / CARD).write_text(changed.model_dump_json())
    with pytest.raises(CorruptDataError, match="cannot be loaded"):
        Served(tmp_path)


def test_serving_imports_no_torch() -> None:
    program = """
import sys
import numpy as np
sys.modules["torch"] = None  # an import of it fails, as where it is not installed
from dos import RealTimeAnomalyDetector
from dos.detect.engine import DetectConfig, DetectKernel
from dos.testing.detectors import deviations
values = np.random.default_rng(1).normal(0.0, 1.0, 120)
detector = RealTimeAnomalyDetector()
assert any(detector.process_new_point(value).ready for value in values)
assert np.any(deviations("temporal", values))
assert np.any(deviations("temporal_carried", values))
DetectKernel(DetectConfig(closely=("temporal",))).create()
assert not [name for name in sys.modules if name.startswith("torch.")]
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=120)
