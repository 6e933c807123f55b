"""A directory of .eml files as the mailboxes' home, and the server as a process."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from imapclient import IMAPClient

from project.demo.server import DemoServer
from project.demo.spool import Spool
from project.demo.store import Store
from tests.project.demo.letters import PLAIN, letter
from tests.project.demo.lines import LineClient
from tests.project.demo.waiting import wait_until


def test_files_that_are_there_are_the_mailboxes(tmp_path: Path) -> None:
    (tmp_path / "INBOX").mkdir()
    (tmp_path / "INBOX" / "one.eml").write_bytes(PLAIN)
    (tmp_path / "Projects" / "Entwürfe").mkdir(parents=True)
    (tmp_path / "Projects" / "Entwürfe" / "unix.eml").write_bytes(PLAIN.replace(b"\r\n", b"\n"))
    with DemoServer(directory=tmp_path) as server:
        assert server.folders() == ["INBOX", "Projects", "Projects/Entwürfe"]
        assert server.messages("INBOX") == {1: (frozenset(), PLAIN)}
        assert server.messages("Projects/Entwürfe")[1][1] == PLAIN


def test_dropped_file_reaches_an_idle_client_within_a_second(tmp_path: Path) -> None:
    with DemoServer(directory=tmp_path) as server, LineClient(server.port) as client:
        client.login(server.username, server.password)
        client.command("SELECT INBOX")
        client.send(b"i IDLE\r\n")
        assert client.line() == b"+ idling"
        (tmp_path / "INBOX").mkdir(exist_ok=True)
        began = time.monotonic()
        (tmp_path / "INBOX" / "new.eml").write_bytes(PLAIN)
        assert client.line() == b"* 1 EXISTS"
        assert time.monotonic() - began < 1
        (tmp_path / "INBOX" / "new.eml").unlink()
        assert client.line() == b"* 1 EXPUNGE"


def test_folders_may_come_and_go_while_the_server_runs(tmp_path: Path) -> None:
    with DemoServer(directory=tmp_path) as server:
        (tmp_path / "Projects" / "New").mkdir(parents=True)
        for number in range(3):
            (tmp_path / "Projects" / "New" / f"{number}.eml").write_bytes(letter(number))
        wait_until(lambda: "Projects/New" in server.folders() and len(server.messages("Projects/New")) == 3)
        (tmp_path / "Projects" / "New" / "1.eml").unlink()
        wait_until(lambda: len(server.messages("Projects/New")) == 2)
        shutil.rmtree(tmp_path / "Projects")
        wait_until(lambda: server.messages("Projects/New") == {})


def test_expunged_message_takes_its_file_along(tmp_path: Path) -> None:
    (tmp_path / "INBOX").mkdir()
    (tmp_path / "INBOX" / "one.eml").write_bytes(PLAIN)
    with DemoServer(directory=tmp_path) as server:
        server.expunge("INBOX", 1)
        wait_until(lambda: not (tmp_path / "INBOX" / "one.eml").exists())


def test_half_written_file_is_taken_only_when_it_has_stopped_growing(tmp_path: Path) -> None:
    store = Store()
    spool = Spool(tmp_path, store)
    spool.load()
    (tmp_path / "INBOX").mkdir()
    path = tmp_path / "INBOX" / "big.eml"
    for part in (b"Subject: big\r\n", b"Subject: big\r\n\r\nfirst half\r\n", b"Subject: big\r\n\r\nboth halves\r\n"):
        path.write_bytes(part)
        spool.look()
        assert store.is_empty()
    spool.look()
    assert store.mailbox("INBOX").messages[1].raw == path.read_bytes()


def test_restart_keeps_uids_flags_and_uidvalidity(tmp_path: Path) -> None:
    with DemoServer(directory=tmp_path) as server:
        server.create("Sent", role="\\Sent")
        server.append("INBOX", letter(1))
        server.append("INBOX", letter(2), ["\\Seen", "Work"])
        server.expunge("INBOX", 1)
        before = server.call(lambda: vars(server.store.mailbox("INBOX")) | {"watchers": None})
    with DemoServer(directory=tmp_path) as server:
        after = server.call(lambda: vars(server.store.mailbox("INBOX")) | {"watchers": None})
        kept = ("uidvalidity", "uidnext", "modseq", "messages")
        assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
        assert server.store.mailbox("Sent").role == "\\Sent"


def test_killed_server_comes_back_under_another_uidvalidity(tmp_path: Path) -> None:
    with DemoServer(directory=tmp_path) as server:
        server.append("INBOX", letter(1))
        before = server.store.mailbox("INBOX").uidvalidity
    state = tmp_path / ".state.json"
    state.write_text(json.dumps(json.loads(state.read_text("utf-8")) | {"clean": False}), "utf-8")
    with DemoServer(directory=tmp_path) as server:
        assert server.store.mailbox("INBOX").uidvalidity > before
        assert server.messages("INBOX") == {1: (frozenset(), letter(1))}


def test_renamed_mailbox_does_not_come_back_under_its_old_name(tmp_path: Path) -> None:
    with DemoServer(directory=tmp_path) as server:
        server.append("Old", letter(1))
    with DemoServer(directory=tmp_path) as server:
        server.rename("Old", "New")
        server.append("New", letter(2))
    with DemoServer(directory=tmp_path) as server:
        assert server.folders() == ["INBOX", "New"]
        assert [raw for _, raw in server.messages("New").values()] == [letter(1), letter(2)]


@contextlib.contextmanager
def running(tmp_path: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run the server as a process; yields it and its port."""
    password_file, port_file = tmp_path / "password", tmp_path / "port"
    password_file.write_text("s3cret\n", "utf-8")
    command = [sys.executable, "-W", "error", "-m", "project.demo.server", "--dir", str(tmp_path / "mail")]
    command += ["--user", "robin", "--password-file", str(password_file), "--port-file", str(port_file), *options]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.startswith("listening on 127.0.0.1:"), process.communicate()[1]
        port = int(port_file.read_text("ascii"))
        assert said.strip().endswith(f":{port}")
        yield process, port
    finally:
        process.kill()
        process.wait()
        for pipe in filter(None, (process.stdin, process.stdout, process.stderr)):
            pipe.close()


def test_process_serves_the_sample_and_ends_cleanly_on_sigterm(tmp_path: Path) -> None:
    with running(tmp_path, "--sample", "--new-mail-every", "0.2") as (process, port):
        client = IMAPClient("127.0.0.1", port, ssl=False)
        client.login("robin", "s3cret")
        before = client.folder_status("INBOX", ["MESSAGES"])[b"MESSAGES"]
        assert before > 20
        wait_until(lambda: client.folder_status("INBOX", ["MESSAGES"])[b"MESSAGES"] > before)
        process.send_signal(signal.SIGTERM)
        _, complaints = process.communicate(timeout=10)
        assert (process.returncode, complaints) == (0, "")
        client.shutdown()
    assert not (tmp_path / "port").exists()
    assert len(list((tmp_path / "mail" / "INBOX").glob("*.eml"))) > before


def test_process_ends_with_whoever_holds_its_stdin(tmp_path: Path) -> None:
    with running(tmp_path, "--until-stdin-ends") as (process, _):
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=10) == 0


def test_server_needs_nothing_but_the_standard_library() -> None:
    root = Path(__file__).parents[3]
    # Without `site` there are no installed packages to be found.
    command = "import sys; sys.path.insert(0, sys.argv[1]); import project.demo.server"
    done = subprocess.run([sys.executable, "-S", "-c", command, str(root)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("option", ["--dir", "--user", "--password-file"])
def test_process_names_a_missing_option(option: str, tmp_path: Path) -> None:
    options = {"--dir": str(tmp_path), "--user": "u", "--password-file": str(tmp_path / "absent")}
    del options[option]
    words = [word for pair in options.items() for word in pair]
    done = subprocess.run(
        [sys.executable, "-m", "project.demo.server", *words], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 2
    assert option in done.stderr
