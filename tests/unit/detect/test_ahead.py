"""What is compiled ahead is all that the first start needs."""

from __future__ import annotations

import pytest

from dos.detect import ahead
from dos.detect.engine import DetectConfig


@pytest.mark.parametrize("config", [DetectConfig(), DetectConfig(closely=())])
def test_all_loops_of_the_engine_are_compiled(config: DetectConfig) -> None:
    ahead.exercise(config)
    assert ahead.is_compiled()


def test_it_takes_no_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert ahead.main(["--help"]) == 2
    assert "usage" in capsys.readouterr().err
