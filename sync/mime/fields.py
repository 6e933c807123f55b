"""Header blocks cut into fields, and the structured values in them (RFC 5322 2.2, RFC 2045 5, RFC 2231)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from sync.mime.charsets import decode_header_bytes, decode_text, find_codec, storable
from sync.mime.values import MAX_FIELD, MAX_HEADER_BLOCK, Raw
from sync.mime.words import decode_words

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)(?:\n|\Z)")
_BLANK_LINE = re.compile(rb"[ \t]*\r?(?:\n|\Z)")
#: A line that is no field, and one that surely is; what begins with two hyphens may be a delimiter.
_STRAY_LINE = re.compile(rb"(?!--)[^\n]*[^\s][^\n]*\n")
_KNOWN_FIELD = re.compile(
    rb"(?:Content-[\w-]+|X-[\w-]+|List-[\w-]+|From|To|Cc|Bcc|Subject|Date|Message-ID|MIME-Version|Received|Reply-To"
    rb"|Sender|In-Reply-To|References|Return-Path|Delivered-To|DKIM-Signature|ARC-[\w-]+|Authentication-Results)"
    rb"[ \t]*:",
    re.IGNORECASE,
)
_NO_BOUNDARIES: Mapping[bytes, int] = {}
_FOLD = re.compile(r"\r?\n(?=[ \t])|[\r\n]")
_PARAMETER = re.compile(
    r"""[;\s]*([^\s;="]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"?|([^;]*))""",
    re.DOTALL,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_COMMENT = re.compile(r"\([^()]*\)")
_SECTION = re.compile(r"([^*]+)(?:\*(\d{1,4}))?(\*)?$")
_TYPE = re.compile(r"([^\s/;]+)\s*/\s*([^\s;,]+)")


@dataclass(slots=True)
class Fields:
    """One header block: the raw values under each lower-case name, in order, and where the body begins."""

    values: dict[str, list[bytes]] = field(default_factory=dict)
    body: int = 0
    defects: set[str] = field(default_factory=set)

    def raw(self, name: str) -> bytes | None:
        """Return the first raw value of a field, None when there is none."""
        found = self.values.get(name)
        return found[0] if found else None

    def text(self, name: str) -> str:
        """Return the first value of a field unfolded, encoded words left as they are; "" when there is none."""
        found = self.values.get(name)
        return unfold(found[0]) if found else ""


@dataclass(slots=True)
class Parameterized:
    """A value such as `text/plain; charset=utf-8`: the value in lower case, the parameters decoded."""

    value: str
    parameters: dict[str, str]


def unfold(raw: bytes) -> str:
    """Return a raw value as one line of text, encoded words left as they are."""
    text = decode_header_bytes(raw[:MAX_FIELD]).strip()
    if "\n" in text or "\r" in text:
        text = _FOLD.sub("", text)
    return text


def decode_value(raw: bytes) -> str:
    """Return a raw value as people should see it: one line, decoded, storable."""
    return storable(decode_words(unfold(raw)))


def iterate_fields(
    raw: Raw, start: int, end: int, depths: Mapping[bytes, int] = _NO_BOUNDARIES
) -> tuple[list[tuple[str, bytes]], int, set[str]]:
    """Cut the header block at `start` into (name, raw value) pairs; return them, the body's place and the defects.

    The block ends at a blank line, at the first line that is no field, or at a delimiter line of one of `depths`.
    """
    pairs: list[tuple[str, bytes]] = []
    defects: set[str] = set()
    limit = min(end, start + MAX_HEADER_BLOCK)
    position = start
    match = _FIELD.match
    while position < limit:
        found = match(raw, position, limit)
        if found is None:
            resumed = _skip_stray_lines(raw, position, limit) if pairs else position
            if resumed == position:
                break
            defects.add("bad-header-line")
            position = resumed
            continue
        name, value = found.groups()
        if name[:2] == b"--" and _is_delimiter(found[0], depths):
            break
        pairs.append((name.decode("ascii"), value))
        position = found.end()
    blank = _BLANK_LINE.match(raw, position, end)
    if blank is not None:
        return pairs, blank.end(), defects
    if position >= limit and limit < end:
        defects.add("truncated-headers")
        position = _skip_header_block(raw, position, end)
    elif pairs:
        defects.add("bad-header-line")
    return pairs, position, defects


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
    pairs, body, defects = iterate_fields(raw, start, end, depths)
    fields = Fields(body=body, defects=defects)
    for name, value in pairs:
        fields.values.setdefault(name.lower(), []).append(value)
    return fields


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


def _is_delimiter(field_lines: bytes, depths: Mapping[bytes, int]) -> bool:
    """Tell whether what looks like a field, for its boundary holds a colon, is a delimiter."""
    return match_delimiter(field_lines.split(b"\n", 1)[0][2:], depths)[0] is not None


def _skip_header_block(raw: Raw, position: int, end: int) -> int:
    """Find the body behind a header block that is too long to be read."""
    for blank in (b"\n\n", b"\n\r\n"):
        found = raw.find(blank, position - 2, end)
        if found >= 0:
            return found + len(blank)
    return end


def parse_content_type(text: str) -> Parameterized:
    """Parse a Content-Type; a value that is none means text (RFC 2045 5.2), or, where it names a file, just bytes."""
    value, parameters = _split_value(text)
    found = _TYPE.match(value)
    if found is not None:
        value = f"{found[1]}/{found[2]}"
    else:
        value = "application/octet-stream" if "name" in parameters else "text/plain"
    return Parameterized(storable(value.lower())[:255], parameters)


def parse_disposition(text: str) -> Parameterized:
    """Parse a Content-Disposition; the value is "" when there is none."""
    value, parameters = _split_value(text)
    words = value.split()
    return Parameterized(storable(words[0].lower())[:255] if words else "", parameters)


def _split_value(text: str) -> tuple[str, dict[str, str]]:
    value, _, rest = text.partition(";")
    if "(" in value:
        value = _COMMENT.sub(" ", value)
    return value.strip(), parse_parameters(rest) if rest else {}


def parse_parameters(text: str) -> dict[str, str]:
    """Parse `a=b; c="d"; e*=utf-8''f; g*0=h; g*1=i` into decoded values under lower-case names."""
    plain: dict[str, str] = {}
    sections: dict[str, dict[int, tuple[str, bool]]] = {}
    for found in _PARAMETER.finditer(text):
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
