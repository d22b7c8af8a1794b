"""What leaves the house: the wheel, the source distribution, the locks, the door for a clone."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import dos

LOCKS = ["requirements.txt", "requirements-dev.txt"]


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution, built from this tree."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), cwd=root)
    return folder


def test_the_wheel_holds_the_package_once(root: Path, built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    source = root / "src"
    expected = {
        str(path.relative_to(source))
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packed = [name for name in names if ".dist-info/" not in name]
    assert len(packed) == len(set(packed))
    assert {name for name in expected if name.endswith((".py", "py.typed", ".yaml"))} <= set(packed)
    assert {name.split("/")[0] for name in packed} == {"dos"}
    assert wheel.name.startswith(f"dependency_ops_sentinel-{dos.__version__}-py3-none-any")


def test_the_sdist_holds_no_second_copy(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        tops = {Path(name).parts[1] for name in archive.getnames() if "/" in name}
    assert {"src", "pyproject.toml", "LICENSE"} <= tops
    assert not tops & {"dos", ".venv", ".git", ".ci"}


def test_a_clone_runs_without_being_installed(root: Path) -> None:
    """`uvicorn dos.api.app:app` finds the package through the symlink at the root."""
    code = "import sys; sys.path.insert(0, ''); import dos; print(dos.__file__)"
    isolated = run(sys.executable, "-S", "-c", code, cwd=root).strip()
    assert Path(isolated).resolve() == root / "src/dos/__init__.py"
    assert (root / "dos").readlink() == Path("src/dos")


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_is_hashed_and_carries_no_address(root: Path, name: str) -> None:
    text = (root / name).read_text()
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(blocks) > 30
    for block in blocks:
        assert re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==\S+", block)
        assert "--hash=sha256:" in block
    assert not re.search(r"://|--index|--find-links|--trusted|file:|@ ", text)


@pytest.mark.parametrize("name", LOCKS)
def test_the_locks_satisfy_the_core_requirements(root: Path, name: str) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    pinned = set(re.findall(r"^([a-z0-9._-]+)", (root / name).read_text(), re.MULTILINE))
    wanted = {re.split(r"[\[><=]", requirement)[0] for requirement in project["dependencies"]}
    assert wanted <= pinned


def test_development_runs_on_the_pins_of_the_core(root: Path) -> None:
    core, dev = (
        dict(re.findall(r"^([a-z0-9._-]+)(==[^ ]+)", (root / name).read_text(), re.MULTILINE))
        for name in LOCKS
    )
    assert core.items() <= dev.items()


def test_the_core_is_light(root: Path) -> None:
    """None of these is needed to serve; each belongs to an extra or nowhere.

    Numba and ONNX Runtime are: statistics of every series are compiled, and networks are served
    without the library that they were trained with.
    """
    pinned = set(re.findall(r"^([a-z0-9._-]+)==", (root / LOCKS[0]).read_text(), re.MULTILINE))
    heavy = {"torch", "scipy", "pandas", "duckdb", "ray", "scikit-learn"}
    assert not pinned & heavy


def test_all_is_every_extra(root: Path) -> None:
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    (everything,) = extras.pop("all")
    assert set(re.findall(r"[\w-]+", everything.partition("[")[2])) == set(extras)
