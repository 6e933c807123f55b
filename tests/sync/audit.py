"""What must hold of a mirror after a complete pass, checked from outside: against the server, its own log, its past.

Reads the server with the tests' imaplib client and the mirror from its tables; nothing of how it was made is used.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime

from django.db.models import Count

from accounts.changelog.models import Transaction
from accounts.changelog.reader import latest
from accounts.changelog.words import Kind, ObjectType
from sync.blobs import open_blob
from sync.models import Blob, Folder, FolderMessage, Message, Thread
from sync.plan import message_state
from sync.services.copies import copy_facts, is_unseen
from tests.accounts.changelog.replaying import Snapshot, replay, snapshot
from tests.servers.mailbox import Mailbox, Refused

#: path -> UID -> (SHA-256 of the raw mail, flags, INTERNALDATE).
Contents = dict[str, dict[str, tuple[str, frozenset[str], datetime | None]]]
MAIL = (ObjectType.MESSAGE, ObjectType.DRAFT)


class Audit:
    """Follows one account over many passes: `noticed` after whatever may have read the server, `check` after a pass."""

    def __init__(self, account_id: int, box: Mailbox) -> None:
        self.account_id, self.box = account_id, box
        #: What a client holds that followed the log so far, and its place.
        self._followed: Snapshot = {}
        self._place = 0
        #: Objects that the log says exist.
        self._alive: set[tuple[int, int]] = set()
        #: SHA-256 -> message id, of every mail ever mirrored.
        self._ids: dict[str, int] = {}
        #: SHA-256 of mails that were there at every look since the last pass.
        self._stayed: set[str] = set()
        #: SHA-256 of mails whose stored bytes were read.
        self._read: set[bytes] = set()

    def noticed(self, there: set[str]) -> None:
        """The mirror may have seen the server as it is now: what is not `there` (SHA-256) may be gone for it."""
        self._stayed &= there

    def check(self) -> None:
        """Compare everything. Call after a complete pass, nothing changed since."""
        there = read_server(self.box)
        mirrored = read_mirror(self.account_id)
        assert mirrored.keys() == there.keys(), "folders differ"
        for path, messages in there.items():
            assert mirrored[path] == messages, f"{path} differs"
        self.noticed({sha256 for messages in there.values() for sha256, _, _ in messages.values()})
        self._check_bytes()
        self._check_ids()
        check_columns(self.account_id)
        self._check_log()

    def _check_bytes(self) -> None:
        """Each mail is stored as it was; read once, and again should it go away and come back."""
        messages = Message.objects.filter(account_id=self.account_id).only("sha256", "size")
        there = {bytes(one.sha256): one for one in messages}
        for sha256 in there.keys() - self._read:
            pieces = list(open_blob(self.account_id, sha256, there[sha256].size).pieces())
            assert hashlib.sha256(b"".join(pieces)).digest() == sha256, f"message {there[sha256].pk} was altered"
        self._read = set(there)

    def _check_ids(self) -> None:
        """A mail has the same id for ever, here: within the day for which ids are remembered."""
        rows = Message.objects.filter(account_id=self.account_id).values_list("sha256", "pk")
        now = {bytes(sha256).hex(): pk for sha256, pk in rows}
        for sha256, pk in now.items():
            assert self._ids.setdefault(sha256, pk) == pk, f"message {self._ids[sha256]} became {pk}"
        self._present = now

    def _check_log(self) -> None:
        """The log is a possible history, says of mail that stayed at most that it changed, and makes the tables."""
        rows = Transaction.objects.filter(account_id=self.account_id, seq__gt=self._place).order_by("seq")
        history = list(rows.values_list("object_type", "object_id", "kind"))
        for object_type, pk, kind in history:
            self._apply(object_type, pk, kind)
        for sha256 in self._stayed:
            self._check_stayed(self._ids[sha256], history)
        self._followed = replay(self.account_id, self._followed, self._place, limit=50)
        assert self._followed == snapshot(self.account_id), "the log does not make the tables"
        self._place = latest(self.account_id)
        self._stayed = set(self._present)

    def _apply(self, object_type: int, pk: int, kind: int) -> None:
        what = f"{ObjectType(object_type).label} {pk} {Kind(kind).label}"
        if object_type == ObjectType.GRANT:
            return
        if kind == Kind.CREATED:
            assert (object_type, pk) not in self._alive, f"{what} twice"
            self._alive.add((object_type, pk))
            return
        assert (object_type, pk) in self._alive, f"{what}, but it is not there"
        if kind == Kind.DELETED:
            self._alive.remove((object_type, pk))

    def _check_stayed(self, pk: int, history: list[tuple[int, int, int]]) -> None:
        """Of a mail that stayed only the draft mark may have changed: `deleted` of one type, `created` of the other."""
        mine = [(kind, of_type) for of_type, one, kind in history if one == pk and of_type in MAIL]
        ends = [(kind, of_type) for kind, of_type in mine if kind != Kind.UPDATED]
        for gone, come in zip(ends[::2], ends[1::2], strict=True):
            assert {gone[0], come[0]} == {Kind.DELETED, Kind.CREATED}, f"message {pk} stayed, the log says {ends}"
            assert gone[1] != come[1], f"message {pk} stayed, and was deleted and created"


def open_folders(box: Mailbox) -> Iterator[str]:
    """Tell the folders that can be opened; Dovecot also lists deleted ones that have others below them."""
    for path in box.folders():
        with contextlib.suppress(Refused):
            box.select(path)
            yield path


def read_server(box: Mailbox) -> Contents:
    """Read every folder of the server whole."""
    return {
        path: {
            str(uid): (hashlib.sha256(one.raw).hexdigest(), one.flags, one.internal_date)
            for uid, one in box.messages(path).items()
        }
        for path in open_folders(box)
    }


def read_mirror(account_id: int) -> Contents:
    """Read which copies are mirrored, each named by the hash of its message."""
    found: Contents = {}
    for folder in Folder.objects.filter(account_id=account_id, selectable=True):
        copies = FolderMessage.objects.filter(folder=folder)
        rows = copies.values_list("remote_id", "message__sha256", "flags", "internal_date")
        found[folder.path] = {uid: (bytes(sha256).hex(), frozenset(flags), date) for uid, sha256, flags, date in rows}
    return found


def check_columns(account_id: int) -> None:
    """What follows from copies is what the columns say, nothing is held, and no mail is stored that nobody has."""
    messages = {one.pk: one for one in Message.objects.filter(account_id=account_id)}
    facts = copy_facts(account_id, list(messages))
    for pk, message in messages.items():
        assert message.held_by is None, f"message {pk} is held"
        for column, value in _columns_of(message_state(facts[pk])).items():
            assert getattr(message, column) == value, f"{column} of message {pk}"
    stored = {bytes(sha256) for sha256 in Blob.objects.filter(account_id=account_id).values_list("sha256", flat=True)}
    assert stored == {bytes(one.sha256) for one in messages.values() if one.size}, "blobs and messages differ"
    _check_folders(account_id)
    _check_threads(account_id, messages)


def _columns_of(state: object) -> dict[str, object]:
    names = ("folder_ids", "flags", "unread", "starred", "copies", "is_draft", "date")
    return {name: getattr(state, name) for name in names}


def _check_folders(account_id: int) -> None:
    folders = Folder.objects.filter(account_id=account_id).annotate(below=Count("children"))
    flags: dict[int, list[list[str]]] = defaultdict(list)
    for folder_id, one in FolderMessage.objects.filter(account_id=account_id).values_list("folder_id", "flags"):
        flags[folder_id].append(one)
    for folder in folders:
        counted = (len(flags[folder.pk]), sum(map(is_unseen, flags[folder.pk])), folder.below)
        told = (folder.total_count, folder.unread_count, folder.child_count)
        assert told == counted, f"counts of {folder.path}"
        above = folder.path.rpartition(folder.delimiter or "/")[0]
        assert (folder.parent.path if folder.parent else "") == above, f"parent of {folder.path}"


def _check_threads(account_id: int, messages: Mapping[int, Message]) -> None:
    in_thread: dict[int, list[Message]] = defaultdict(list)
    thread_of: dict[str, int] = {}
    for message in messages.values():
        in_thread[message.thread_id].append(message)
        if message.message_id_header:
            thread_of[message.message_id_header] = message.thread_id
    for message in messages.values():
        assert thread_of.get(message.in_reply_to, message.thread_id) == message.thread_id, "an answer left its thread"
    threads = {one.pk: one for one in Thread.objects.filter(account_id=account_id)}
    assert threads.keys() == in_thread.keys(), "threads without messages"
    for pk, thread in threads.items():
        mails = [one for one in in_thread[pk] if not one.is_draft]
        told = (thread.folder_ids, thread.unread, thread.starred, thread.has_drafts)
        assert told == (
            sorted({folder_id for one in in_thread[pk] for folder_id in one.folder_ids}),
            any(one.unread for one in mails),
            any(one.starred for one in mails),
            len(mails) < len(in_thread[pk]),
        ), f"columns of thread {pk}"
        assert thread.latest_date == max(one.date for one in mails or in_thread[pk]), f"date of thread {pk}"
