"""Missing servers are skipped, or fail under CI=true; servers never outlive the tests."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.processes import group_members, wait_until

ROOT = Path(__file__).resolve().parents[2]


def pytest_command(tests: Path) -> list[str]:
    """A pytest of its own, without the project's settings."""
    options = ["-p", "tests.servers.plugin", "-p", "no:django", "-p", "no:cacheprovider", "-rs", "-s"]
    return [sys.executable, "-m", "pytest", "-c", "/dev/null", "--rootdir", str(tests.parent), *options, str(tests)]


def environment(**changes: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "CI"}
    return {**kept, "PYTHONPATH": str(ROOT), **changes}


@pytest.mark.parametrize(("ci", "status", "outcome"), [("", 0, "1 skipped"), ("true", 1, "1 error")])
def test_missing_tool_skips_its_tests_but_fails_in_ci(tmp_path: Path, ci: str, status: int, outcome: str) -> None:
    tests = tmp_path / "test_it.py"
    tests.write_text('import pytest\n@pytest.mark.server("mbsync")\ndef test_it(): assert False\n')
    where_nothing_is = environment(PATH=str(tmp_path), CI=ci)
    done = subprocess.run(pytest_command(tests), env=where_nothing_is, capture_output=True, text=True, timeout=60)
    assert (done.returncode, outcome in done.stdout) == (status, True), done.stdout + done.stderr
    assert "apt-get install -y --no-install-recommends isync" in done.stdout


@pytest.mark.parametrize("name", ["dovecot", "cyrus", "courier"])
def test_servers_die_with_a_killed_pytest(tmp_path: Path, name: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(name)
    tests = tmp_path / "test_it.py"
    tests.write_text(
        f"def test_it({name}):\n"
        f"    with {name}.connect({name}.new_user()) as box:\n"
        f"        box.append('INBOX', b'Subject: x\\r\\n\\r\\n')\n"
        f"        print('\\nserver', {name}.process.pid, {name}.directory, flush=True)\n"
        "        import signal; signal.pause()\n"
    )
    with subprocess.Popen(pytest_command(tests), env=environment(), stdout=subprocess.PIPE, text=True) as pytest_run:
        assert pytest_run.stdout
        [line] = [next(line for line in pytest_run.stdout if line.startswith("server "))]
        _, pid, directory = line.split()
        group = int(pid)
        assert group_members(group)
        pytest_run.send_signal(signal.SIGKILL)
    assert wait_until(lambda: not group_members(group))
    # nobody was left to do it
    shutil.rmtree(directory)
