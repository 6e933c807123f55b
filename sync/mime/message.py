"""A raw mail read into a ParsedMessage; whatever the bytes are, it answers."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import unquote

from sync.mime.charsets import decode_text, find_meta_charset, one_line, storable
from sync.mime.dates import parse_date
from sync.mime.fields import Fields, cut_fields, decode_value, unfold
from sync.mime.ids import parse_ids, parse_message_id
from sync.mime.mailboxes import parse_mailboxes
from sync.mime.snippet import make_snippet
from sync.mime.structure import Leaf, Structure, find_structure
from sync.mime.transfer import count_decoded, iter_span
from sync.mime.values import MAX_BODY, MAX_PARTS, Address, ParsedMessage, ParsedPart, Raw

logger = logging.getLogger(__name__)

#: What is told of a mail that we fail to read: read again once we are mended.
_UNREADABLE = ParsedMessage(
    subject="",
    from_=(),
    to=(),
    cc=(),
    bcc=(),
    reply_to=(),
    message_id=None,
    in_reply_to=(),
    references=(),
    date=None,
    text=None,
    html=None,
    snippet="",
    attachments=(),
    defects=("unreadable",),
)
_BOM = b"\xef\xbb\xbf"
#: Bytes of a mail without any line feed that is looked at for carriage returns.
_MAX_BARE = 1 << 20
_INK = re.compile(rb"[^ \t\r\n]")
#: Where HTML shows a part of its own mail (RFC 2392).
_CID_URL = re.compile(r"cid:([^\s\"'<>)]+)", re.IGNORECASE)


def parse_message(raw: Raw) -> ParsedMessage:
    """Read a mail. Never raises, whatever the bytes; `defects` tells what was wrong with it."""
    try:
        return _read(raw)
    except Exception:
        logger.exception("a mail of %d bytes cannot be read", len(raw))
        return _UNREADABLE


def _read(raw: Raw) -> ParsedMessage:
    raw = _end_lines(raw)
    start = _find_start(raw)
    structure = find_structure(raw, start, len(raw))
    fields = structure.fields
    defects = structure.defects
    if not fields.values:
        defects.add("no-headers")
    bodies = _Bodies(raw, structure)
    date_text = fields.text("date")
    date = parse_date(date_text) if date_text else None
    if date_text and date is None:
        defects.add("bad-date")
    if raw.find(b"\0") >= 0:
        defects.add("nul-bytes")
    message = ParsedMessage(
        subject=decode_value(fields.raw("subject") or b""),
        from_=_mailboxes(fields, "from"),
        to=_mailboxes(fields, "to"),
        cc=_mailboxes(fields, "cc"),
        bcc=_mailboxes(fields, "bcc"),
        reply_to=_mailboxes(fields, "reply-to"),
        message_id=parse_message_id(fields.text("message-id")),
        in_reply_to=parse_ids(fields.text("in-reply-to")),
        references=parse_ids(fields.text("references")),
        date=date,
        text=bodies.text,
        html=bodies.html,
        snippet=make_snippet(bodies.text, bodies.html),
        attachments=bodies.attachments,
        defects=(),
    )
    if _has_replacements(message):
        defects.add("replaced-characters")
    return replace(message, defects=tuple(sorted(defects)))


def _has_replacements(message: ParsedMessage) -> bool:
    """Whether something that people see holds U+FFFD: no character could be made of the bytes, or none to be stored."""
    names = [address.name + address.email for field in (message.from_, message.to, message.cc) for address in field]
    files = [part.filename or "" for part in message.attachments]
    return any("\ufffd" in text for text in (message.subject, message.text or "", message.html or "", *names, *files))


def parse_headers(raw: Raw) -> list[tuple[str, str]]:
    """Return every header field of the message as (name, decoded value): order and doubles kept, one line each."""
    raw = _end_lines(raw)
    pairs, _, _ = cut_fields(raw, _find_start(raw), len(raw))
    return [(name.decode(), decode_value(value)) for name, value in pairs]


def _end_lines(raw: Raw) -> Raw:
    """Give a mail whose lines end with carriage returns alone, as old Macs wrote it, line feeds: at the same places."""
    if raw.find(b"\n") >= 0 or len(raw) > _MAX_BARE or raw.find(b"\r") < 0:
        return raw
    return raw[:].replace(b"\r", b"\n")


def _find_start(raw: Raw) -> int:
    """Skip what stands before the header: a byte order mark, blank lines, an mbox separator."""
    start = 3 if raw[:3] == _BOM else 0
    blank = _INK.search(raw, start)
    if blank is not None:  # else there is nothing but blanks
        start = max(start, raw.rfind(b"\n", start, blank.start()) + 1)
    if raw[start : start + 5] == b"From ":
        start = raw.find(b"\n", start) + 1 or len(raw)
    return start


def _mailboxes(fields: Fields, name: str) -> tuple[Address, ...]:
    values = fields.values.get(name)
    if not values:
        return ()
    mailboxes = [mailbox for value in values for mailbox in parse_mailboxes(unfold(value))]
    # A field that stands there twice names everybody once.
    return tuple(dict.fromkeys(mailboxes) if len(values) > 1 else mailboxes)


class _Bodies:
    """The leaves of a message dealt out: its own text, its own HTML, and everything else."""

    def __init__(self, raw: Raw, structure: Structure) -> None:
        self._raw = raw
        self._defects = structure.defects
        texts: list[Leaf] = []
        pages: list[Leaf] = []
        others: list[tuple[int, Leaf]] = []
        for position, leaf in enumerate(structure.leaves[:MAX_PARTS]):
            if leaf.is_failed_multipart:
                # Not one part was found in it: its raw text, but only where there is nothing else to show.
                texts.extend([leaf] if len(structure.leaves) == 1 else [])
            elif leaf.content_type.value == "text/plain" and not _is_attached(leaf):
                texts.append(leaf)
            elif leaf.content_type.value == "text/html" and not _is_attached(leaf):
                pages.append(leaf)
            else:
                others.append((position, leaf))
        self.text = self._join(texts)
        self.html = self._join(pages)
        self._shown = {unquote(each) for each in _CID_URL.findall(self.html)} if self.html and others else set()
        self.attachments = tuple(self._part(position, leaf) for position, leaf in others)

    def _join(self, leaves: Iterable[Leaf]) -> str | None:
        texts: list[str] = []
        room = MAX_BODY
        for leaf in leaves:
            text = self._decode(leaf, room)
            texts.append(text)
            room -= len(text.encode()) + 1
            if room <= 0:
                break
        if not texts:
            return None
        return "\n".join(texts)

    def _decode(self, leaf: Leaf, room: int) -> str:
        data, cut = self._take(leaf, 4 * room)
        charset = leaf.content_type.parameters.get("charset")
        if charset is None and leaf.content_type.value == "text/html":
            charset = find_meta_charset(data)
        text, defects = decode_text(data, charset, is_cut=cut)
        self._defects.update(defects)
        if len(text) * 4 > room and (len(text) > room or len(text.encode()) > room):
            text, cut = text.encode()[:room].decode("utf-8", "ignore"), True
        if cut:
            self._defects.add("truncated-body")
        return text

    def _take(self, leaf: Leaf, most: int) -> tuple[bytes, bool]:
        """Return the decoded bytes of a leaf, and whether there were more than `most`."""
        pieces = []
        taken = 0
        for piece in iter_span(self._raw, leaf.start, leaf.end, _encoding(leaf)):
            pieces.append(piece)
            taken += len(piece)
            if taken > most:
                return b"".join(pieces)[:most], True
        return b"".join(pieces), False

    def _part(self, position: int, leaf: Leaf) -> ParsedPart:
        encoding = _encoding(leaf)
        content_id = parse_message_id(leaf.fields.text("content-id"))
        charset = leaf.content_type.parameters.get("charset")
        return ParsedPart(
            position=position,
            content_type=leaf.content_type.value,
            filename=_filename(leaf),
            content_id=content_id,
            disposition=leaf.disposition.value or None,
            is_inline=self._is_inline(leaf, content_id),
            encoding=encoding,
            charset=charset.lower() if charset else None,
            offset=leaf.start,
            length=leaf.end - leaf.start,
            size=count_decoded(self._raw, leaf.start, leaf.end, encoding),
        )

    def _is_inline(self, leaf: Leaf, content_id: str | None) -> bool:
        if leaf.disposition.value == "inline":
            return True
        return content_id in self._shown


def _is_attached(leaf: Leaf) -> bool:
    return leaf.disposition.value == "attachment" or _filename(leaf) is not None


def _filename(leaf: Leaf) -> str | None:
    name = leaf.disposition.parameters.get("filename") or leaf.content_type.parameters.get("name")
    return one_line(name).strip() or None if name else None


def _encoding(leaf: Leaf) -> str:
    text = leaf.fields.text("content-transfer-encoding")
    words = text.lower().replace(";", " ").split()
    return storable(words[0])[:255] if words else "7bit"
