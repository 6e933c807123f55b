"""Getting the servers: what is missing is named with its remedy; the system's services stay as they are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import packages
from tests.servers.courier import Courier
from tests.servers.cyrus import Cyrus
from tests.servers.install import TOOLS, tool
from tests.servers.server import ImapServer

ROOT = Path(__file__).resolve().parents[2]


def run_install(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.servers.install", *arguments]
    environ = {name: value for name, value in os.environ.items() if name != "CI"} | changes
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False)


def test_check_names_what_is_missing_and_the_command_that_gets_it(tmp_path: Path) -> None:
    done = run_install("--check", PATH=str(tmp_path))
    lines = {line.split()[1]: line for line in done.stdout.splitlines() if line.startswith("missing: ")}
    assert done.returncode == 1
    assert lines["mbsync"].endswith("get it with: sudo apt-get install -y --no-install-recommends isync")
    assert lines["chromium"].endswith("chromium chromium-driver")


@pytest.mark.parametrize(("ci", "status"), [("", 0), ("true", 1)])
def test_what_cannot_be_got_is_an_error_in_ci_only(tmp_path: Path, ci: str, status: int) -> None:
    # no apt-get there either
    done = run_install(PATH=str(tmp_path), CI=ci)
    assert done.returncode == status, done.stdout + done.stderr
    assert "missing: mbsync" in done.stdout


@pytest.mark.parametrize("name", [one.name for one in TOOLS if one.unpacked_with is not None])
def test_unpacked_servers_have_all_their_libraries(name: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(name)
    assert tool(name).present()


def test_program_without_its_library_does_not_count_as_present(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("courier")
    tree = packages.SERVERS / "courier"
    program = tmp_path / "usr/bin/imapd"
    program.parent.mkdir(parents=True)
    program.write_bytes((tree / "usr/bin/imapd").read_bytes())
    assert packages.runs(tree, "usr/bin/imapd")
    assert not packages.runs(tmp_path, "usr/bin/imapd")


def test_no_service_is_started_while_packages_are_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tmp_path / "policy-rc.d"
    monkeypatch.setattr(packages, "POLICY", policy)
    with packages.no_service_starts():
        assert subprocess.run([policy], check=False).returncode == 101
    assert not policy.exists()


def test_policy_of_the_machine_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text("its own")
    monkeypatch.setattr(packages, "POLICY", policy)
    with packages.no_service_starts():
        pass
    assert policy.read_text() == "its own"


@pytest.mark.parametrize("server", [Cyrus, Courier])
def test_server_starts_from_below_a_closed_directory(
    server: type[ImapServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(server.name)
    closed = tmp_path / "closed"
    shutil.copytree(packages.SERVERS / server.name, closed / server.name, symlinks=True)
    closed.chmod(0o700)
    monkeypatch.setattr(packages, "SERVERS", closed)
    with server() as started, started.connect(started.new_user()) as box:
        assert "INBOX" in box.folders()
