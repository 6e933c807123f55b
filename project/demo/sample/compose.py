"""Mail written byte by byte: the same words give the same bytes, in whatever charset and encoding they are wanted.

The standard library's own builder draws boundaries at random and always writes headers in UTF-8.
"""

from __future__ import annotations

import base64
import quopri
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.header import Header
from email.utils import encode_rfc2231, format_datetime
from hashlib import blake2s
from typing import Literal

Encoding = Literal["7bit", "8bit", "quoted-printable", "base64"]


@dataclass(frozen=True, slots=True)
class Person:
    """Who writes or reads."""

    name: str
    address: str
    #: Minutes east of UTC, for the Date of what they write.
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """A MIME part: its header lines (name, value as it is written) and its body or its children."""

    content_type: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    children: tuple[Part, ...] = ()

    def lines(self, key: str) -> list[bytes]:
        """Return header lines, an empty one, and the lines of the body, without line ends; `key` makes boundaries."""
        if not self.children:
            head = [("Content-Type", self.content_type), *self.headers]
            return [*_header_lines(head), b"", *self.body.split(b"\n")]
        boundary = f"=_{digest(key)[:20]}"
        lines = _header_lines([("Content-Type", f'{self.content_type}; boundary="{boundary}"'), *self.headers])
        lines.append(b"")
        for at, child in enumerate(self.children):
            lines += [b"--" + boundary.encode(), *child.lines(f"{key}.{at}")]
        return [*lines, b"--" + boundary.encode() + b"--", b""]


def _header_lines(headers: Iterable[tuple[str, str]]) -> list[bytes]:
    return [f"{name}: {value}".encode("utf-8", "surrogateescape") for name, value in headers]


def digest(key: str) -> str:
    """Return 32 hexadecimal digits that depend on `key` alone."""
    return blake2s(key.encode(), digest_size=16).hexdigest()


def text_part(text: str, *, subtype: str = "plain", charset: str = "utf-8", encoding: Encoding | None = None) -> Part:
    """Return a text part; without an encoding, 7bit for ASCII and quoted-printable for the rest."""
    if encoding is None:
        encoding = "7bit" if text.isascii() else "quoted-printable"
    charset = "us-ascii" if text.isascii() and charset == "utf-8" else charset
    data = text.encode(charset)
    if encoding == "quoted-printable":
        data = quopri.encodestring(data)
    elif encoding == "base64":
        data = base64.encodebytes(data)
    headers = (("Content-Transfer-Encoding", encoding),)
    return Part(f"text/{subtype}; charset={charset}", headers, data.removesuffix(b"\n"))


def html_part(page: str) -> Part:
    """Return an HTML part in UTF-8."""
    return text_part(page, subtype="html", encoding="quoted-printable")


def file_part(data: bytes, content_type: str, name: str, *, content_id: str | None = None) -> Part:
    """Return an attachment, or with a Content-ID an inline part."""
    disposition = "inline" if content_id else "attachment"
    headers = [
        ("Content-Transfer-Encoding", "base64"),
        ("Content-Disposition", f"{disposition}; {_parameter('filename', name)}"),
    ]
    if content_id:
        headers.append(("Content-ID", f"<{content_id}>"))
    body = base64.encodebytes(data).removesuffix(b"\n")
    return Part(f"{content_type}; {_parameter('name', name)}", tuple(headers), body)


def _parameter(name: str, value: str) -> str:
    if value.isascii():
        return f'{name}="{value}"'
    return f"{name}*={encode_rfc2231(value, 'utf-8')}"


def multipart(subtype: str, *children: Part) -> Part:
    """Return the parts under one multipart, or the only one as it is."""
    return children[0] if len(children) == 1 else Part(f"multipart/{subtype}", children=children)


@dataclass(frozen=True, slots=True)
class Letter:
    """Everything that makes a mail."""

    #: Makes the Message-ID and the boundaries.
    key: str
    sender: Person
    to: Sequence[Person]
    subject: str
    sent: datetime
    content: Part
    cc: Sequence[Person] = ()
    references: Sequence[str] = ()
    #: Of the headers; None: UTF-8.
    charset: str | None = None
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def message_id(self) -> str:
        """Without angle brackets."""
        return f"{digest(self.key)[:24]}@{self.sender.address.rpartition('@')[2]}"

    def raw(self) -> bytes:
        """Return the mail, lines ending in CRLF."""
        charset = self.charset or "utf-8"
        headers = [
            ("From", mailbox_text(self.sender, charset)),
            ("To", _address_list(self.to, charset) or "undisclosed-recipients:;"),
            ("Cc", _address_list(self.cc, charset)),
            ("Subject", header_text(self.subject, charset, "Subject")),
            ("Date", format_datetime(self.sent)),
            ("Message-ID", f"<{self.message_id}>"),
        ]
        if self.references:
            headers.append(("In-Reply-To", f"<{self.references[-1]}>"))
            headers.append(("References", "\n ".join(f"<{name}>" for name in self.references)))
        headers += [(name, header_text(value, charset, name)) for name, value in self.more.items()]
        lines = _header_lines([(name, value) for name, value in headers if value or name == "Subject"])
        lines += [b"MIME-Version: 1.0", *self.content.lines(self.key)]
        return b"\r\n".join(b"\n".join(lines).split(b"\n")) + (b"" if lines[-1] == b"" else b"\r\n")


def header_text(text: str, charset: str, name: str) -> str:
    """Return a header value, folded, in encoded words (RFC 2047) where it has to be."""
    if text.isascii():
        return text if len(text) < 300 else "\n ".join(textwrap.wrap(text, 72))
    return Header(text, charset, maxlinelen=75, header_name=name).encode(linesep="\n")


def mailbox_text(person: Person, charset: str) -> str:
    """Return `name <address>`."""
    if person.name.isascii():
        plain = all(char.isalnum() or char in " '-" for char in person.name)
        return f"{person.name} <{person.address}>" if plain else f'"{person.name}" <{person.address}>'
    return f"{_encodable(person.name, charset)} <{person.address}>"


def _encodable(name: str, charset: str) -> str:
    try:
        name.encode(charset)
    except UnicodeEncodeError:
        charset = "utf-8"
    return header_text(name, charset, "From")


def _address_list(people: Iterable[Person], charset: str) -> str:
    return ",\n ".join(mailbox_text(person, charset) for person in people)
