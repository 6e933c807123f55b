"""`manage.py up` on real PostgreSQL and Valkey: it starts, it stops, and nothing that is killed stops the next."""

from __future__ import annotations

import json
import signal
import urllib.error
import urllib.request

import pytest

from tests.project.running import Installation, wait_until

pytestmark = pytest.mark.timeout(240)

COUNT = "from accounts.models import Application as A; print(A.objects.filter(name__startswith='kept').count())"


def keep(installation: Installation, name: str) -> None:
    """Store a row through the running stack."""
    code = f"from accounts.models import Application as A; A.objects.create(name={name!r})"
    done = installation.run("shell", "--no-imports", "-c", code)
    assert done.returncode == 0, done.stderr


def kept(installation: Installation) -> int:
    """Return how many rows that `keep` stored are there."""
    done = installation.run("shell", "--no-imports", "-c", COUNT)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def answer(installation: Installation, path: str) -> tuple[int, object]:
    """Return status and JSON of a path."""
    with urllib.request.urlopen(f"http://127.0.0.1:{installation.port}{path}", timeout=10) as response:
        return response.status, json.load(response)


def metrics(installation: Installation, headers: dict[str, str] | None = None) -> int:
    """Return the status that /metrics answers with."""
    request = urllib.request.Request(f"http://127.0.0.1:{installation.port}/metrics", headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            status: int = response.status
            return status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.mark.faults
def test_up_goes_on_where_it_was_after_every_kind_of_kill(installation: Installation) -> None:
    up = installation.up()
    assert answer(installation, "/healthz")[0] == 200
    assert answer(installation, "/readyz")[0] == 200
    assert metrics(installation) == 200
    assert metrics(installation, {"X-Forwarded-For": "127.0.0.1"}) == 403
    keep(installation, "kept 1")
    postmaster = next(one for one in installation.processes() if one.cmdline()[0].endswith("/postgres"))
    assert 0 not in postmaster.uids()

    refused = installation.run("up")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert f"manage.py up (pid {up.pid})" in refused.stderr

    up.kill()
    up.wait()
    up = installation.up()
    assert kept(installation) == 1
    keep(installation, "kept 2")

    killed = installation.processes()
    assert len(killed) > 6
    for process in killed:
        process.kill()
    up.wait()
    up = installation.up()
    assert kept(installation) == 2

    up.send_signal(signal.SIGTERM)
    assert up.wait(30) == 0, installation.log()
    assert installation.processes() == []
    # and a command alone starts what it needs, and leaves nothing
    assert kept(installation) == 2
    assert installation.processes() == []


@pytest.mark.faults
def test_process_that_dies_is_started_again_and_none_outlives_up(installation: Installation) -> None:
    up = installation.up()
    (beat,) = [process for process in installation.processes() if "project.beat" in process.cmdline()]
    beat.kill()
    assert wait_until(
        lambda: any(
            "project.beat" in process.cmdline() and process.pid != beat.pid for process in installation.processes()
        )
    )
    assert "beat ended with status -9" in installation.log()
    assert len(installation.processes()) > 6
    up.kill()
    up.wait()
    assert wait_until(lambda: not installation.processes(), 30), [p.cmdline() for p in installation.processes()]
