"""FETCH: the items a client can ask for, and the answer for one message (RFC 3501 6.4.5, 7.4.2; RFC 7162)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from project.demo.store import Message
from project.demo.structure import body_structure, envelope, parsed, section
from project.demo.wire import BadSyntax, Value, format_date_time, words

_MACROS = {
    "FAST": ("FLAGS", "INTERNALDATE", "RFC822.SIZE"),
    "ALL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"),
    "FULL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"),
}
_PLAIN = {"UID", "FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY", "BODYSTRUCTURE", "MODSEQ"}
#: The old spellings: (kind of section, does not mark as read).
_OLD = {"RFC822": ("", False), "RFC822.HEADER": ("HEADER", True), "RFC822.TEXT": ("TEXT", False)}
_SECTION = re.compile(
    r"BODY(\.PEEK)?\[((?:\d+(?:\.\d+)*)?)\.?(HEADER\.FIELDS(?:\.NOT)?|HEADER|TEXT|MIME)?(?: ?\(([^)]*)\))?\]"
    r"(?:<(\d+)\.(\d+)>)?"
)


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to fetch: a plain name, or the text of a section."""

    #: As the answer names it.
    label: str
    #: None: not a section.
    kind: str | None = None
    path: tuple[int, ...] = ()
    fields: tuple[str, ...] = ()
    peek: bool = True
    #: First byte and number of bytes; None: all.
    partial: tuple[int, int] | None = None


def parse_items(value: Value) -> list[Item]:
    """Read what a FETCH asks for. Raises BadSyntax."""
    names = words(value)
    if len(names) == 1 and names[0] in _MACROS:
        names = list(_MACROS[names[0]])
    if not names:
        raise BadSyntax("FETCH of nothing")
    return [_item(name) for name in names]


def _item(name: str) -> Item:
    if name in _PLAIN:
        return Item(name)
    if name in _OLD:
        kind, peek = _OLD[name]
        return Item(name, kind, peek=peek)
    found = _SECTION.fullmatch(name)
    if found is None:
        raise BadSyntax(f"unknown FETCH item {name}")
    path = tuple(int(number) for number in found[2].split(".") if number)
    fields = tuple(found[4].replace('"', "").split()) if found[4] is not None else ()
    partial = (int(found[5]), int(found[6])) if found[5] is not None else None
    label = name.replace(".PEEK", "", 1).partition("<")[0] + (f"<{partial[0]}>" if partial else "")
    return Item(label, found[3] or "", path, fields, bool(found[1]), partial)


def answer(message: Message, items: Iterable[Item], *, size_error: int = 0) -> bytes:
    """Return what stands between the parentheses of a FETCH answer; `size_error` falsifies the literals."""
    return b" ".join(_answer_item(message, item, size_error) for item in items)


def _answer_item(message: Message, item: Item, size_error: int) -> bytes:
    label = item.label.encode("utf-8", "surrogateescape")
    if item.kind is None:
        return label + b" " + _plain(message, item.label)
    text = section(message.raw, item.path, item.kind, item.fields)
    if text is None:
        return label + b" NIL"
    if item.partial is not None:
        first, length = item.partial
        text = text[first : first + length]
    return b"%b {%d}\r\n%b" % (label, max(0, len(text) + size_error), text)


def _plain(message: Message, name: str) -> bytes:
    match name:
        case "UID":
            return b"%d" % message.uid
        case "FLAGS":
            return format_flags(message.flags)
        case "INTERNALDATE":
            return format_date_time(message.received)
        case "RFC822.SIZE":
            return b"%d" % len(message.raw)
        case "MODSEQ":
            return b"(%d)" % message.modseq
        case "ENVELOPE":
            return envelope(parsed(message.raw).headers)
        case _:
            return body_structure(parsed(message.raw), extended=name == "BODYSTRUCTURE")


def format_flags(flags: Iterable[str]) -> bytes:
    """Return flags as a list."""
    return b"(" + b" ".join(flag.encode("utf-8") for flag in sorted(flags)) + b")"
