"""The sample mailbox, pulled whole by clients we did not write: mbsync to a Maildir, IMAPClient, imaplib."""

from __future__ import annotations

import imaplib
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from imapclient import IMAPClient

from project.demo.mailbox import fill
from project.demo.server import DemoServer
from project.demo.store import Store

NOW = datetime(2026, 6, 15, 12, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def sample_server() -> Iterator[DemoServer]:
    store = Store()
    fill(store, NOW)
    with DemoServer(store=store) as server:
        yield server


def _mbsync(server: DemoServer, directory: Path) -> str:
    configuration = directory / "mbsyncrc"
    configuration.write_text(
        f"""
IMAPAccount demo
Host 127.0.0.1
Port {server.port}
User {server.username}
Pass {server.password}
SSLType None
AuthMechs *

IMAPStore far
Account demo

MaildirStore near
Path {directory}/mail/
Inbox {directory}/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Near
Expunge Both
Sync All
SyncState *
""",
        "utf-8",
    )
    (directory / "mail").mkdir(exist_ok=True)
    done = subprocess.run(
        ["mbsync", "-c", str(configuration), "-a"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _maildir(folder: Path) -> Counter[bytes]:
    """Return the mails in a Maildir with CRLF, without the line mbsync adds for itself."""
    files = [path for part in ("cur", "new") for path in (folder / part).iterdir()]
    raws = [re.sub(rb"^X-TUID: .*\n", b"", path.read_bytes(), count=1, flags=re.MULTILINE) for path in files]
    return Counter(raw.replace(b"\n", b"\r\n") for raw in raws)


@pytest.mark.skipif(shutil.which("mbsync") is None, reason="mbsync (Debian's isync) is not installed")
def test_mbsync_pulls_the_whole_mailbox_byte_for_byte(sample_server: DemoServer, tmp_path: Path) -> None:
    _mbsync(sample_server, tmp_path)
    for name in sample_server.folders():
        expected = Counter(raw for _, raw in sample_server.messages(name).values())
        assert _maildir(tmp_path / "mail" / _as_mbsync_names(name)) == expected, name


def _as_mbsync_names(name: str) -> str:
    """mbsync keeps names in modified UTF-7."""
    from imapclient.imap_utf7 import encode

    wire: bytes = encode(name)
    return wire.decode("ascii")


@pytest.mark.skipif(shutil.which("mbsync") is None, reason="mbsync (Debian's isync) is not installed")
def test_mbsync_carries_changes_both_ways(tmp_path: Path) -> None:
    with DemoServer() as server:
        for number in range(3):
            server.append("INBOX", b"Subject: %d\r\n\r\nbody\r\n" % number)
        server.create("Box")
        _mbsync(server, tmp_path)
        inbox = tmp_path / "mail" / "INBOX"
        first = next(path for path in (inbox / "new").iterdir() if b"Subject: 0" in path.read_bytes())
        first.rename(inbox / "cur" / (first.name.partition(":2,")[0] + ":2,FS"))
        (tmp_path / "mail" / "Box" / "new" / "1.ours").write_bytes(b"Subject: ours\n\nwritten here\n")
        server.expunge("INBOX", 2)
        server.add_flags("INBOX", 3, "\\Answered")
        _mbsync(server, tmp_path)
        assert {uid: flags for uid, (flags, _) in server.messages("INBOX").items()} == {
            1: {"\\Flagged", "\\Seen"},
            3: {"\\Answered"},
        }
        assert [b"written here" in raw for _, raw in server.messages("Box").values()] == [True]
        assert len(_maildir(inbox)) == 2
        assert any(path.name.endswith(":2,R") for path in (inbox / "cur").iterdir())


def test_imapclient_reads_every_message_in_every_way(sample_server: DemoServer) -> None:
    client = IMAPClient("127.0.0.1", sample_server.port, ssl=False)
    client.login(sample_server.username, sample_server.password)
    for _, _, name in client.list_folders():
        client.select_folder(name, readonly=True)
        uids = client.search()
        wanted = ["BODY.PEEK[]", "FLAGS", "RFC822.SIZE", "INTERNALDATE", "ENVELOPE", "BODYSTRUCTURE"]
        data = client.fetch(uids, wanted) if uids else {}
        held = sample_server.messages(name)
        assert {uid: told[b"BODY[]"] for uid, told in data.items()} == {uid: raw for uid, (_, raw) in held.items()}
        assert all(told[b"RFC822.SIZE"] == len(told[b"BODY[]"]) for told in data.values())
        assert all(told[b"ENVELOPE"].message_id for told in data.values())
    client.logout()


def test_imaplib_reads_a_folder_with_an_international_name(sample_server: DemoServer) -> None:
    with imaplib.IMAP4("127.0.0.1", sample_server.port) as client:
        client.login(sample_server.username, sample_server.password)
        status, count = client.select('"Kites/&mM57XQ-"', readonly=True)
        assert (status, count) == ("OK", [b"1"])
        _, data = client.fetch("1", "(RFC822)")
    assert isinstance(data[0], tuple)
    assert data[0][1] == sample_server.messages("Kites/风筝")[1][1]
