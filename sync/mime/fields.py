"""Header blocks cut into fields, and the structured values in them (RFC 5322 2.2, RFC 2045 5, RFC 2231)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from sync.mime.charsets import decode_header_bytes, decode_text, find_codec, one_line, storable
from sync.mime.values import MAX_FIELD, MAX_HEADER_BLOCK, Raw
from sync.mime.words import decode_words

#: Fields that follow each other, with their folded lines; then one of them.
_BLOCK = re.compile(rb"(?:[!-9;-~]++[ \t]*+:[^\n]*+(?:\n[ \t][^\n]*+)*+(?:\n|\Z))++")
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)(?:\n|\Z)")
_HYPHENS = re.compile(rb"^--([^\n]*)", re.MULTILINE)
_BLANK_LINE = re.compile(rb"[ \t]*\r?(?:\n|\Z)")
#: A line that is no field, and one that surely is; what begins with two hyphens may be a delimiter.
_STRAY_LINE = re.compile(rb"(?!--)[ \t]*+[^\s][^\n]*+\n")
_KNOWN_FIELD = re.compile(
    rb"(?:Content-[\w-]+|X-[\w-]+|List-[\w-]+|From|To|Cc|Bcc|Subject|Date|Message-ID|MIME-Version|Received|Reply-To"
    rb"|Sender|In-Reply-To|References|Return-Path|Delivered-To|DKIM-Signature|ARC-[\w-]+|Authentication-Results)"
    rb"[ \t]*:",
    re.IGNORECASE,
)
_NO_BOUNDARIES: Mapping[bytes, int] = {}
#: A bare value may hold spaces, as file names do; but what looks like the next parameter ends it.
_PARAMETER = re.compile(
    r"""[;\s]*+([^\s;="]++)\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)"?|((?:(?!\s{1,8}[\w*-]{1,40}=)[^;])*+))""",
    re.DOTALL,
)
_NO_PARAMETER = re.compile(r"[;\s]*+[^;\s]*+")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_COMMENT = re.compile(r"\([^()]*\)")
_SECTION = re.compile(r"([^*]+)(?:\*(\d{1,4}))?(\*)?$")
_TYPE = re.compile(r"\s*+([^\s/;]++)\s*+/\s*+([^\s;,]++)")


@dataclass(frozen=True, slots=True)
class Fields:
    """One header block: the raw values under each lower-case name, in order, and where the body begins."""

    values: dict[str, list[bytes]]
    body: int
    defects: set[str]

    def raw(self, name: str) -> bytes | None:
        """Return the first raw value of a field, None when there is none."""
        found = self.values.get(name)
        return found[0] if found else None

    def text(self, name: str) -> str:
        """Return the first value of a field unfolded, encoded words left as they are; "" when there is none."""
        found = self.values.get(name)
        return unfold(found[0]) if found else ""


@dataclass(frozen=True, slots=True)
class Parameterized:
    """A value such as `text/plain; charset=utf-8`: the value in lower case, the parameters decoded."""

    value: str
    parameters: Mapping[str, str]


def unfold(raw: bytes) -> str:
    """Return a raw value as one line of text, encoded words left as they are."""
    text = decode_header_bytes(raw[:MAX_FIELD]).strip()
    if "\n" in text or "\r" in text:
        text = text.replace("\r\n", "").replace("\n", "").replace("\r", " ")
    return text


def decode_value(raw: bytes) -> str:
    """Return a raw value as people should see it: one line, decoded, storable."""
    return one_line(storable(decode_words(unfold(raw))))


def cut_fields(
    raw: Raw, start: int, end: int, depths: Mapping[bytes, int] = _NO_BOUNDARIES
) -> tuple[list[tuple[bytes, bytes]], int, set[str]]:
    """Cut the header block at `start` into (name, raw value) pairs; return them, the body's place and the defects.

    The block ends at a blank line, at a delimiter line of one of `depths`, or at the first line that is no field:
    unless fields of mail go on behind it.
    """
    pairs: list[tuple[bytes, bytes]] = []
    defects: set[str] = set()
    limit = min(end, start + MAX_HEADER_BLOCK)
    position = start
    while True:
        position = _take_fields(raw, position, limit, depths, pairs)
        blank = _BLANK_LINE.match(raw, position, end)
        if blank is not None:
            return pairs, blank.end(), defects
        resumed = _skip_stray_lines(raw, position, limit) if pairs else position
        if resumed == position:
            break
        defects.add("bad-header-line")
        position = resumed
    if limit < end and raw.find(b"\n", position, limit) < 0:
        defects.add("truncated-headers")
        return pairs, _skip_header_block(raw, position, end), defects
    if pairs:
        defects.add("bad-header-line")
    return pairs, position, defects


def _take_fields(
    raw: Raw, start: int, limit: int, depths: Mapping[bytes, int], pairs: list[tuple[bytes, bytes]]
) -> int:
    """Append the fields that follow each other from `start`; return where they end."""
    found = _BLOCK.match(raw, start, limit)
    if found is None:
        return start
    block = found[0]
    if depths and (block.startswith(b"--") or b"\n--" in block):
        # What looks like a field may be a delimiter line: boundaries can hold colons.
        block = _cut_at_delimiter(block, depths)
    pairs += _FIELD.findall(block)
    return start + len(block)


def _cut_at_delimiter(block: bytes, depths: Mapping[bytes, int]) -> bytes:
    for found in _HYPHENS.finditer(block):
        if match_delimiter(found[1], depths)[0] is not None:
            return block[: found.start()]
    return block


def _skip_stray_lines(raw: Raw, position: int, limit: int) -> int:
    """Return where the header goes on behind lines that are no fields; `position` when it does not: it is the body."""
    ahead = position
    while found := _STRAY_LINE.match(raw, ahead, limit):
        ahead = found.end()
        if _KNOWN_FIELD.match(raw, ahead, limit):
            return ahead
    return position


def read_fields(raw: Raw, start: int, end: int, depths: Mapping[bytes, int] = _NO_BOUNDARIES) -> Fields:
    """Read the header block at `start`."""
    pairs, body, defects = cut_fields(raw, start, end, depths)
    values: dict[str, list[bytes]] = {}
    for name, value in pairs:
        values.setdefault(name.decode().lower(), []).append(value)
    return Fields(values, body, defects)


def match_delimiter(line: bytes, depths: Mapping[bytes, int]) -> tuple[int | None, bool]:
    """Return the depth of the multipart that a line, its two hyphens cut off, delimits, and whether it closes it.

    White space behind the boundary is no part of it (RFC 2046 5.1.1), unless the boundary itself ends with some.
    """
    stripped = line.rstrip()
    for candidate in (stripped, line.rstrip(b"\r\n")):
        if candidate in depths:
            return depths[candidate], False
        if candidate.endswith(b"--") and candidate[:-2] in depths:
            return depths[candidate[:-2]], True
    return None, False


def _skip_header_block(raw: Raw, position: int, end: int) -> int:
    """Find the body behind a header block that is too long to be read."""
    for blank in (b"\n\n", b"\n\r\n"):
        found = raw.find(blank, position - 2, end)
        if found >= 0:
            return found + len(blank)
    return end


@lru_cache(maxsize=512)
def parse_content_type(text: str) -> Parameterized:
    """Parse a Content-Type; a value that is none means text (RFC 2045 5.2), or, where it names a file, just bytes."""
    if "(" in text.partition(";")[0]:
        text = _COMMENT.sub(" ", text, count=10)
    found = _TYPE.match(text)
    if found is not None:
        value = f"{found[1]}/{found[2]}"
        parameters = parse_parameters(text[found.end() :])
    else:
        parameters = parse_parameters(text.partition(";")[2])
        value = "application/octet-stream" if "name" in parameters else "text/plain"
    return Parameterized(storable(value.lower())[:255], parameters)


@lru_cache(maxsize=512)
def parse_disposition(text: str) -> Parameterized:
    """Parse a Content-Disposition; the value is "" when there is none."""
    words = _COMMENT.sub(" ", text.partition(";")[0]).split()
    if not words or "=" in words[0]:  # nothing but parameters
        return Parameterized("", parse_parameters(text))
    rest = text[text.find(words[0]) + len(words[0]) :]
    return Parameterized(storable(words[0].lower())[:255], parse_parameters(rest))


def parse_parameters(text: str) -> dict[str, str]:
    """Parse `a=b; c="d"; e*=utf-8''f; g*0=h; g*1=i` into decoded values under lower-case names."""
    plain: dict[str, str] = {}
    sections: dict[str, dict[int, tuple[str, bool]]] = {}
    for found in _find_parameters(text):
        name = found[1].lower()
        value = _ESCAPED.sub(r"\1", found[2]) if found[2] is not None else _clean_token(found[3])
        section = _SECTION.match(name) if "*" in name else None
        if section is None:
            plain.setdefault(name, value)
        else:
            sections.setdefault(section[1], {}).setdefault(int(section[2] or 0), (value, section[3] is not None))
    result = {name: storable(decode_words(value)) for name, value in plain.items()}
    result.update((name, _join_sections(parts)) for name, parts in sections.items())
    return result


def _find_parameters(text: str) -> Iterator[re.Match[str]]:
    position = 0
    while position < len(text):
        found = _PARAMETER.match(text, position)
        if found is not None:
            yield found
            position = found.end()
        else:
            position = max(_NO_PARAMETER.match(text, position).end(), position + 1)  # type: ignore[union-attr]


def _clean_token(text: str) -> str:
    if "(" in text:
        text = _COMMENT.sub("", text)
    return text.strip()


def _join_sections(parts: dict[int, tuple[str, bool]]) -> str:
    """Join the sections of one parameter (RFC 2231 3 and 4); what is percent-encoded is decoded together."""
    charset = None
    data = bytearray()
    for index, number in enumerate(sorted(parts)):
        value, extended = parts[number]
        if extended and index == 0 and value.count("'") >= 2:
            charset, _, value = value.split("'", 2)
        encoded = value.encode(find_codec(charset or "utf-8") or "utf-8", "replace")
        data += unquote_to_bytes(encoded) if extended else encoded
    text = decode_text(bytes(data), charset or None)[0]
    return storable(decode_words(text))
