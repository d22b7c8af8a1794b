"""`dos rules`: rules of the configuration, tried before they are used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dos.cli.output import PROBLEM, err, out, plain

if TYPE_CHECKING:
    from dos.alerting.rule_tests import RuleTestFile

app = typer.Typer(no_args_is_help=True, help="Rules of the configuration; DOS need not run.")


@app.command("test")
def test(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Files of tests, in YAML.")
    ],
) -> None:
    """Run unit tests of rules: series in, alerts out, in virtual time.

    The files are written as promtool has them; the guide on alerts shows one.
    """
    from dos.alerting.rule_tests import described, run
    from dos.app.settings_load import load

    failed = 0
    for file in files:
        tests = _read(file)
        rules = [
            rule
            for name in tests.rule_files
            for rule in load(file.parent / name).settings.alerting.rules
        ]
        failures = run(tests, rules)
        failed += len(failures)
        for one in failures:
            err().print(plain(described(one)), style="red", markup=False)
        said = f"{len(failures)} failed" if failures else "all as expected"
        out().print(plain(f"{file}: {len(tests.tests)} tests, {said}"), markup=False)
    if failed:
        raise typer.Exit(PROBLEM)


def _read(file: Path) -> RuleTestFile:
    from pydantic import ValidationError

    from dos.alerting.rule_tests import RuleTestFile
    from dos.app.settings_explain import explain
    from dos.app.settings_load import SettingsError
    from dos.kit.yaml_source import DocumentError, read

    try:
        document = read(file)
    except DocumentError as error:
        raise SettingsError(error.problems) from error
    try:
        return RuleTestFile.model_validate(document.value)
    except ValidationError as error:
        problems = explain(error, RuleTestFile, document.value, document, {})
        raise SettingsError(problems) from error
