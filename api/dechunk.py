"""Request bodies as Django can read them.

The Node SDK sends large uploads chunked, without Content-Length; WSGI says nothing of those, and Django reads 0 bytes.
So they are spooled first. A body over the limit is answered here, before anything is read for a view.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Iterable
from typing import IO, Any

from django.conf import settings

from api.errors import ApiError, envelope_bytes

Environ = dict[str, Any]
Wsgi = Callable[[Environ, Any], Iterable[bytes]]

#: Bytes of a body kept in memory; a larger one waits in a temporary file.
IN_MEMORY = 1 << 20
#: Bytes read and thrown away of a body that is refused, so that its sender gets to read why.
DRAINED = 256 << 20
_PIECE = 1 << 16


class Dechunk:
    """A WSGI application around another: gives chunked bodies a length, refuses bodies over `limit` bytes with 413.

    `limit`: DATA_UPLOAD_MAX_MEMORY_SIZE unless told.
    """

    def __init__(self, app: Wsgi, limit: int | None = None) -> None:
        self._app = app
        self._limit = limit

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        limit = self._limit or settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 64 << 20
        length = environ.get("CONTENT_LENGTH") or ""
        if length:
            if length.isdecimal() and int(length) > limit:
                return self._refuse(environ, start_response, limit, left=int(length))
            return self._app(environ, start_response)
        if environ.get("HTTP_TRANSFER_ENCODING", "").lower() != "chunked":
            return self._app(environ, start_response)
        with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as body:
            size = _copy(environ["wsgi.input"], body, limit)
            if size > limit:
                return self._refuse(environ, start_response, limit, left=DRAINED)
            body.seek(0)
            environ["CONTENT_LENGTH"] = str(size)
            environ["wsgi.input"] = body
            del environ["HTTP_TRANSFER_ENCODING"]
            return self._app(environ, start_response)

    def _refuse(self, environ: Environ, start_response: Any, limit: int, *, left: int) -> Iterable[bytes]:
        _drain(environ["wsgi.input"], min(left, DRAINED))
        request_id = str(uuid.uuid4())
        error = ApiError(413, f"the body of the request is larger than {limit} bytes")
        body = envelope_bytes(error, request_id)
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("X-Request-Id", request_id),
        ]
        start_response("413 Content Too Large", headers)
        return [body]


def _copy(source: Any, target: IO[bytes], limit: int) -> int:
    """Copy a body until its end, or until it is over `limit`; return the bytes copied."""
    size = 0
    while size <= limit and (piece := source.read(_PIECE)):
        target.write(piece)
        size += len(piece)
    return size


def _drain(source: Any, left: int) -> None:
    while left > 0 and (piece := source.read(min(_PIECE, left))):
        left -= len(piece)
