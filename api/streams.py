"""Raw mail to clients a piece at a time: memory stays flat, and no database connection is held while one is sent."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from django.http import HttpResponse, StreamingHttpResponse
from django.utils.http import content_disposition_header

from api.errors import ApiError
from project.postgres import give_back
from project.shards import on_shard
from sync.blobs import PIECE, BlobReader, open_blob
from sync.mime.transfer import iter_span
from sync.mime.values import Raw
from sync.models import Message, Part

_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))")
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,127}/[a-z0-9!#$&^_.+-]{1,127}")
#: What a file name must not hold: it would leave its directory, or its header.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f/\\\u2028\u2029]")
_FILENAME_LENGTH = 200


def blob_of(message: Message) -> BlobReader:
    """Return the raw MIME of a message."""
    return open_blob(message.account_id, bytes(message.sha256), message.size)


def from_shard(account_id: int, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield pieces that are read from an account's shard, giving the connection back between them.

    What is sent after the view has returned runs outside its `on_shard`.
    """
    left = iter(pieces)
    while True:
        with on_shard(account_id):
            piece = next(left, None)
        give_back()
        if piece is None:
            return
        yield piece


def raw_response(message: Message, wanted: str | None, unless: str | None) -> HttpResponse | StreamingHttpResponse:
    """Answer the raw MIME, or one range of it.

    `wanted`, `unless`: the headers Range and If-Range (RFC 9110 14.2, 13.1.5). Several ranges are answered whole.
    Raises ApiError 416 where the range lies outside.
    """
    etag = f'"{bytes(message.sha256).hex()}"'
    begin, end = _span(wanted if unless in (None, etag) else None, message.size)
    pieces = from_shard(message.account_id, blob_of(message).pieces(begin, end))
    response = StreamingHttpResponse(pieces, content_type="message/rfc822")
    response.headers["Content-Length"] = str(end - begin)
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["ETag"] = etag
    _protect(response, f"message-{message.pk}.eml")
    if end - begin < message.size:
        response.status_code = 206
        response.headers["Content-Range"] = f"bytes {begin}-{end - 1}/{message.size}"
    return response


def _span(wanted: str | None, size: int) -> tuple[int, int]:
    """Return the first byte asked for and the one behind the last."""
    found = _RANGE.fullmatch(wanted.strip()) if wanted else None
    if found is None:
        return 0, size
    first, last, suffix = found.groups()
    if suffix is not None:
        begin, end = max(size - int(suffix), 0), size
    else:
        begin, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < int(first):
            return 0, size
    if begin >= size or begin >= end:
        raise ApiError(416, f"the message has {size} bytes", headers={"Content-Range": f"bytes */{size}"})
    return begin, end


def part_response(message: Message, part: Part) -> StreamingHttpResponse:
    """Answer an attachment, cut out of the raw MIME and decoded as it is sent."""
    window = cast(Raw, _Window(blob_of(message)))
    decoded = iter_span(window, part.offset, part.offset + part.length, part.encoding)
    content_type = part.content_type if _MEDIA_TYPE.fullmatch(part.content_type) else "application/octet-stream"
    response = StreamingHttpResponse(from_shard(part.account_id, decoded), content_type=content_type)
    if part.encoding in _EXACT:
        response.headers["Content-Length"] = str(part.size)
    _protect(response, part.filename or f"attachment-{part.pk}")
    return response


#: Encodings of which `Part.size` is exact whatever the content.
_EXACT = frozenset({"7bit", "8bit", "binary", "base64", "quoted-printable"})


def _protect(response: StreamingHttpResponse, filename: str) -> None:
    """Have browsers save it under a safe name, and never show or run a stranger's content as ours."""
    safe = _UNSAFE.sub("_", filename)[-_FILENAME_LENGTH:].strip(". ") or "attachment"
    disposition = content_disposition_header(True, safe)
    assert disposition is not None
    response.headers["Content-Disposition"] = disposition
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    response.headers["X-Content-Type-Options"] = "nosniff"


@dataclass(slots=True)
class _Window:
    """Raw MIME that is read like bytes, a piece in memory at a time: what decoding needs of `Raw`."""

    blob: BlobReader
    _number: int = -1
    _piece: bytes = b""

    def __len__(self) -> int:
        return self.blob.size

    def __getitem__(self, wanted: slice) -> bytes:
        begin, end, _ = wanted.indices(self.blob.size)
        return b"".join(self._cut(begin, end))

    def find(self, sought: bytes, begin: int = 0, end: int | None = None) -> int:
        """Return where `sought` first lies whole between `begin` and `end`; -1: nowhere."""
        stop = self.blob.size if end is None else min(end, self.blob.size)
        overlap = len(sought) - 1
        while begin < stop:
            found = self[begin : min(begin + PIECE + overlap, stop)].find(sought)
            if found >= 0:
                return begin + found
            begin += PIECE
        return -1

    def _cut(self, begin: int, end: int) -> Iterator[bytes]:
        while begin < end:
            number, offset = divmod(begin, PIECE)
            if number != self._number:
                self._piece = self.blob.read(number * PIECE, PIECE)
                self._number = number
            piece = self._piece[offset : offset + end - begin]
            if not piece:
                return
            yield piece
            begin += len(piece)


def raw_mime_json(request_id: str, messages: Iterable[Message], **beside: Any) -> Iterator[bytes]:
    """Yield the envelope of a list of messages in the shape `fields=raw_mime`; `beside` stands beside `data`."""
    yield f'{{"request_id":{json.dumps(request_id)},"data":['.encode()
    for number, message in enumerate(messages):
        if number:
            yield b","
        yield from _raw_mime(message)
    yield b"]"
    for name, value in beside.items():
        yield f",{json.dumps(name)}:{json.dumps(value)}".encode()
    yield b"}"


def one_raw_mime_json(request_id: str, message: Message) -> Iterator[bytes]:
    """Yield the envelope of one message in the shape `fields=raw_mime`."""
    yield f'{{"request_id":{json.dumps(request_id)},"data":'.encode()
    yield from _raw_mime(message)
    yield b"}"


def _raw_mime(message: Message) -> Iterator[bytes]:
    kind = "draft" if message.is_draft else "message"
    yield f'{{"id":"{message.pk}","grant_id":"{message.account_id}","object":"{kind}","raw_mime":"'.encode()
    yield from _base64url(blob_of(message).pieces())
    yield b'"}'


def _base64url(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        whole = rest + piece
        cut = len(whole) - len(whole) % 3
        yield base64.urlsafe_b64encode(whole[:cut])
        rest = whole[cut:]
    yield base64.urlsafe_b64encode(rest)
