"""One look, on real servers: nothing where nothing differs, and all news that the mirror does not have yet."""

from __future__ import annotations

import contextlib
import re
import socket
import socketserver
import threading
from typing import Self

import pytest

from accounts.changelog.reader import latest
from accounts.models import Account
from sync.checking.values import Kind
from sync.models import Folder
from sync.services.checking import SAMPLE, check_account
from tests.sync.checking.conftest import LETTERS, WHEN, expected, mail, named, note
from tests.sync.conftest import Connected


class Liar(socketserver.ThreadingTCPServer):
    """Stands between a client and a server, and adds 1 to every RFC822.SIZE it passes on."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), LyingSession)
        self.behind = port

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.shutdown()
        self.server_close()


class LyingSession(socketserver.BaseRequestHandler):
    server: Liar

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.behind)) as behind:
            threading.Thread(target=self.pass_on, args=(behind,), daemon=True).start()
            for line in behind.makefile("rb"):
                found = re.sub(rb"RFC822\.SIZE (\d+)", lambda size: b"RFC822.SIZE %d" % (int(size[1]) + 1), line)
                self.request.sendall(found)

    def pass_on(self, behind: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while said := self.request.recv(65536):
                behind.sendall(said)
            behind.shutdown(socket.SHUT_RDWR)


on_dovecot = pytest.mark.parametrize("connected", ["dovecot"], indirect=True)


def test_clean_mirror_has_no_difference(filled: Connected) -> None:
    before = latest(filled.account_id)
    flags = filled.server.flags("INBOX")
    report = check_account(filled.account_id, contents=True)
    assert report.differences == []
    assert (report.messages, report.contents) == (8, 8)
    assert report.folders == Folder.objects.filter(account_id=filled.account_id).count()
    assert latest(filled.account_id) == before
    assert filled.server.flags("INBOX") == flags


def test_all_that_happened_on_the_server_is_named(filled: Connected) -> None:
    server = filled.server
    gone, flagged = note(filled, 1), note(filled, 2)
    server.expunge("INBOX", gone.uid)
    server.flag("INBOX", flagged.uid, add=[r"\Answered", "$Work"])
    came = server.append("INBOX", mail(20), [r"\Draft"], WHEN)
    server.create("Neu/数学")
    server.rename("Neu/数学", "Neu/数学 2")
    server.bump_uidvalidity(LETTERS)
    found = {named(one) for one in check_account(filled.account_id, contents=True).differences}
    news = {one for one in found if one[0] not in (Kind.FOLDER_MISSING, Kind.FOLDER_DIFFERS)}
    assert news == {
        expected(Kind.MESSAGE_EXTRA, "INBOX", uid=gone.uid, message=gone.message.pk),
        expected(Kind.FLAGS_DIFFER, "INBOX", uid=flagged.uid, message=flagged.message.pk),
        expected(Kind.MESSAGE_MISSING, "INBOX", uid=came),
        expected(Kind.UIDVALIDITY_DIFFERS, LETTERS),
    }
    # what lies above a new folder may be one too
    assert (Kind.FOLDER_MISSING, "Neu/数学 2") in {one[:2] for one in found - news}
    assert {one[1] for one in found - news} <= {"Neu/数学 2", "Neu"}


@on_dovecot
def test_what_differs_is_told_from_both_sides(filled: Connected) -> None:
    one = note(filled, 1)
    filled.server.flag("INBOX", one.uid, add=["$Work"], remove=[r"\Seen"])
    (found,) = check_account(filled.account_id, contents=False).differences
    assert found.as_json() == {
        "kind": "flags_differ",
        "folder": "INBOX",
        "uid": one.uid,
        "message_id": str(one.message.pk),
        "mirror": [r"\Seen"],
        "server": ["$Work"],
    }


def test_folders_that_are_gone_or_new_are_named(filled: Connected) -> None:
    filled.server.delete(LETTERS)
    filled.server.create("A new one")
    found = {(one.kind, one.folder) for one in check_account(filled.account_id, contents=False).differences}
    assert {(Kind.FOLDER_EXTRA, LETTERS), (Kind.FOLDER_MISSING, "A new one")} <= found
    above = LETTERS.split("/")[0]
    # a server may drop the folder above with its last child
    assert found <= {(Kind.FOLDER_EXTRA, LETTERS), (Kind.FOLDER_MISSING, "A new one")} | {
        (kind, above) for kind in (Kind.FOLDER_EXTRA, Kind.FOLDER_DIFFERS, Kind.FOLDER_MISSING)
    }


@on_dovecot
def test_excluded_folders_are_not_missed(filled: Connected) -> None:
    account = Account.objects.get(pk=filled.account_id)
    account.settings["exclude_folders"] = [LETTERS]
    account.save()
    filled.mirror()
    assert check_account(filled.account_id, contents=False).differences == []
    account.settings["exclude_folders"] = []
    account.save()
    found = check_account(filled.account_id, contents=False).differences
    assert [(one.kind, one.folder) for one in found] == [(Kind.FOLDER_MISSING, LETTERS)]


@on_dovecot
def test_without_contents_a_few_of_each_folder_are_read(filled: Connected) -> None:
    for number in range(30, 30 + SAMPLE):
        filled.server.append("INBOX", mail(number), [], WHEN)
    filled.mirror()
    report = check_account(filled.account_id, contents=False)
    assert report.differences == []
    assert (report.messages, report.contents) == (8 + SAMPLE, SAMPLE + 3)


@on_dovecot
def test_server_that_is_wrong_about_sizes_is_believed_by_what_it_delivers(filled: Connected) -> None:
    # more than a sample of them
    for number in range(40, 40 + SAMPLE):
        filled.server.append("INBOX", mail(number), [], WHEN)
    filled.mirror()
    account = Account.objects.get(pk=filled.account_id)
    with Liar(filled.user.port) as liar:
        account.settings["imap_port"] = liar.server_address[1]
        account.save()
        report = check_account(filled.account_id, contents=False)
    assert report.differences == []
    assert report.contents == 8 + SAMPLE
