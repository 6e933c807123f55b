"""A message as IMAP looks at it: sections, ENVELOPE and BODYSTRUCTURE (RFC 3501 6.4.5, 7.4.2).

Parts are slices of the raw bytes: the standard library's parser does not keep what was between them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from email.header import decode_header, make_header
from email.message import Message as Headers
from email.parser import BytesHeaderParser, BytesParser
from email.utils import getaddresses
from functools import cached_property, lru_cache

from project.demo.wire import quoted

#: Parts deeper than this are not looked into.
DEEPEST = 50

_END_OF_HEADER = re.compile(rb"\r?\n\r?\n")
_FIELD = re.compile(rb"[^\r\n]+(?:\r?\n[ \t][^\r\n]*)*(?:\r?\n|\Z)")


class Part:
    """One MIME part, or the whole message."""

    def __init__(self, raw: bytes, depth: int = 0, *, in_digest: bool = False) -> None:
        self._depth = depth
        self._default_type = "message/rfc822" if in_digest else "text/plain"
        if raw.startswith((b"\r\n", b"\n")):
            end = start = raw.index(b"\n") + 1
        elif (gap := _END_OF_HEADER.search(raw)) is not None:
            end = start = gap.end()
        else:
            end = start = len(raw)
        #: With the empty line that ends it.
        self.header = raw[:end]
        self.body = raw[start:]

    @cached_property
    def headers(self) -> Headers:
        """The header, parsed."""
        return BytesHeaderParser().parsebytes(self.header)

    @cached_property
    def content_type(self) -> str:
        """Such as `text/plain`, lower case."""
        return self.headers.get_content_type() if "content-type" in self.headers else self._default_type

    @cached_property
    def children(self) -> list[Part]:
        """The parts of a multipart, or the one message inside a message/rfc822."""
        if self._depth >= DEEPEST:
            return []
        if self.content_type == "message/rfc822":
            return [Part(self.body, self._depth + 1)]
        boundary = self.headers.get_boundary() if self.content_type.startswith("multipart/") else None
        if not boundary:
            return []
        in_digest = self.content_type == "multipart/digest"
        pieces = _split(self.body, boundary.encode("utf-8", "surrogateescape"))
        return [Part(piece, self._depth + 1, in_digest=in_digest) for piece in pieces]

    @property
    def is_multipart(self) -> bool:
        """True for a multipart that really has parts."""
        return self.content_type.startswith("multipart/") and bool(self.children)

    def find(self, path: Sequence[int]) -> Part | None:
        """Return the part with that section number, such as (1, 2); None: there is none."""
        part = self
        for depth, number in enumerate(path):
            # The numbers below a message/rfc822 part count the parts of the message inside it.
            if depth and part.content_type == "message/rfc822" and part.children:
                part = part.children[0]
            if part.is_multipart:
                if not 0 < number <= len(part.children):
                    return None
                part = part.children[number - 1]
            elif number != 1:
                return None
        return part

    def text(self) -> str:
        """Return the body as text, its transfer encoding and charset undone as far as they can be."""
        whole = BytesParser().parsebytes(self.header + self.body)
        payload = whole.get_payload(decode=True)
        charset = whole.get_content_charset("utf-8")
        try:
            return payload.decode(charset, "replace") if isinstance(payload, bytes) else ""
        except LookupError:
            return payload.decode("latin-1") if isinstance(payload, bytes) else ""

    def walk(self) -> Iterator[Part]:
        """Yield this part and all below it, in order."""
        yield self
        for child in self.children:
            yield from child.walk()


def _split(body: bytes, boundary: bytes) -> Iterator[bytes]:
    line = re.compile(rb"(?:\A|\r?\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r?\n|\Z)")
    start: int | None = None
    for found in line.finditer(body):
        if start is not None:
            yield body[start : found.start()]
        if found[1]:
            return
        start = min(found.end() + (2 if body[found.end() : found.end() + 2] == b"\r\n" else 1), len(body))
    if start is not None:
        yield body[start:]


@lru_cache(maxsize=4)
def parsed(raw: bytes) -> Part:
    """Return the message of these bytes, taken apart once for the many questions of one FETCH."""
    return Part(raw)


def section(raw: bytes, path: Sequence[int], kind: str, fields: Iterable[str] = ()) -> bytes | None:
    """Return what BODY[path.kind (fields)] holds; None: there is no such part.

    `kind`: empty, HEADER, HEADER.FIELDS, HEADER.FIELDS.NOT, TEXT or MIME.
    """
    if not path and not kind:
        return raw
    part = parsed(raw).find(path)
    if part is None or kind == "MIME":
        return part.header if part is not None else None
    if path and kind:
        if part.content_type != "message/rfc822" or not part.children:
            return None
        part = part.children[0]
    if kind.startswith("HEADER.FIELDS"):
        return _fields(part.header, {name.upper() for name in fields}, wanted=not kind.endswith(".NOT"))
    return part.header if kind == "HEADER" else part.body


def _fields(header: bytes, names: set[str], *, wanted: bool) -> bytes:
    chosen = []
    for field in _FIELD.findall(header):
        name = field.partition(b":")[0].decode("ascii", "replace").strip().upper()
        if (name in names) is wanted:
            chosen.append(field)
    return b"".join(chosen) + b"\r\n"


def header_text(headers: Headers, name: str) -> str:
    """Return all values of a header field, decoded for people, joined by line ends; empty where there is none."""
    texts = []
    for value in headers.get_all(name, []):
        try:
            texts.append(str(make_header(decode_header(value))))
        except (ValueError, LookupError, UnicodeError):
            texts.append(str(value))
    return "\n".join(texts)


def envelope(headers: Headers) -> bytes:
    """Return ENVELOPE for the header of a message."""
    sender = _addresses(headers, "from")
    items = [
        _text(headers.get("date")),
        _text(headers.get("subject")),
        sender,
        *(_addresses(headers, name) if headers.get(name) else sender for name in ("sender", "reply-to")),
        *(_addresses(headers, name) for name in ("to", "cc", "bcc")),
        _text(headers.get("in-reply-to")),
        _text(headers.get("message-id")),
    ]
    return b"(" + b" ".join(items) + b")"


def _text(value: object) -> bytes:
    if value is None:
        return b"NIL"
    unfolded = re.sub(r"\r?\n(?=[ \t])", "", str(value)).strip()
    return quoted(unfolded.encode("utf-8", "surrogateescape"))


def _addresses(headers: Headers, name: str) -> bytes:
    found = getaddresses([str(value) for value in headers.get_all(name, [])])
    listed = []
    for display, address in found:
        local, _, domain = address.rpartition("@")
        if address:
            listed.append(b"(%b NIL %b %b)" % (_text(display or None), _text(local), _text(domain)))
    return b"(" + b"".join(listed) + b")" if listed else b"NIL"


def body_structure(part: Part, *, extended: bool) -> bytes:
    """Return BODYSTRUCTURE, or BODY where not `extended`."""
    maintype, _, subtype = part.content_type.partition("/")
    if part.is_multipart:
        inner = b"".join(body_structure(child, extended=extended) for child in part.children)
        tail = b" %b %b NIL NIL" % (_parameters(part), _disposition(part)) if extended else b""
        return b"(%b %b%b)" % (inner, _text(subtype.upper()), tail)
    if maintype == "multipart":
        maintype, subtype = "text", "plain"
    pieces = [
        _text(maintype.upper()),
        _text(subtype.upper()),
        _parameters(part),
        *(_text(part.headers.get(name)) for name in ("content-id", "content-description")),
        _text(str(part.headers.get("content-transfer-encoding", "7BIT")).strip().upper()),
        b"%d" % len(part.body),
    ]
    if part.content_type == "message/rfc822" and part.children:
        inside = part.children[0]
        pieces += [envelope(inside.headers), body_structure(inside, extended=extended), _lines(part)]
    elif maintype == "text":
        pieces.append(_lines(part))
    if extended:
        pieces += [b"NIL", _disposition(part), b"NIL", b"NIL"]
    return b"(" + b" ".join(pieces) + b")"


def _lines(part: Part) -> bytes:
    return b"%d" % part.body.count(b"\n")


def _parameters(part: Part) -> bytes:
    return _pairs(part.headers.get_params(failobj=[], header="content-type")[1:])


def _disposition(part: Part) -> bytes:
    pairs = part.headers.get_params(failobj=[], header="content-disposition")
    if not pairs:
        return b"NIL"
    return b"(%b %b)" % (_text(pairs[0][0].upper()), _pairs(pairs[1:]))


def _pairs(pairs: Iterable[tuple[str, object]]) -> bytes:
    spelt = []
    for name, value in pairs:
        text = value[2] if isinstance(value, tuple) else value
        spelt += [_text(name.upper()), _text(text)]
    return b"(" + b" ".join(spelt) + b")" if spelt else b"NIL"
