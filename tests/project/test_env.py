"""A wrong setting stops the start with one line: the variable, its value unless it is a secret, what is allowed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from project import env
from tests.project.running import ROOT, Installation


def started_with(data_dir: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command that reads every setting and needs nothing else."""
    return Installation(data_dir, **settings).run("version")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", "80000", "PORT='80000': allowed: a whole number from 1 to 65535"),
        ("PORT", "eighty", "PORT='eighty': allowed: a whole number from 1 to 65535"),
        ("SYNC_PROCESSES", "0", "SYNC_PROCESSES='0': allowed: a whole number from 1 to 256"),
        ("LOG_FORMAT", "xml", "LOG_FORMAT='xml': allowed: console, json"),
        ("HOST", "a b", "HOST='a b': allowed: an IP address or a host name"),
        ("ALLOWED_PRIVATE_NETWORKS", "10.0.0.1/8", "ALLOWED_PRIVATE_NETWORKS='10.0.0.1/8': allowed: networks such as"),
        ("PUBLIC_URL", "ftp://x", "PUBLIC_URL='ftp://x': allowed: a URL beginning with http:// or https://"),
        ("BLOB_STORAGE", "storage", "BLOB_STORAGE='storage': allowed: the dotted path of a class"),
        ("SHARD_0_URL", "postgresql://h/d", "SHARD_0_URL: allowed: SHARD_<n>_URL with n from 1 to 32767"),
        ("SECRET_KEY_FILE", "/nowhere", "SECRET_KEY_FILE='/nowhere': allowed: the path of a file that we can read"),
        ("EMAIL_URL", "mail.example.org", "EMAIL_URL: not usable; allowed: a URL beginning with smtp://"),
    ],
)
def test_bad_value_stops_the_start_with_one_line(tmp_path: Path, name: str, value: str, said: str) -> None:
    done = started_with(tmp_path / "var", **{name: value})
    assert done.returncode == 2
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("DATABASE_URL", "mysql://user:hunter2@host/name"),
        ("REDIS_URL", "http://:hunter2@host"),
        ("ENCRYPTION_KEYS", "hunter2"),
        ("FLOWER_AUTH", "hunter2"),
        ("SHARD_3_URL", "postgresql://user:hunter2@host"),
    ],
)
def test_secret_is_never_shown(tmp_path: Path, name: str, secret: str) -> None:
    done = started_with(tmp_path / "var", **{name: secret})
    assert done.returncode == 2
    assert done.stderr.startswith(f"{name}: ")
    assert done.stderr.count("\n") == 1
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize("name", ["SECRET_KEY", "ENCRYPTION_KEYS", "FLOWER_AUTH"])
def test_secret_is_not_made_for_an_outside_database(tmp_path: Path, name: str) -> None:
    given = {"SECRET_KEY": "s" * 50, "ENCRYPTION_KEYS": "e" * 50, "FLOWER_AUTH": "user:password"}
    del given[name]
    done = started_with(tmp_path / "var", DATABASE_URL="postgresql://user@host/name", **given)
    assert done.returncode == 2
    assert done.stderr == f"{name}: not set; it must be, or {name}_FILE, when DATABASE_URL is an outside database\n"


def test_made_secret_stays_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "var" / "secrets" / "SECRET_KEY"
    assert started_with(tmp_path / "var").returncode == 0
    first = path.read_text()
    assert len(first.strip()) >= 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert started_with(tmp_path / "var").returncode == 0
    assert path.read_text() == first


def test_processes_that_make_a_secret_at_once_agree_on_it(tmp_path: Path) -> None:
    code = "import sys, pathlib; from project.env import kept_secret; print(kept_secret(pathlib.Path(sys.argv[1])))"
    command = [sys.executable, "-c", code, str(tmp_path / "secrets" / "KEY")]
    started = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    assert len({process.communicate()[0] for process in started}) == 1
    assert [path.name for path in (tmp_path / "secrets").iterdir()] == ["KEY"]


def test_secret_comes_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("from a file\n")
    monkeypatch.setenv("SOME_KEY_FILE", str(tmp_path / "key"))
    assert env.secret("SOME_KEY") == "from a file"
    monkeypatch.setenv("SOME_KEY", "direct")
    assert env.secret("SOME_KEY") == "direct"


def test_database_url_is_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X_URL", "postgresql://us%40er:p%3Aw@db.example:6432/mail?sslmode=require&connect_timeout=3")
    assert env.database("X_URL") == {
        "NAME": "mail",
        "USER": "us@er",
        "PASSWORD": "p:w",
        "HOST": "db.example",
        "PORT": "6432",
        "OPTIONS": {"sslmode": "require", "connect_timeout": "3"},
    }
