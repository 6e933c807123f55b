"""What a parsed mail is, and the bounds that keep any mail cheap to read."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from datetime import datetime

#: A whole raw message; a large one is the map of a temporary file.
Raw = bytes | mmap.mmap

#: Bytes of one header block (a message's or a part's) that are read; what follows is skipped.
MAX_HEADER_BLOCK = 1 << 20
#: Bytes of one header field that are read.
MAX_FIELD = 1 << 18
#: Multiparts within each other; what lies deeper stays in one piece.
MAX_DEPTH = 100
#: Leaves told of one message; the rest stays in the raw message only.
MAX_PARTS = 1000
#: Bytes of the header blocks of all parts together.
MAX_PART_HEADERS = 1 << 21
#: Lines that begin with two hyphens and delimit nothing, after which no delimiter is looked for.
MAX_STRAY_DELIMITERS = 200_000
#: Bytes of UTF-8 kept of the text, and of the HTML.
MAX_BODY = 1 << 20
#: Characters of a snippet.
SNIPPET_LENGTH = 100
#: Message ids kept of one field.
MAX_IDS = 1000


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox as the header writes it; `name` is "" when there is none."""

    name: str
    email: str


@dataclass(frozen=True, slots=True)
class ParsedPart:
    """A leaf that is not the mail's own text: an attachment, or an image shown inside the HTML."""

    #: Which leaf of the message it is, in reading order, the bodies counted.
    position: int
    #: Lower case, without parameters.
    content_type: str
    filename: str | None
    #: Without angle brackets.
    content_id: str | None
    #: Lower case, without parameters; None: no Content-Disposition.
    disposition: str | None
    #: Shown inside the body: its disposition says so, or the HTML refers to its Content-ID.
    is_inline: bool
    #: Content-Transfer-Encoding, lower case.
    encoding: str
    charset: str | None
    #: Where the encoded body lies in the raw message, in bytes.
    offset: int
    length: int
    #: Bytes once decoded.
    size: int


@dataclass(frozen=True, slots=True)
class ParsedMessage:
    """A mail, read. Every string can be stored in PostgreSQL: no NUL, no lone surrogate."""

    subject: str
    from_: tuple[Address, ...]
    to: tuple[Address, ...]
    cc: tuple[Address, ...]
    bcc: tuple[Address, ...]
    reply_to: tuple[Address, ...]
    #: Ids are without angle brackets, case kept.
    message_id: str | None
    in_reply_to: tuple[str, ...]
    references: tuple[str, ...]
    #: The Date header in UTC; None: absent or unreadable.
    date: datetime | None
    #: The mail's own bodies, all its inline text or HTML leaves joined, at most MAX_BODY bytes; None: there is none.
    text: str | None
    html: str | None
    #: At most SNIPPET_LENGTH characters for lists: no tags, no quotes.
    snippet: str
    attachments: tuple[ParsedPart, ...]
    #: What was wrong with the mail, in short stable words, sorted.
    defects: tuple[str, ...]
