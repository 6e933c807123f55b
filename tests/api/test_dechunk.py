"""Bodies without a length reach the views; bodies over the limit are refused, and told why."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from typing import Any

import pytest

from api.dechunk import IN_MEMORY, Dechunk


def echo(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Answer the body, read as Django reads it: as long as CONTENT_LENGTH says."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [("X-Chunked", environ.get("HTTP_TRANSFER_ENCODING", ""))])
    return [body]


def call(body: bytes, *, limit: int = 1 << 22, **environ: Any) -> tuple[str, dict[str, str], bytes]:
    """Send a body through Dechunk; return status, headers and answer."""
    seen: list[Any] = []
    given = {"wsgi.input": io.BytesIO(body), **environ}
    answer = b"".join(Dechunk(echo, limit)(given, lambda status, headers: seen.extend((status, dict(headers)))))
    return seen[0], seen[1], answer


@pytest.mark.parametrize("size", [0, 1, 70_000, IN_MEMORY + 1])
def test_a_chunked_body_gets_its_length(size: int) -> None:
    body = bytes(size)
    status, headers, answer = call(body, HTTP_TRANSFER_ENCODING="Chunked")
    assert (status, answer, headers["X-Chunked"]) == ("200 OK", body, "")


def test_a_body_with_a_length_passes_untouched() -> None:
    assert call(b"abcdef", CONTENT_LENGTH="3")[2] == b"abc"
    assert call(b"abcdef")[2] == b""


@pytest.mark.parametrize("environ", [{"HTTP_TRANSFER_ENCODING": "chunked"}, {"CONTENT_LENGTH": "101"}])
def test_a_body_over_the_limit_is_413_in_the_envelope_and_read_to_its_end(environ: dict[str, str]) -> None:
    source = io.BytesIO(bytes(101))
    seen: list[Any] = []
    given = {"wsgi.input": source, **environ}
    answer = b"".join(Dechunk(echo, 100)(given, lambda status, headers: seen.extend((status, dict(headers)))))
    body = json.loads(answer)
    assert seen[0].startswith("413 ")
    assert seen[1]["X-Request-Id"] == body["request_id"]
    assert body["error"]["type"] == "request_too_large"
    assert source.read() == b""
    assert call(bytes(100), limit=100, HTTP_TRANSFER_ENCODING="chunked")[0] == "200 OK"
