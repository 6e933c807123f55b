"""The leaves of a message and where their encoded bodies lie (RFC 2046 5.1), found in one pass over the bytes.

Nothing is copied: a leaf is a span of the raw message, which may be the map of a file of any size. What lies inside a
message/rfc822 leaf stays in one piece: it is a mail of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from sync.mime.fields import Fields, Parameterized, match_delimiter, parse_content_type, parse_disposition, read_fields
from sync.mime.values import MAX_DEPTH, MAX_PART_HEADERS, MAX_PARTS, MAX_STRAY_DELIMITERS, Raw

_DELIMITER = re.compile(rb"\n--([^\n]{0,1000}+)(?![^\n])")
#: Bytes in which the first delimiter of a multipart is looked for.
_NEAR = 1 << 16
_SPECIAL_TYPES = {"multipart/digest": "message/rfc822"}


@dataclass(slots=True)
class Leaf:
    """One part without parts: raw[start:end] is its encoded body."""

    fields: Fields
    content_type: Parameterized
    disposition: Parameterized
    start: int
    end: int
    #: A multipart in which no part was found: its body is read as text.
    is_failed_multipart: bool = False


@dataclass(slots=True)
class Structure:
    """The root's header fields and all leaves in reading order."""

    fields: Fields
    leaves: list[Leaf] = field(default_factory=list)
    defects: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Multipart:
    leaf: Leaf
    boundary: bytes
    #: Depth of the open multipart that has the same boundary: some senders use one twice.
    shadowed: int | None
    parts: int = 0


def find_structure(raw: Raw, start: int, end: int) -> Structure:
    """Find the leaves of the message at raw[start:end]. Costs one pass, whatever the nesting."""
    return _Scanner(raw, end).scan(start)


class _Scanner:
    """The state of the pass: which multiparts are open, and the leaf we are in."""

    def __init__(self, raw: Raw, end: int) -> None:
        self._raw = raw
        self._end = end
        self._open: list[_Multipart] = []
        self._depths: dict[bytes, int] = {}
        self._leaf: Leaf | None = None
        self._leaves: list[Leaf] = []
        self._defects: set[str] = set()
        self._header_bytes = 0

    def scan(self, start: int) -> Structure:
        fields = read_fields(self._raw, start, self._end)
        self._enter(fields, "text/plain")
        if self._open:
            self._pass_delimiters(fields.body)
        self._finish(self._end)
        return Structure(fields, self._leaves, self._defects)

    def _pass_delimiters(self, position: int) -> None:
        strays = 0
        while self._open:
            found = _DELIMITER.search(self._raw, max(position - 1, 0), self._end)
            if found is None:
                return
            depth, closing = match_delimiter(found[1], self._depths)
            position = found.end()
            if depth is None:
                strays += 1
                if strays > MAX_STRAY_DELIMITERS:
                    self._defects.add("too-many-parts")
                    return
                position += 1
                continue
            self._close(depth, found.start(), closing=closing)
            position += 1
            if not closing:
                position = self._open_part(depth, position)

    def _open_part(self, depth: int, position: int) -> int:
        """Read the part that begins at `position`; return where its body begins."""
        parent = self._open[depth]
        parent.parts += 1
        position = min(position, self._end)
        fields = read_fields(self._raw, position, self._end, self._depths)
        self._header_bytes += fields.body - position
        if len(self._leaves) >= MAX_PARTS or self._header_bytes > MAX_PART_HEADERS:
            self._defects.add("too-many-parts")
            return self._end
        self._enter(fields, _SPECIAL_TYPES.get(parent.leaf.content_type.value, "text/plain"))
        return fields.body

    def _enter(self, fields: Fields, default_type: str) -> None:
        self._defects |= fields.defects
        leaf = _make_leaf(fields, default_type, self._end)
        if leaf.content_type.value.startswith("multipart/"):
            self._enter_multipart(leaf)
        else:
            self._leaf = leaf

    def _enter_multipart(self, leaf: Leaf) -> None:
        boundary = self._boundary(leaf)
        if not boundary or len(self._open) >= MAX_DEPTH:
            self._defects.add("too-deep" if boundary else "no-boundary")
            leaf.is_failed_multipart = True
            self._leaf = leaf
            return
        self._open.append(_Multipart(leaf, boundary, shadowed=self._depths.get(boundary)))
        self._depths[boundary] = len(self._open) - 1
        self._leaf = None

    def _boundary(self, leaf: Leaf) -> bytes:
        """Return the boundary as the delimiter lines have it: white space at its end may have got lost on the way."""
        boundary = leaf.content_type.parameters.get("boundary", "").encode("utf-8", "replace")
        stripped = boundary.rstrip()
        if boundary != stripped and self._raw.find(b"\n--" + boundary, leaf.start, leaf.start + _NEAR) < 0:
            return stripped
        return boundary

    def _close(self, depth: int, line_start: int, *, closing: bool) -> None:
        """End the leaf we are in, and every multipart deeper than `depth`, before the delimiter at `line_start`."""
        end = line_start
        if self._raw[end - 1 : end] == b"\r":  # the line break before a delimiter belongs to it
            end -= 1
        self._finish_leaf(end)
        while len(self._open) > depth + (0 if closing else 1):
            self._pop(end)

    def _pop(self, end: int) -> None:
        multipart = self._open.pop()
        if multipart.shadowed is None:
            del self._depths[multipart.boundary]
        else:
            self._depths[multipart.boundary] = multipart.shadowed
        if not multipart.parts:
            self._defects.add("no-parts")
            multipart.leaf.is_failed_multipart = True
            self._leaf = multipart.leaf
            self._finish_leaf(end)

    def _finish(self, end: int) -> None:
        self._finish_leaf(end)
        if self._open:
            self._defects.add("no-end-boundary")
        while self._open:
            self._pop(end)

    def _finish_leaf(self, end: int) -> None:
        if self._leaf is None:
            return
        self._leaf.end = max(end, self._leaf.start)
        self._leaves.append(self._leaf)
        self._leaf = None


def _make_leaf(fields: Fields, default_type: str, end: int) -> Leaf:
    text = fields.text("content-type")
    content_type = parse_content_type(text) if text else Parameterized(default_type, {})
    text = fields.text("content-disposition")
    disposition = parse_disposition(text) if text else Parameterized("", {})
    return Leaf(fields, content_type, disposition, fields.body, end)
