"""What a server answers, read from what imaplib makes of it: LIST and FETCH."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sync.checking.names import path_of
from sync.checking.values import FolderFacts, RemoteCopy

_UNSELECTABLE = re.compile(rb"\\(noselect|nonexistent)\b", re.IGNORECASE)
# some servers forget to escape a backslash that is their delimiter
_LISTED = re.compile(rb'\(([^)]*)\) (?:NIL|"\\?(.)") (.*)', re.DOTALL | re.IGNORECASE)
_CONTENT = re.compile(rb'\bBODY\[\](?:<\d+>)? (?:\{\d+\}|"((?:\\.|[^"\\])*)")', re.DOTALL | re.IGNORECASE)
_FLAGS = re.compile(rb"\bFLAGS \(([^)]*)\)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ListedFolder:
    """A folder as LIST tells it, and its name on the wire."""

    name: bytes
    facts: FolderFacts


def read_answers(data: Sequence[Any]) -> list[tuple[bytes, bytes]]:
    """Join what imaplib splits at literals: the text around the literals, and the last one."""
    found: list[tuple[bytes, bytes]] = []
    text, literal = b"", b""
    for piece in data:
        if isinstance(piece, tuple):
            text, literal = text + piece[0] + b" ", piece[1]
        elif isinstance(piece, bytes):
            found.append((text + piece, literal))
            text, literal = b"", b""
    return found


def read_listed(text: bytes, literal: bytes) -> ListedFolder | None:
    """Read one LIST answer; None: the root of a namespace, or nothing that can be read."""
    match = _LISTED.match(text)
    if match is None:
        return None
    attributes, delimiter, name = match.groups()
    if re.fullmatch(rb"\{\d+\+?\} *", name):
        name = literal
    elif name.startswith(b'"'):
        name = re.sub(rb"\\(.)", rb"\1", name.strip()[1:-1], flags=re.DOTALL)
    elif name.strip().upper() == b"NIL":
        return None
    if not name:
        return None
    separator = delimiter.decode("latin-1") if delimiter else None
    facts = FolderFacts(path_of(name, separator), separator, selectable=not _UNSELECTABLE.search(attributes))
    return ListedFolder(name, facts)


def read_row(text: bytes) -> tuple[int, RemoteCopy] | None:
    """Read a description of a message; None: news of another kind, which have no UID or no size."""
    flags = _FLAGS.search(text)
    if flags is None:
        return None
    # a keyword may be spelled like an item
    rest = text[: flags.start()] + text[flags.end() :]
    uid, size, sequence = (
        read_uid(rest),
        re.search(rb"\bRFC822\.SIZE (\d+)", rest, re.IGNORECASE),
        rest.split(b" ", 1)[0],
    )
    if uid is None or size is None or not sequence.isdigit():
        return None
    words = frozenset(word.decode("utf-8", "replace") for word in flags[1].replace(b'"', b"").split())
    recent = {word for word in words if word.lower() == "\\recent"}
    return uid, RemoteCopy(words - recent, int(size[1]), date=_read_date(rest), sequence=int(sequence))


def _read_date(text: bytes) -> datetime | None:
    found = re.search(rb'\bINTERNALDATE " *([^"]+)"', text, re.IGNORECASE)
    if found is None:
        return None
    try:
        return datetime.strptime(found[1].decode("ascii"), "%d-%b-%Y %H:%M:%S %z")
    except ValueError:
        return None


def read_uid(text: bytes) -> int | None:
    """Return the UID that an answer to FETCH names; None: it names none."""
    found = re.search(rb"\bUID (\d+)", text, re.IGNORECASE)
    return int(found[1]) if found else None


def read_content(text: bytes, literal: bytes) -> bytes | None:
    """Return the content in an answer to FETCH BODY[]; None: none is there, or NIL, as of a message that is gone."""
    found = _CONTENT.search(text)
    if found is None:
        return None
    return literal if found[1] is None else re.sub(rb"\\(.)", rb"\1", found[1], flags=re.DOTALL)
