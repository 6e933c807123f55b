"""Content-addressed raw MIME: rows of one MiB, each a zstd frame of its own, base64 decoded before it is compressed.

Flat memory whatever the size of a mail, and any range can be read without unpacking what lies before it.
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any, NamedTuple

import zstandard
from django.db import connections, router

from sync.base64_runs import Run, put_back, take_out
from sync.models import Blob, Body

#: Raw bytes a row holds, the last one excepted.
PIECE = 1 << 20
#: Pieces of different mails that are in memory at once.
AT_ONCE = 20
#: zstd's own default; higher levels cost several times the CPU for a few percent.
LEVEL = 3


class BlobMissing(LookupError):
    """A message names raw MIME that no row holds: the database was damaged or restored in part."""


class Piece(NamedTuple):
    """At most a MiB of a raw mail: a zstd frame, and where base64 was taken out of it (three numbers a run)."""

    frame: bytes
    runs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Frames:
    """The compressed pieces of one raw mail, in order; of a large one they wait in a temporary file."""

    sha256: bytes
    size: int
    #: The pieces themselves, or empty when `spool` holds them.
    pieces: tuple[Piece, ...]
    spool: IO[bytes] | None = None
    #: Of each piece in `spool`: where its frame ends, and its runs.
    places: tuple[tuple[int, tuple[int, ...]], ...] = ()

    def __iter__(self) -> Iterator[Piece]:
        if self.spool is None:
            yield from self.pieces
            return
        self.spool.seek(0)
        begin = 0
        for end, runs in self.places:
            yield Piece(self.spool.read(end - begin), runs)
            begin = end


# zstd contexts are costly to make and not safe to share between threads, which run while they compress. Greenlets of
# one thread may share them (no call switches inside), so they are kept by the operating system's thread, not by
# threading.local, which gevent makes one a greenlet.
_contexts: dict[int, tuple[zstandard.ZstdCompressor, zstandard.ZstdDecompressor]] = {}


def _context() -> tuple[zstandard.ZstdCompressor, zstandard.ZstdDecompressor]:
    thread = threading.get_native_id()
    if thread not in _contexts:
        if len(_contexts) > 100:
            _contexts.clear()
        compressor = zstandard.ZstdCompressor(level=LEVEL, write_content_size=True)
        _contexts[thread] = (compressor, zstandard.ZstdDecompressor())
    return _contexts[thread]


def compress(raw: bytes) -> Frames:
    """Hash and compress a mail that is in memory."""
    pieces = tuple(_pack(raw[at : at + PIECE], number) for number, at in enumerate(range(0, len(raw), PIECE)))
    return Frames(hashlib.sha256(raw).digest(), len(raw), pieces)


def compress_file(path: Path) -> Frames:
    """Hash and compress a large mail a MiB at a time; its pieces wait in an unnamed temporary file."""
    digest, size = hashlib.sha256(), 0
    places: list[tuple[int, tuple[int, ...]]] = []
    spool: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the Frames that own it
    with path.open("rb") as raw:
        while piece := raw.read(PIECE):
            digest.update(piece)
            size += len(piece)
            frame, runs = _pack(piece, len(places))
            spool.write(frame)
            places.append((spool.tell(), runs))
    return Frames(digest.digest(), size, (), spool, tuple(places))


def _pack(piece: bytes, number: int) -> Piece:
    stripped, runs = take_out(piece, continued=number > 0)
    return Piece(_context()[0].compress(stripped), tuple(chain.from_iterable(runs)))


def _unpack(frame: bytes | memoryview, runs: Sequence[int] | None) -> bytes:
    stripped = _context()[1].decompress(bytes(frame), max_output_size=PIECE)
    return put_back(stripped, [Run(*runs[at : at + 3]) for at in range(0, len(runs), 3)]) if runs else stripped


def store_frames(account_id: int, many: list[Frames]) -> None:
    """Write the pieces of several mails that no row holds yet; call inside the transaction that names them."""
    with connections[router.db_for_write(Blob)].cursor() as cursor:
        small = [frames for frames in many if frames.spool is None]
        _insert(cursor, account_id, [(frames.sha256, n, *piece) for frames in small for n, piece in enumerate(frames)])
        for frames in many:
            if frames.spool is not None:
                # a row at a time: a large mail is never in memory whole
                for number, piece in enumerate(frames):
                    _insert(cursor, account_id, [(frames.sha256, number, *piece)])


def _insert(cursor: Any, account_id: int, rows: list[tuple[bytes, int, bytes, tuple[int, ...]]]) -> None:
    if not rows:
        return
    hashes, numbers, frames, runs = zip(*rows, strict=True)
    arrays = [f"{{{','.join(map(str, each))}}}" if each else None for each in runs]
    cursor.execute(
        f"INSERT INTO {Blob._meta.db_table} (account_id, sha256, number, data, runs)"
        " SELECT %s, sha256, number, data, runs::int[] FROM"
        " unnest(%s::bytea[], %s::int[], %s::bytea[], %s::text[]) AS t(sha256, number, data, runs)"
        " ON CONFLICT DO NOTHING",
        [account_id, list(hashes), list(numbers), list(frames), arrays],
    )


@dataclass(frozen=True, slots=True)
class BlobReader:
    """Reads raw MIME a MiB at a time."""

    account_id: int
    sha256: bytes
    size: int

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the raw bytes from `start` up to `stop` (the end), at most a MiB at a time."""
        stop = self.size if stop is None else min(stop, self.size)
        at = max(start, 0)
        while at < stop:
            number = at // PIECE
            piece = self._piece(number)
            begin = number * PIECE
            yield piece[at - begin : stop - begin]
            at = begin + PIECE

    def read(self, start: int, length: int) -> bytes:
        """Return at most `length` bytes from `start` on."""
        return b"".join(self.pieces(start, start + length))

    def _piece(self, number: int) -> bytes:
        key = (self.account_id, self.sha256, number)
        row = Blob.objects.filter(pk=key).values_list("data", "runs").first()
        if row is None:
            raise BlobMissing(f"piece {number} of blob {self.sha256.hex()} of account {self.account_id}")
        return _unpack(*row)


def open_blob(account_id: int, sha256: bytes, size: int) -> BlobReader:
    """Read the raw MIME of a message; `size` as the message tells it. Raises BlobMissing when read."""
    return BlobReader(account_id, bytes(sha256), size)


def first_pieces(account_id: int, hashes: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield (hash, its first MiB) of several mails, in no order, a few of them at a time; missing ones are left out."""
    for at in range(0, len(hashes), AT_ONCE):
        rows = Blob.objects.filter(account_id=account_id, sha256__in=hashes[at : at + AT_ONCE], number=0)
        for sha256, data, runs in rows.values_list("sha256", "data", "runs"):
            yield bytes(sha256), _unpack(data, runs)


class PackedBody(NamedTuple):
    """Both bodies of a message in one frame, since HTML says the text again; lengths in bytes, None: it has none."""

    data: bytes | memoryview
    text_length: int | None
    html_length: int | None


def pack_body(text: str | None, html: str | None) -> PackedBody:
    """Compress the bodies of a message."""
    parts = [None if body is None else body.encode() for body in (text, html)]
    lengths = [None if part is None else len(part) for part in parts]
    return PackedBody(_context()[0].compress(b"".join(part for part in parts if part)), *lengths)


def read_bodies(message_ids: Iterable[int]) -> dict[int, tuple[str | None, str | None]]:
    """Return (text, HTML) of each message that has a `Body`, of the shard at hand."""
    rows = Body.objects.filter(pk__in=list(message_ids)).values_list("pk", "data", "text_length", "html_length")
    return {pk: _unpack_body(PackedBody(data, text, html)) for pk, data, text, html in rows}


def _unpack_body(packed: PackedBody) -> tuple[str | None, str | None]:
    data, text_length, html_length = packed
    both = _context()[1].decompress(bytes(data))
    text = None if text_length is None else both[:text_length].decode()
    return text, None if html_length is None else both[text_length or 0 :].decode()
