"""Fixtures that every test may use: real servers on loopback, free ports, recorded data.

A server that is not installed skips its tests with the reason on a developer's machine and fails
them where `CI` is set, so that a run that proves nothing cannot pass for one that does.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

# No deadline per example: a busy machine is not a bug. In CI the same examples every time, so
# that a change is judged by what it changed; developers' machines go on searching.
settings.register_profile(
    "house", deadline=None, derandomize=bool(os.environ.get("CI")), print_blob=True
)
settings.load_profile("house")

ROOT = Path(__file__).resolve().parent.parent
READY_WITHIN = 60.0
"""Seconds a server may take to answer: it takes one, but test machines are busy."""


def pytest_configure(config: pytest.Config) -> None:
    """Let child processes (`python -m dos`) find this tree, installed or not, and start quickly.

    Raises:
        pytest.UsageError: CI asks for the tests of models, and all of them would be skipped.
    """
    if os.environ.get("CI") and config.option.markexpr == "models" and find_spec("torch") is None:
        raise pytest.UsageError("torch is not installed, and CI must not skip the tests of models")
    path = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(path)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each child compiles DOS once more


@pytest.hookimpl(trylast=True)  # after those that are not asked for were taken out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each worker begin with long tests, so that none of them is all that is left at the end.

    With `--dist worksteal` each gets an equal share of the list, one after the other, and takes
    from the end of another's when it is done.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers == 1:
        return
    long = sorted(filter(_seconds, items), key=_seconds, reverse=True)
    short = iter([item for item in items if not _seconds(item)])
    left = len(items)
    shares: list[pytest.Item] = []
    for worker in range(workers):
        share = long[worker::workers]
        share += islice(short, max(0, left // (workers - worker) - len(share)))
        left -= len(share)
        shares += share
    items[:] = shares


def _seconds(item: pytest.Item) -> float:
    """How long a test takes, if its mark says so: `@pytest.mark.slow(seconds=240)`."""
    mark = item.get_closest_marker("slow")
    return float(mark.kwargs.get("seconds", 20)) if mark else 0.0


def require_binary(name: str) -> str:
    """Path of the program `name`; skips the test without it, fails it where `CI` is set."""
    path = shutil.which(name)
    if path is not None:
        return path
    reason = f"{name} is not installed (Debian: apt-get install {_DEBIAN_PACKAGE.get(name, name)})"
    if os.environ.get("CI"):
        pytest.fail(f"{reason}, and CI must not skip what it is there to prove", pytrace=False)
    pytest.skip(reason)


_DEBIAN_PACKAGE = {
    "amtool": "prometheus-alertmanager",
    "postgres": "postgresql",
    "promtool": "prometheus",
    "redis-cli": "redis-tools",
}


def unused_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def running(command: Sequence[str], log: Path, ready: Callable[[], bool]) -> Iterator[int]:
    """Run a server until the block ends, and yield its process id once it is `ready`.

    The server's output goes to `log`; its end is shown when the server does not come up. Only
    the process started here is ended: politely, and by force if it does not go within 10 s.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + READY_WITHIN
            while not ready():
                if process.poll() is not None or time.monotonic() > deadline:
                    tail = log.read_text(errors="replace")[-2000:]
                    pytest.fail(f"{command[0]} did not become ready:\n{tail}", pytrace=False)
                time.sleep(0.05)
            yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def answers(url: str) -> bool:
    """Whether a GET of `url` is answered with a status below 400."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def listens(port: int) -> bool:
    """Whether something accepts connections on 127.0.0.1:`port`."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True, slots=True)
class Server:
    """A server that a fixture started."""

    url: str
    pid: int
    home: Path
    """Folder of its configuration file, data and log."""


@pytest.fixture(autouse=True)
def default_logging() -> Iterator[None]:
    """What a test configures about logging ends with it."""
    yield
    structlog.reset_defaults()


@pytest.fixture(name="require_binary")
def require_binary_fixture() -> Callable[[str], str]:
    return require_binary


@pytest.fixture(scope="session")
def dos_command() -> list[str]:
    """The beginning of a command line that runs this tree's `dos` with this interpreter."""
    return [sys.executable, "-m", "dos"]


@pytest.fixture
def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on."""
    return unused_port()


@pytest.fixture
def free_ports() -> Callable[[int], list[int]]:
    """A function that gives `n` different unused ports."""

    def take(n: int) -> list[int]:
        ports: set[int] = set()
        while len(ports) < n:
            ports.add(unused_port())
        return list(ports)

    return take


@pytest.fixture
def prometheus_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts Prometheus with a configuration text: `prometheus_server("scrape_configs: ...")`.

    It accepts remote_write, and can be reloaded (`POST /-/reload`) after its file,
    `server.home / "prometheus.yml"`, was changed.
    """
    binary = require_binary("prometheus")
    with ExitStack() as servers:

        def start(config: str, *flags: str) -> Server:
            port = unused_port()
            home = tmp_path / f"prometheus-{port}"
            home.mkdir()
            (home / "prometheus.yml").write_text(config)
            url = f"http://127.0.0.1:{port}"
            command = [
                binary,
                f"--config.file={home / 'prometheus.yml'}",
                f"--storage.tsdb.path={home / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--web.enable-lifecycle",
                "--web.enable-remote-write-receiver",
                *flags,
            ]
            ready = partial(answers, f"{url}/-/ready")
            pid = servers.enter_context(running(command, home / "log", ready))
            return Server(url, pid, home)

        yield start


@pytest.fixture
def node_exporter(tmp_path: Path) -> Iterator[Server]:
    """A real node_exporter; its metrics are at `url + "/metrics"`."""
    binary = require_binary("prometheus-node-exporter")
    port = unused_port()
    url = f"http://127.0.0.1:{port}"
    command = [binary, f"--web.listen-address=127.0.0.1:{port}"]
    with running(command, tmp_path / "node_exporter.log", partial(answers, url)) as pid:
        yield Server(url, pid, tmp_path)


@pytest.fixture
def alertmanager_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts Alertmanager, alone in its cluster, with a configuration text."""
    binary = require_binary("prometheus-alertmanager")
    with ExitStack() as servers:

        def start(config: str, *flags: str) -> Server:
            port = unused_port()
            home = tmp_path / f"alertmanager-{port}"
            home.mkdir()
            (home / "alertmanager.yml").write_text(config)
            url = f"http://127.0.0.1:{port}"
            command = [
                binary,
                f"--config.file={home / 'alertmanager.yml'}",
                f"--storage.path={home / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=",
                *flags,
            ]
            ready = partial(answers, f"{url}/-/ready")
            pid = servers.enter_context(running(command, home / "log", ready))
            return Server(url, pid, home)

        yield start


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[Server]:
    """A real Redis with its append-only file below `tmp_path`."""
    binary = require_binary("redis-server")
    port = unused_port()
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path)]
    command += ["--appendonly", "yes", "--save", ""]
    with running(command, tmp_path / "redis.log", partial(listens, port)) as pid:
        yield Server(f"redis://127.0.0.1:{port}/0", pid, tmp_path)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A real PostgreSQL; `url` is that of its administrator, for SQLAlchemy and asyncpg."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    binary = str(found[-1]) if found else require_binary("postgres")
    home = Path(tempfile.mkdtemp(prefix="dos-postgres-"))  # pytest's folders are root's alone
    as_user: list[str] = []
    if os.geteuid() == 0:  # it refuses to run as root
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
        shutil.chown(home, "postgres", "postgres")
    initdb = [*as_user, str(Path(binary).with_name("initdb")), "-A", "trust", "--no-sync"]
    subprocess.run(
        [*initdb, "-U", "dos", "-E", "UTF8", "-D", str(home / "data")],
        check=True,
        capture_output=True,
    )
    port = unused_port()
    command = [*as_user, binary, "-D", str(home / "data"), "-p", str(port)]
    command += ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
    command += ["-c", "fsync=off", "-c", "max_connections=50"]
    with running(command, home / "log", partial(listens, port)) as pid:
        yield Server(f"postgresql+asyncpg://dos@127.0.0.1:{port}/postgres", pid, home)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
async def postgres_database(postgres_server: Server) -> str:
    """The URL of a new, empty database on it."""
    asyncpg = pytest.importorskip("asyncpg")
    name = f"dos_{uuid.uuid4().hex}"
    admin = await asyncpg.connect(postgres_server.url.replace("+asyncpg", ""))
    try:
        await admin.execute(f'CREATE DATABASE "{name}"')
    finally:
        await admin.close()
    return postgres_server.url.rpartition("/")[0] + f"/{name}"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The public data sets used for development, which are not part of this repository.

    `DOS_SHARED_DATA` names the folder; otherwise it is looked for beside the clone.
    """
    named = os.environ.get("DOS_SHARED_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no shared/data beside the clone, and DOS_SHARED_DATA does not name one")
    return folder


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the repository."""
    return ROOT
