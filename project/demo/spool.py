"""A directory as the mailboxes' home: one folder a mailbox, one .eml file a message.

A file that is dropped into a folder arrives as a new message, a file that is removed takes its message along.
UIDs, flags and dates live in `.state.json`, written when the server stops. A server that was killed may have lost
UIDs it gave away since, so the next one starts all mailboxes under a new UIDVALIDITY.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from project.demo.store import Mailbox, Message, Store

#: Seconds between two looks at the directory.
INTERVAL = 0.1

#: Nanoseconds that a file system's clock may lag behind ours.
CLOCK_TICK = 50_000_000

#: SPECIAL-USE of folders found without a state file, by name.
ROLES = {"Sent": "\\Sent", "Drafts": "\\Drafts", "Trash": "\\Trash", "Junk": "\\Junk", "Archive": "\\Archive"}


class _Folder:
    """What a folder held when it was last read."""

    def __init__(self) -> None:
        #: Nanoseconds since 1970; 0: never.
        self.read_at = 0
        self.folders: list[str] = []
        self.mails: set[str] = set()
        #: Those that have become messages.
        self.taken: set[str] = set()

    def read(self, directory: Path) -> None:
        """Read the names of folders and mails."""
        with os.scandir(directory) as entries:
            shown = [entry for entry in entries if not entry.name.startswith(".")]
        self.folders = sorted(entry.name for entry in shown if entry.is_dir())
        self.mails = {entry.name for entry in shown if entry.name.endswith(".eml")}


class Spool:
    """Keeps a store and a directory equal."""

    def __init__(self, directory: Path, store: Store) -> None:
        self.directory = directory
        self._store = store
        self._files: dict[Path, tuple[Mailbox, int]] = {}
        #: Every folder that ever was a mailbox, as it was when it was last read.
        self._folders: dict[Path, _Folder] = {}
        #: Files seen once, with size and time: taken when they have stopped growing.
        self._growing: dict[Path, tuple[int, int]] = {}

    @property
    def _state_file(self) -> Path:
        return self.directory / ".state.json"

    # Reading

    def load(self) -> None:
        """Fill the store from the directory, which is made where it is missing."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if self._state_file.exists():
            self._restore(json.loads(self._state_file.read_text("utf-8")))
        self.look(settled=True)

    def _restore(self, state: dict[str, Any]) -> None:
        for told in state["mailboxes"]:
            mailbox = self._store.get(told["name"]) or self._store.create(told["name"])
            mailbox.role, mailbox.subscribed = told["role"], told["subscribed"]
            mailbox.selectable, mailbox.uidvalidity = told["selectable"], told["uidvalidity"]
            for uid, name, flags, received, modseq in told["messages"]:
                self._restore_message(mailbox, self.directory / name, uid, flags, received, modseq)
            mailbox.uidnext, mailbox.modseq = told["uidnext"], told["modseq"]
            if not state["clean"]:
                self._renumber(mailbox)
        self._store.continue_uidvalidities()
        for name in state["folders"]:
            self._folders.setdefault(self.directory / name, _Folder())

    def _restore_message(
        self, mailbox: Mailbox, path: Path, uid: int, flags: list[str], received: str, modseq: int
    ) -> None:
        if not path.exists():
            return
        moment = datetime.fromisoformat(received)
        mailbox.messages[uid] = Message(uid, _read(path), frozenset(flags), moment, modseq)
        self._own(path, mailbox, uid)

    def _own(self, path: Path, mailbox: Mailbox, uid: int) -> None:
        self._files[path] = (mailbox, uid)
        self._folders.setdefault(path.parent, _Folder()).taken.add(path.name)

    def _renumber(self, mailbox: Mailbox) -> None:
        before = list(mailbox.messages)
        mailbox.renumber(self._store.next_uidvalidity())
        renamed = dict(zip(before, mailbox.messages, strict=True))
        for path, (owner, uid) in self._files.items():
            if owner is mailbox:
                self._files[path] = (mailbox, renamed[uid])

    async def watch(self) -> None:
        """Look at the directory for ever."""
        while True:
            await asyncio.sleep(INTERVAL)
            self.look()

    def look(self, *, settled: bool = False) -> None:
        """Take what was dropped since the last look; `settled`: whoever wrote the files has finished."""
        if not self.directory.is_dir():
            return
        visited: set[Path] = set()
        self._look_into(self.directory, visited, settled=settled)
        for path, (mailbox, uid) in list(self._files.items()):
            if path.parent not in visited:
                self._lose(path)
            elif uid not in mailbox.messages:
                del self._files[path]
                path.unlink(missing_ok=True)

    def _look_into(self, directory: Path, visited: set[Path], *, settled: bool) -> None:
        visited.add(directory)
        if directory != self.directory and directory not in self._folders:
            self._mailbox(directory)
        folder = self._folders.setdefault(directory, _Folder())
        try:
            self._refresh(directory, folder, settled=settled)
        except FileNotFoundError:
            # Something went while we looked: the next look sees what is left.
            folder.read_at = 0
        for name in folder.folders:
            self._look_into(directory / name, visited, settled=settled)

    def _refresh(self, directory: Path, folder: _Folder, *, settled: bool) -> None:
        now, changed = time.time_ns(), directory.stat().st_mtime_ns
        growing = any(path.parent == directory for path in self._growing)
        # A folder that changed just before it was read may have changed again within the same tick of its clock.
        if not growing and changed < folder.read_at - CLOCK_TICK:
            return
        folder.read(directory)
        folder.read_at = now
        for name in folder.taken - folder.mails:
            self._lose(directory / name)
        for path in [path for path in self._growing if path.parent == directory and path.name not in folder.mails]:
            del self._growing[path]
        for name in sorted(folder.mails - folder.taken):
            if settled or self._has_settled(directory / name):
                self._take(directory, directory / name)

    def _lose(self, path: Path) -> None:
        self._folders[path.parent].taken.discard(path.name)
        owner = self._files.pop(path, None)
        if owner is not None:
            mailbox, uid = owner
            mailbox.expunge([uid])

    def _has_settled(self, path: Path) -> bool:
        now = path.stat()
        seen = (now.st_size, now.st_mtime_ns)
        settled = self._growing.get(path) == seen and now.st_size > 0
        self._growing[path] = seen
        return settled

    def _take(self, folder: Path, path: Path) -> None:
        self._growing.pop(path, None)
        mailbox = self._mailbox(folder)
        received = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        self._own(path, mailbox, mailbox.append(_read(path), (), received).uid)

    def _mailbox(self, folder: Path) -> Mailbox:
        levels = [part.replace("%2F", "/").replace("%25", "%") for part in folder.relative_to(self.directory).parts]
        name = self._store.delimiter.join(levels)
        return self._store.get(name) or self._store.create(name, role=ROLES.get(name))

    # Writing

    def save(self, *, clean: bool) -> None:
        """Write messages that have no file yet, and the state; `clean`: nothing will change any more.

        Does nothing when the directory is gone.
        """
        if not self.directory.is_dir():
            return
        names = {(id(mailbox), uid): path for path, (mailbox, uid) in self._files.items()}
        mailboxes = []
        for mailbox in map(self._store.get, self._store.names()):
            assert mailbox is not None, "listed just now"
            messages = []
            for message in mailbox.messages.values():
                path = names.get((id(mailbox), message.uid)) or self._write(mailbox, message)
                name = str(path.relative_to(self.directory))
                messages.append(
                    [message.uid, name, sorted(message.flags), message.received.isoformat(), message.modseq]
                )
            kept = ("name", "uidvalidity", "uidnext", "modseq", "role", "subscribed", "selectable")
            mailboxes.append({name: getattr(mailbox, name) for name in kept} | {"messages": messages})
        folders = sorted(
            str(folder.relative_to(self.directory)) for folder in self._folders if folder != self.directory
        )
        state = json.dumps({"clean": clean, "folders": folders, "mailboxes": mailboxes}, ensure_ascii=False)
        scratch = self._state_file.with_suffix(".new")
        scratch.write_text(state, "utf-8")
        scratch.replace(self._state_file)

    def _write(self, mailbox: Mailbox, message: Message) -> Path:
        levels = [level.replace("%", "%25").replace("/", "%2F") for level in mailbox.name.split(self._store.delimiter)]
        folder = self.directory.joinpath(*levels)
        folder.mkdir(parents=True, exist_ok=True)
        for depth in range(len(levels)):
            self._folders.setdefault(self.directory.joinpath(*levels[: depth + 1]), _Folder())
        path = next(path for path in self._candidates(folder, message.uid) if not path.exists())
        path.write_bytes(message.raw)
        self._own(path, mailbox, message.uid)
        return path

    @staticmethod
    def _candidates(folder: Path, uid: int) -> Iterator[Path]:
        yield folder / f"{uid:06d}.eml"
        for attempt in itertools.count(1):
            yield folder / f"{uid:06d}-{attempt}.eml"


def _read(path: Path) -> bytes:
    """Return a mail as IMAP wants it: lines that end in CRLF, also when the file has those of Unix."""
    raw = path.read_bytes()
    return raw if b"\r\n" in raw else raw.replace(b"\n", b"\r\n")
