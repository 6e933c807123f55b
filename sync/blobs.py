"""Content-addressed raw MIME: rows of one MiB, each a zstd frame of its own.

Flat memory whatever the size of a mail, and any range can be read without unpacking what lies before it.
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import zstandard
from django.db import connections, router

from sync.models import Blob

#: Raw bytes a row holds, the last one excepted.
PIECE = 1 << 20
#: Pieces of different mails that are in memory at once.
AT_ONCE = 20
#: zstd's own default; higher levels cost several times the CPU for a few percent.
LEVEL = 3


class BlobMissing(LookupError):
    """A message names raw MIME that no row holds: the database was damaged or restored in part."""


@dataclass(frozen=True, slots=True)
class Frames:
    """The compressed pieces of one raw mail, in order; of a large one they wait in a temporary file."""

    sha256: bytes
    size: int
    #: The pieces themselves, or empty when `spool` holds them.
    pieces: tuple[bytes, ...]
    spool: IO[bytes] | None = None
    #: Where each piece ends in `spool`.
    ends: tuple[int, ...] = ()

    def __iter__(self) -> Iterator[bytes]:
        if self.spool is None:
            yield from self.pieces
            return
        self.spool.seek(0)
        begin = 0
        for end in self.ends:
            yield self.spool.read(end - begin)
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
    compressor, _ = _context()
    pieces = tuple(compressor.compress(raw[at : at + PIECE]) for at in range(0, len(raw), PIECE))
    return Frames(hashlib.sha256(raw).digest(), len(raw), pieces)


def compress_file(path: Path) -> Frames:
    """Hash and compress a large mail a MiB at a time; its pieces wait in an unnamed temporary file."""
    digest, size, ends = hashlib.sha256(), 0, []
    compressor, _ = _context()
    spool: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the Frames that own it
    with path.open("rb") as raw:
        while piece := raw.read(PIECE):
            digest.update(piece)
            size += len(piece)
            spool.write(compressor.compress(piece))
            ends.append(spool.tell())
    return Frames(digest.digest(), size, (), spool, tuple(ends))


def store_frames(account_id: int, many: list[Frames]) -> None:
    """Write the pieces of several mails that no row holds yet; call inside the transaction that names them."""
    with connections[router.db_for_write(Blob)].cursor() as cursor:
        small = [frames for frames in many if frames.spool is None]
        _insert(cursor, account_id, [(frames.sha256, n, piece) for frames in small for n, piece in enumerate(frames)])
        for frames in many:
            if frames.spool is not None:
                # a row at a time: a large mail is never in memory whole
                for number, piece in enumerate(frames):
                    _insert(cursor, account_id, [(frames.sha256, number, piece)])


def _insert(cursor: Any, account_id: int, rows: list[tuple[bytes, int, bytes]]) -> None:
    if not rows:
        return
    cursor.execute(
        f"INSERT INTO {Blob._meta.db_table} (account_id, sha256, number, data)"
        " SELECT %s, sha256, number, data FROM unnest(%s::bytea[], %s::int[], %s::bytea[])"
        " AS t(sha256, number, data) ON CONFLICT DO NOTHING",
        [account_id, *map(list, zip(*rows, strict=True))],
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
        data = Blob.objects.filter(pk=key).values_list("data", flat=True).first()
        if data is None:
            raise BlobMissing(f"piece {number} of blob {self.sha256.hex()} of account {self.account_id}")
        return _context()[1].decompress(bytes(data), max_output_size=PIECE)


def open_blob(account_id: int, sha256: bytes, size: int) -> BlobReader:
    """Read the raw MIME of a message; `size` as the message tells it. Raises BlobMissing when read."""
    return BlobReader(account_id, bytes(sha256), size)


def first_pieces(account_id: int, hashes: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield (hash, its first MiB) of several mails, in no order, a few of them at a time; missing ones are left out."""
    for at in range(0, len(hashes), AT_ONCE):
        rows = Blob.objects.filter(account_id=account_id, sha256__in=hashes[at : at + AT_ONCE], number=0)
        for sha256, data in rows.values_list("sha256", "data"):
            yield bytes(sha256), _context()[1].decompress(bytes(data), max_output_size=PIECE)


def pack_text(text: str | None) -> bytes | None:
    """Compress a body for `Body.html` or `Body.text`; None stays None."""
    return None if text is None else _context()[0].compress(text.encode())


def unpack_text(frame: bytes | memoryview | None) -> str | None:
    """Return the text of `Body.html` or `Body.text`; None stays None."""
    return None if frame is None else _context()[1].decompress(bytes(frame)).decode()
