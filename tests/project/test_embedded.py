"""The embedded servers: what a database is made with, what stands in its way, and how it gets to another version."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest

from project.children import Identity, Record, as_owner, identity, members
from project.data_dir import kept_port, secret_path
from project.embedded import EmbeddedServers, record_of
from project.embedded_postgres import EmbeddedFault, PostgresServer, make_cluster, place
from project.env import kept_secret
from project.postgres_upgrade import DISTRIBUTION, upgrade
from tests.project.running import Installation

#: A version that a distribution has beside ours.
OLD = next((version for version in ("17", "16", "15") if Path(DISTRIBUTION.format(version=version)).is_dir()), None)


def ask(data_dir: Path, query: str) -> object:
    """Return the first value that a query on the embedded database answers."""
    connection = psycopg2.connect(
        host="127.0.0.1",
        port=kept_port(data_dir, "postgres"),
        user="mailmirror",
        password=kept_secret(secret_path(data_dir, "postgres")),
        dbname="mailmirror",
    )
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(query)
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None
    finally:
        connection.close()


@pytest.mark.faults
def test_server_that_dies_is_started_again_and_one_that_cannot_is_tried_again_later(installation: Installation) -> None:
    servers = EmbeddedServers(installation.data_dir, ["postgres", "valkey"])
    servers.start()
    said: list[str] = []
    try:
        ask(installation.data_dir, "CREATE TABLE kept AS SELECT 7 AS seven")
        for server in servers.started:
            assert server.child is not None
            server.child.kill()
            server.child.wait()
        with socket.socket() as stranger:
            stranger.bind(("127.0.0.1", kept_port(installation.data_dir, "valkey")))
            servers.revive(said.append)
        assert ask(installation.data_dir, "SELECT seven FROM kept") == 7
        assert said[:2] == [
            "postgres ended with status -9; starting it again",
            "valkey ended with status -9; starting it again",
        ]
        assert "Valkey does not start" in said[2]
        servers.revive(said.append)
        assert len(said) == 3
        servers.not_before = 0.0
        servers.revive(said.append)
        assert servers.started[1].child is not None
        assert servers.started[1].child.poll() is None
        servers.revive(said.append)
        assert len(said) == 4
    finally:
        servers.stop()


def test_database_knows_letters_of_every_script(installation: Installation) -> None:
    servers = EmbeddedServers(installation.data_dir, ["postgres"], unsafe=True)
    servers.start()
    try:
        assert ask(installation.data_dir, "SELECT lower('ÉЖÄ')") == "éжä"
        ask(installation.data_dir, "CREATE EXTENSION pg_trgm")
        assert ask(installation.data_dir, "SELECT cardinality(show_trgm('Ж'))") == 2
        assert ask(installation.data_dir, "SHOW server_encoding") == "UTF8"
        assert ask(installation.data_dir, "SHOW data_checksums") == "on"
        with pytest.raises(psycopg2.OperationalError, match="password"):
            psycopg2.connect(
                host="127.0.0.1",
                port=kept_port(installation.data_dir, "postgres"),
                user="mailmirror",
                password="wrong",
                dbname="mailmirror",
            )
    finally:
        servers.stop()


def test_pid_file_that_names_a_stranger_does_not_block(installation: Installation) -> None:
    server = PostgresServer(installation.data_dir, record_of(installation.data_dir), unsafe=True)
    server.start()
    assert server.child is not None
    where = place(installation.data_dir)
    pid_file = (where.data / "postmaster.pid").read_text()
    server.stop()
    # of the same user, so that PostgreSQL may send it a signal, which is its test
    with subprocess.Popen(["sleep", "60"], **as_owner(where.owner)) as stranger:
        lines = pid_file.splitlines(keepends=True)
        (where.data / "postmaster.pid").write_text("".join([f"{stranger.pid}\n", *lines[1:]]))
        server.start()
        assert ask(installation.data_dir, "SELECT 1") == 1
        server.stop()
        assert stranger.poll() is None
        stranger.kill()


def test_cut_off_pid_file_does_not_block(installation: Installation) -> None:
    server = PostgresServer(installation.data_dir, record_of(installation.data_dir), unsafe=True)
    (server.prepare().data / "postmaster.pid").write_text("")
    server.start()
    assert ask(installation.data_dir, "SELECT 1") == 1
    server.stop()


def test_port_that_a_stranger_took_is_given_up(installation: Installation) -> None:
    servers = EmbeddedServers(installation.data_dir, ["postgres", "valkey"])
    before = {name: kept_port(installation.data_dir, name) for name in servers.names}
    assert not servers.settle_ports()
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", before["postgres"]))
        stranger.listen()
        assert servers.settle_ports()
    assert kept_port(installation.data_dir, "postgres") != before["postgres"]
    assert kept_port(installation.data_dir, "valkey") == before["valkey"]


def test_record_does_not_take_a_stranger_with_the_same_pid_for_a_child(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        now = identity("stranger", stranger.pid)
        assert now is not None
        assert members(now) == [stranger.pid]
        assert members(replace(now, started=now.started - 1)) == []
        assert members(replace(now, boot="another")) == []
        stranger.kill()


def test_leftovers_end_with_the_children_they_have(tmp_path: Path) -> None:
    record = Record(tmp_path / "processes")
    # the leader is gone, its child is not: such as a web worker whose master was killed
    leader = subprocess.Popen(["sh", "-c", "sleep 60 & sleep 60"], start_new_session=True)
    child = record.add("shell", leader.pid)
    assert isinstance(child, Identity)
    deadline = time.monotonic() + 5
    while len(members(child)) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    leader.kill()
    leader.wait()
    assert len(members(child)) == 2
    assert record.end_leftovers() == ["shell"]
    assert members(child) == []
    assert not record.path.exists()


@pytest.mark.skipif(OLD is None, reason="no second version of PostgreSQL: apt-get install postgresql")
def test_data_of_another_major_version_is_refused_then_upgraded(installation: Installation) -> None:
    assert OLD is not None
    data_dir = installation.data_dir
    record = record_of(data_dir)
    new = place(data_dir)
    old = replace(new, programs=Path(DISTRIBUTION.format(version=OLD)))
    make_cluster(old, kept_secret(secret_path(data_dir, "postgres")), unsafe=True)
    server = PostgresServer(data_dir, record, unsafe=True, where=old)
    server.start()
    ask(data_dir, "CREATE TABLE kept AS SELECT 'É' AS letter")
    server.stop()

    with pytest.raises(EmbeddedFault, match=r"manage\.py upgrade_postgres"):
        PostgresServer(data_dir, record, unsafe=True).start()
    refused = installation.run("migrate")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "manage.py upgrade_postgres" in refused.stderr

    done = installation.run("upgrade_postgres")
    assert done.returncode == 0, done.stderr
    assert f"upgraded from {OLD}" in done.stdout
    server = PostgresServer(data_dir, record, unsafe=True)
    server.start()
    try:
        assert ask(data_dir, "SELECT lower(letter) FROM kept") == "é"
    finally:
        server.stop()
    assert upgrade(data_dir, record, lambda line: None) is None
    assert (new.home / f"data-{OLD}").is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="a plain user's PostgreSQL runs as that user")
def test_root_has_postgres_run_as_another_user_outside_a_closed_directory(installation: Installation) -> None:
    server = PostgresServer(installation.data_dir, record_of(installation.data_dir), unsafe=True)
    server.start()
    try:
        assert server.child is not None
        assert Path(f"/proc/{server.child.pid}").stat().st_uid != 0
        link = installation.data_dir / "postgres"
        assert link.is_symlink()
        assert link.resolve().parent == Path("/var/lib/mailmirror")
        # the parents are as closed as they were
        top = Path(*installation.data_dir.parts[:3])
        assert top.stat().st_mode & 0o777 == 0o700
    finally:
        server.stop()
    shutil.rmtree(link.resolve())
