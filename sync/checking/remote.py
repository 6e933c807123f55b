"""Reading a mailbox by the standard library's imaplib, and by nothing that mirrors: folders, UIDs, flags, contents.

Read-only throughout: EXAMINE and BODY.PEEK. Within an open folder everything is asked by sequence numbers: to these
commands a server must not answer with EXPUNGE (RFC 3501 7.4.1), so the numbers stay those of the moment it was opened.
"""

from __future__ import annotations

import contextlib
import hashlib
import imaplib
import re
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Literal, Self, cast

from sync.checking.answers import ListedFolder, read_answers, read_content, read_listed, read_row, read_uid
from sync.checking.names import quoted, ref_of
from sync.checking.values import FolderFacts, RemoteCopy

#: Messages described in one command.
SLICE = 2000
#: Bytes asked for in one command: larger messages come in pieces.
PIECE = 1 << 20
#: Small messages asked for in one command.
TOGETHER = 50


class CouldNotLook(Exception):
    """The mailbox cannot be read: for people, without a secret."""


@dataclass(frozen=True, slots=True)
class ReaderLogin:
    """All that is needed to read a mailbox. `repr` shows no secret."""

    #: Where to connect: the first that answers.
    addresses: Sequence[str]
    #: The name that the certificate has to bear.
    host: str
    port: int
    security: Literal["tls", "starttls", "none"]
    username: str
    password: str = field(repr=False)
    verify_certificates: bool = True
    #: Seconds any single wait may take.
    timeout: float = 60.0


class _Connection(imaplib.IMAP4):
    """imaplib's client, connecting to given addresses and, where wanted, beginning in TLS."""

    def __init__(self, login: ReaderLogin, tls: ssl.SSLContext | None) -> None:
        self._addresses, self._tls = login.addresses, tls
        super().__init__(login.host, login.port, timeout=login.timeout)

    def _create_socket(self, timeout: float | None) -> socket.socket:
        failure: OSError = OSError("it has no address")
        for address in self._addresses:
            try:
                sock = socket.create_connection((address, self.port), timeout)
            except OSError as error:
                failure = error
                continue
            return self._tls.wrap_socket(sock, server_hostname=self.host) if self._tls else sock
        raise failure


class MailboxReader:
    """One logged-in session; a context manager that logs out. Every method may raise CouldNotLook."""

    def __init__(self, login: ReaderLogin) -> None:
        self._login = login
        with self._said("log in"):
            tls = _tls_context(login) if login.security != "none" else None
            self._imap = _Connection(login, tls if login.security == "tls" else None)
            try:
                if login.security == "starttls":
                    self._imap.starttls(ssl_context=tls)
                self._log_in()
            except BaseException:
                self._hang_up()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(imaplib.IMAP4.error, OSError):
            self._imap.logout()
        self._hang_up()

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self._imap.shutdown()

    @contextmanager
    def _said(self, doing: str) -> Iterator[None]:
        """Turn what imaplib and sockets raise into CouldNotLook."""
        try:
            yield
        except (imaplib.IMAP4.error, OSError, ValueError) as error:
            words = str(error).replace(self._login.password, "***") if self._login.password else str(error)
            raise CouldNotLook(f"could not {doing} at {self._login.host}:{self._login.port}: {words}") from error

    def _log_in(self) -> None:
        username, password = self._login.username, self._login.password
        if "AUTH=PLAIN" in self._imap.capabilities:
            self._imap.authenticate("PLAIN", lambda _: f"\0{username}\0{password}".encode())
            return
        words = [quoted(username.encode()), quoted(password.encode())]
        if None in words:
            raise ValueError("a user name or password with a line break cannot be sent")
        # imaplib's login() quotes the password alone, and takes no letters outside ASCII
        kind, data = self._imap.xatom("LOGIN", *map(_as_text, words))
        if kind != "OK":
            raise imaplib.IMAP4.error(_words(data))
        self._imap.state = "AUTH"

    # Folders

    def folders(self) -> dict[str, ListedFolder]:
        """List every folder, by the ref our tables would know it by."""
        with self._said("list folders"):
            listed = self._list(b'""', b'"*"')
            for prefix in self._personal_prefixes():
                if prefix and not any(folder.name.startswith(prefix) for folder in listed):
                    # a namespace that LIST "" "*" leaves out must be asked for by its prefix
                    listed += self._list(quoted(prefix) or b'""', b'"*"')
        if not listed:
            raise CouldNotLook(f"{self._login.host} lists no folder at all, not even INBOX")
        found: dict[str, ListedFolder] = {}
        for folder in listed:
            before = found.setdefault(ref_of(folder.name), folder)
            if folder.facts.selectable and not before.facts.selectable:
                found[ref_of(folder.name)] = folder
        delimiter = next((one.facts.delimiter for one in listed if one.facts.delimiter), None)
        # it exists whether LIST tells of it or not (RFC 3501 5.1)
        found.setdefault("INBOX", ListedFolder(b"INBOX", FolderFacts("INBOX", delimiter, selectable=True)))
        return found

    def _list(self, root: bytes, pattern: bytes) -> list[ListedFolder]:
        kind, data = self._imap.list(_as_text(root), _as_text(pattern))
        if kind != "OK":
            raise imaplib.IMAP4.error(f"LIST: {_words(data)}")
        return [folder for text, literal in read_answers(data) if (folder := read_listed(text, literal)) is not None]

    def _personal_prefixes(self) -> list[bytes]:
        kind, data = self._imap.capability()
        if kind != "OK" or b"NAMESPACE" not in _words(data).upper().encode().split():
            return []
        kind, data = self._imap.namespace()
        personal = re.match(rb"\(((?:\([^()]*\))+)\)", _words(data).encode("latin-1"))
        return re.findall(rb'\("([^"]*)"', personal[1]) if kind == "OK" and personal else []

    def open(self, folder: ListedFolder) -> OpenFolder | None:
        """Open a folder to read; None: the server refuses."""
        name = quoted(folder.name)
        if name is None:
            return None
        with self._said(f"open {folder.facts.path}"):
            kind, data = self._imap.select(_as_text(name), readonly=True)
            if kind != "OK":
                return None
            validity = self._imap.response("UIDVALIDITY")[1]
        uidvalidity = int(validity[-1]) if validity and validity[-1] else None
        return OpenFolder(self, folder.facts.path, int(data[0] or 0), uidvalidity)

    def fetch(self, numbers: str, items: str, *, path: str) -> list[tuple[bytes, bytes]]:
        """Ask something of messages of the open folder; return, an answer each, its text and its last literal."""
        with self._said(f"read {path}"):
            kind, data = self._imap.fetch(numbers, items)
            if kind == "NO":
                # of messages expunged meanwhile; what it told of the others waits as untagged answers
                data = self._imap.response("FETCH")[1]
            return read_answers(data)


@dataclass(frozen=True, slots=True)
class OpenFolder:
    """The folder that a reader has open, until it opens another."""

    _reader: MailboxReader
    _path: str
    #: Messages it held when it was opened.
    exists: int
    #: None: the server gives none.
    uidvalidity: int | None

    def slices(self) -> Iterator[dict[int, RemoteCopy]]:
        """Describe every message, by UID, some at a time: flags, date and size."""
        for first in range(1, self.exists + 1, SLICE):
            last = min(first + SLICE - 1, self.exists)
            rows = self._reader.fetch(f"{first}:{last}", "(UID FLAGS INTERNALDATE RFC822.SIZE)", path=self._path)
            if not rows:
                # an empty answer must never look like messages that are gone
                raise CouldNotLook(f"the server does not describe messages {first} to {last} of {self._path}")
            found = {}
            for text, _ in rows:
                row = read_row(text)
                if row is not None:
                    found[row[0]] = row[1]
            yield found

    def with_contents(self, copies: Mapping[int, RemoteCopy]) -> dict[int, RemoteCopy]:
        """Read these messages whole: the same, with the true size and the hash. What is gone is left out."""
        read = {}
        small = [(uid, copy) for uid, copy in copies.items() if copy.size <= PIECE]
        for batch in _batches(small):
            for text, literal in self._ask(",".join(str(copy.sequence) for _, copy in batch), "BODY.PEEK[]"):
                uid, content = read_uid(text), read_content(text, literal)
                if uid is not None and uid in copies and content is not None:
                    read[uid] = replace(copies[uid], size=len(content), sha256=hashlib.sha256(content).digest())
        for uid, copy in copies.items():
            if copy.size > PIECE and (whole := self._read_large(uid, copy)) is not None:
                read[uid] = whole
        return read

    def _read_large(self, uid: int, copy: RemoteCopy) -> RemoteCopy | None:
        digest, size = hashlib.sha256(), 0
        while True:
            answers = self._ask(str(copy.sequence), f"BODY.PEEK[]<{size}.{PIECE}>")
            pieces = [read_content(text, literal) for text, literal in answers if read_uid(text) == uid]
            piece = next((one for one in pieces if one is not None), None)
            if piece is None:
                return None
            digest.update(piece)
            size += len(piece)
            if len(piece) < PIECE:
                return replace(copy, size=size, sha256=digest.digest())

    def _ask(self, numbers: str, item: str) -> list[tuple[bytes, bytes]]:
        return self._reader.fetch(numbers, f"(UID {item})", path=self._path)


def _batches(copies: Sequence[tuple[int, RemoteCopy]]) -> Iterator[list[tuple[int, RemoteCopy]]]:
    batch: list[tuple[int, RemoteCopy]] = []
    size = 0
    for one in copies:
        batch.append(one)
        size += one[1].size
        if len(batch) >= TOGETHER or size >= PIECE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _tls_context(login: ReaderLogin) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not login.verify_certificates:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _as_text(word: bytes | None) -> str:
    """Give imaplib octets where its signatures want text: it sends both, but text as ASCII alone."""
    return cast(str, word)


def _words(data: Sequence[object]) -> str:
    return " ".join(one.decode("latin-1") for one in data if isinstance(one, bytes))
