"""Listing folders and their status: LIST, NAMESPACE, SPECIAL-USE, STATUS (RFC 3501, 2342, 5258, 5819, 6154, 8474)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sync.errors import FolderGone, ServerMisbehaved
from sync.providers.base import FolderListing, FolderStatus, RemoteFolder, Role
from sync.providers.imap_names import decode_name, is_sendable, quote_name, readable_name
from sync.providers.imap_parse import Atom, Garbled, Pieces, number, pairs, parse_values
from sync.providers.imap_refusals import refusal
from sync.providers.imap_roles import fold, guess_roles, told_role
from sync.providers.imap_wire import Answer, ImapWire

#: First levels below which some servers keep every folder of the owner.
_HOLDERS = frozenset({"inbox", "[gmail]", "[google mail]"})
#: RFC 8474 7.
_OBJECT_ID = re.compile(rb"[A-Za-z0-9_-]{1,255}")
_UNSELECTABLE = frozenset({"\\noselect", "\\nonexistent"})


@dataclass(slots=True)
class Namespaces:
    """Prefixes of mailbox names (RFC 2342), as refs. Without NAMESPACE everything is the owner's."""

    personal: list[str] = field(default_factory=lambda: [""])
    foreign: list[str] = field(default_factory=list)

    def is_foreign(self, ref: str) -> bool:
        """True for folders of other users and shared ones: they hold no role of this mailbox."""
        return any(ref.startswith(prefix) or ref == prefix[:-1] for prefix in self.foreign if prefix)


class MailboxIds:
    """The MAILBOXIDs (RFC 8474) of folders, asked for once a session and folder.

    By a STATUS of their own: together with MESSAGES, Cyrus 3.6 answers with freed memory, other bytes every time.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, int | None], str] = {}

    def ask(self, wire: ImapWire, statuses: Mapping[str, FolderStatus]) -> dict[str, str]:
        """Return ref -> MAILBOXID of the folders in `statuses`, in one round trip where some are new."""
        names = {ref: (ref, status.uidvalidity) for ref, status in statuses.items()}
        new = [ref for ref, name in names.items() if name not in self._known]
        if new:
            answers = wire.pipeline([b"STATUS " + quote_name(ref) + b" (MAILBOXID)" for ref in new])
            for ref, items in _status_items(pieces for answer in answers for pieces in answer.lines):
                if ref in names and (mailbox_id := _mailbox_id(items)):
                    self._known[names[ref]] = mailbox_id
        # folders that are gone are forgotten with it
        self._known = {name: self._known[name] for name in names.values() if name in self._known}
        return {ref: self._known[name] for ref, name in names.items() if name in self._known}


def _mailbox_id(items: object) -> str | None:
    told = dict(pairs(items)).get(b"MAILBOXID")
    value = told[0] if isinstance(told, list) and told else None
    return value.decode("ascii") if isinstance(value, bytes) and _OBJECT_ID.fullmatch(value) else None


def status_items(powers: frozenset[str]) -> bytes:
    """Return the items to ask STATUS for."""
    items = [b"MESSAGES", b"UNSEEN", b"UIDNEXT", b"UIDVALIDITY"]
    if "CONDSTORE" in powers:
        items.append(b"HIGHESTMODSEQ")
    return b"(" + b" ".join(items) + b")"


# STATUS


def ask_status(
    wire: ImapWire, refs: Sequence[str], powers: frozenset[str], *, ahead: bytes = b""
) -> dict[str, FolderStatus]:
    """Ask for the status of folders in one round trip; refused ones are left out."""
    return _ask_status(wire, refs, powers, ahead=ahead)[0]


def _ask_status(
    wire: ImapWire, refs: Sequence[str], powers: frozenset[str], *, ahead: bytes = b""
) -> tuple[dict[str, FolderStatus], set[str]]:
    """Return ref -> status, and the refs of which the server says that there is no such folder."""
    items = status_items(powers)
    answers = wire.pipeline([b"STATUS " + quote_name(ref) + b" " + items for ref in refs], ahead=ahead)
    gone: set[str] = set()
    for ref, answer in zip(refs, answers, strict=True):
        if not answer.ok:
            _raise_if_throttled(answer)
            if isinstance(refusal(answer.status, answer.text, asked="STATUS", stage=None), FolderGone):
                gone.add(ref)
    told = read_statuses(pieces for answer in answers for pieces in answer.lines)
    found = {ref: told[ref] for ref in refs if ref in told}
    for ref, answer in zip(refs, answers, strict=True):
        if answer.ok and ref not in found:
            # some servers spell the name in another way than asked
            strangers = [one for spelled, one in read_statuses(answer.lines).items() if spelled not in refs]
            if strangers:
                found[ref] = strangers[-1]
    return found, gone


def _raise_if_throttled(answer: Answer) -> None:
    if answer.code in {b"THROTTLED", b"LIMIT", b"UNAVAILABLE", b"OVERQUOTA"}:
        raise refusal(answer.status, answer.text, asked="STATUS", stage=None)


def read_statuses(lines: Iterable[Pieces]) -> dict[str, FolderStatus]:
    """Return ref -> status of the STATUS answers among `lines`; unreadable ones are left out."""
    return {ref: _read_status(items) for ref, items in _status_items(lines)}


def _status_items(lines: Iterable[Pieces]) -> Iterator[tuple[str, object]]:
    for pieces in lines:
        if not _is_answer(pieces, b"STATUS"):
            continue
        try:
            _, _, name, *rest = parse_values(pieces)
        except ValueError:
            continue
        if isinstance(name, bytes) and rest:
            yield decode_name(name), rest[-1]


def _read_status(items: object) -> FolderStatus:
    told = dict(pairs(items))
    return FolderStatus(
        messages=number(told.get(b"MESSAGES")),
        unseen=number(told.get(b"UNSEEN")),
        uidnext=number(told.get(b"UIDNEXT")) or None,
        uidvalidity=number(told.get(b"UIDVALIDITY")) or None,
        # 0: the folder keeps no modification sequences (RFC 7162 3.1.2.2)
        highestmodseq=number(told.get(b"HIGHESTMODSEQ")) or None,
    )


# LIST


def list_folders(
    wire: ImapWire, powers: frozenset[str], namespaces: Namespaces, mailbox_ids: MailboxIds, *, ahead: bytes = b""
) -> FolderListing:
    """List every folder, with roles and status. Raises ServerMisbehaved for an answer that cannot be the truth.

    `ahead`: a command to send before, in the same round trip.
    """
    answer = wire.require(_list_command(powers), asked="LIST", ahead=ahead)
    listed = _read_list(answer.lines)
    for prefix in namespaces.personal:
        if prefix and not any(ref.startswith(prefix) for ref in listed):
            # a namespace that LIST "" "*" leaves out must be asked for by its prefix
            more = wire.require(b"LIST " + quote_name(prefix) + b" *", asked="LIST")
            listed |= _read_list(more.lines, may_be_empty=True)
    listed.setdefault("INBOX", RemoteFolder("INBOX", ("INBOX",), _common_delimiter(listed.values()), (), "inbox"))
    statuses = read_statuses(answer.lines)
    missing = [ref for ref, folder in listed.items() if folder.selectable and ref not in statuses]
    gone: set[str] = set()
    if missing:
        found, gone = _ask_status(wire, missing, powers)
        statuses |= found
    statuses = {ref: status for ref, status in statuses.items() if ref in listed}
    stable_ids = {ref: str(status.uidvalidity) for ref, status in statuses.items() if status.uidvalidity}
    object_ids = mailbox_ids.ask(wire, statuses) if "OBJECTID" in powers else {}
    folders = [
        replace(
            folder,
            stable_id=object_ids.get(folder.ref, stable_ids.get(folder.ref)),
            stable_id_is_unique=folder.ref in object_ids,
            selectable=folder.selectable and folder.ref not in gone,
        )
        for folder in listed.values()
    ]
    return FolderListing(_with_roles(folders, namespaces), statuses)


def is_listed(wire: ImapWire, ref: str) -> bool:
    """Ask whether a folder exists, by its exact name."""
    answer = wire.require(b'LIST "" ' + quote_name(ref), asked=f"LIST {ref}")
    listed = _read_list(answer.lines, may_be_empty=True)
    # \\NonExistent: only folders below it exist (RFC 5258)
    return ref in listed and "\\nonexistent" not in {one.lower() for one in listed[ref].attributes}


def _list_command(powers: frozenset[str]) -> bytes:
    if "LIST-EXTENDED" not in powers:
        return b'LIST "" "*"'
    wanted = [b"CHILDREN"]
    if "SPECIAL-USE" in powers:
        wanted.append(b"SPECIAL-USE")
    if "LIST-STATUS" in powers:
        wanted.append(b"STATUS " + status_items(powers))
    return b'LIST "" "*" RETURN (' + b" ".join(wanted) + b")"


def _read_list(lines: Iterable[Pieces], *, may_be_empty: bool = False) -> dict[str, RemoteFolder]:
    """Return ref -> folder. An empty or unreadable listing raises: it must never look like folders that are gone."""
    found: dict[str, RemoteFolder] = {}
    for pieces in lines:
        if not _is_answer(pieces, b"LIST"):
            continue
        try:
            folder = _read_folder(pieces)
        except Garbled as error:
            raise ServerMisbehaved(f"LIST answer {pieces[0]!r:.120}: {error}", stage="list") from error
        if folder is None:
            continue
        before = found.get(folder.ref)
        if before:
            # listed twice: what one line leaves out the other may say
            attributes = tuple(dict.fromkeys(before.attributes + folder.attributes))
            folder = replace(before, attributes=attributes, selectable=before.selectable or folder.selectable)
        found[folder.ref] = folder
    if not found and not may_be_empty:
        raise ServerMisbehaved("LIST names no folder at all, not even INBOX", stage="list")
    return found


def _read_folder(pieces: Pieces) -> RemoteFolder | None:
    """Read one LIST answer; None for a name that is no folder: NIL, or the empty name of a namespace's root."""
    head = pieces[0]
    assert isinstance(head, bytes)
    # some servers forget to escape the backslash that is their delimiter
    values = parse_values([head.replace(b' "\\" ', b' "\\\\" '), *pieces[1:]])
    if len(values) < 5:
        raise Garbled("attributes, delimiter and name are not there")
    _, _, attributes, delimiter, name = values[:5]
    if name is None or name == b"":
        return None
    if not isinstance(attributes, list) or not isinstance(name, bytes):
        raise Garbled("no attributes, or the name is no string")
    if not (delimiter is None or isinstance(delimiter, bytes)):
        raise Garbled("the delimiter is no string")
    spelled = tuple(one.decode("ascii", "replace") for one in attributes if isinstance(one, Atom))
    ref = decode_name(name)
    separator = delimiter.decode("ascii", "replace") if delimiter else None
    return RemoteFolder(
        ref=ref,
        levels=_levels(ref, separator),
        delimiter=separator,
        attributes=spelled,
        role=None,
        selectable=is_sendable(ref) and not _UNSELECTABLE & {one.lower() for one in spelled},
    )


def _levels(ref: str, delimiter: str | None) -> tuple[str, ...]:
    name = readable_name(ref)
    parts = name.split(delimiter) if delimiter else [name]
    # doubled and trailing delimiters make levels without a name
    return tuple(part for part in parts if part) or (name,)


def _is_answer(pieces: Pieces, name: bytes) -> bool:
    head = pieces[0]
    return isinstance(head, bytes) and head[2 : 3 + len(name)].upper() == name + b" "


def _common_delimiter(folders: Iterable[RemoteFolder]) -> str | None:
    return next((folder.delimiter for folder in folders if folder.delimiter), None)


# Roles


def _with_roles(folders: Sequence[RemoteFolder], namespaces: Namespaces) -> tuple[RemoteFolder, ...]:
    """Give each role to at most one folder: the server's word first, then names; never to another user's folder."""
    taken: set[Role] = set()
    told: list[RemoteFolder] = []
    for folder in folders:
        role = None if namespaces.is_foreign(folder.ref) else told_role(folder.ref, folder.attributes)
        if role in taken or not folder.selectable:
            role = None
        if role:
            taken.add(role)
        told.append(replace(folder, role=role))
    holders = _HOLDERS | {fold(part) for prefix in namespaces.personal for part in [prefix.rstrip("./\\")] if part}
    own = [folder for folder in told if not namespaces.is_foreign(folder.ref)]
    guessed = guess_roles(own, frozenset(holders))
    return tuple(replace(folder, role=guessed.get(folder.ref, folder.role)) for folder in told)


def read_namespaces(lines: Iterable[Pieces]) -> Namespaces:
    """Read the NAMESPACE answer among `lines`; without a readable one there is none."""
    for pieces in lines:
        if not _is_answer(pieces, b"NAMESPACE"):
            continue
        try:
            personal, *others = parse_values(pieces)[2:5]
        except ValueError:
            break
        return Namespaces(_prefixes(personal) or [""], [prefix for one in others for prefix in _prefixes(one)])
    return Namespaces()


def _prefixes(namespace: object) -> list[str]:
    if not isinstance(namespace, list):
        return []
    return [decode_name(one[0]) for one in namespace if isinstance(one, list) and one and isinstance(one[0], bytes)]
