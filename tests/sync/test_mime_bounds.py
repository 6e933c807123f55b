"""No mail costs more than 1 s of CPU or 200 MB, however large or hostile it is."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sync.mime import ParsedMessage, html_to_text, parse_headers, parse_message
from sync.mime.values import MAX_BODY, MAX_PARTS
from tests.sync.test_corpus import CORPUS, corpus_mails

CPU_SECONDS = 1.0
MEMORY_KILOBYTES = 200 * 1024

#: Reads one mail the way large mail is read, and tells what it cost.
MEASURE = """
import json, mmap, resource, sys
from sync.mime import iter_decoded, parse_message
with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
    before = resource.getrusage(resource.RUSAGE_SELF)
    message = parse_message(raw)
    after = resource.getrusage(resource.RUSAGE_SELF)
    decoded = [sum(map(len, iter_decoded(raw, part))) for part in message.attachments]
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    # Not ru_maxrss: a child inherits its parent's.
    "peak": int(status["VmHWM"].split()[0]),
    "own": int(status["RssAnon"].split()[0]),
    "sizes": [part.size for part in message.attachments],
    "decoded": decoded,
    "text": len(message.text or ""),
    "snippet": message.snippet,
    "defects": message.defects,
}))
"""

HEAD = b"From: a@example.org\r\nSubject: large\r\nMIME-Version: 1.0\r\n"
MIXED = HEAD + b'Content-Type: multipart/mixed; boundary="B"\r\n\r\n'
BASE64_LINE = b"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAx\r\n"


def write_large(path: Path, encoding: bytes, line: bytes, *, size: int = 82_000_000) -> int:
    """Write a mail of `size` bytes, nearly all of it one attachment; return its lines."""
    lines = size // len(line)
    with path.open("wb") as file:
        file.write(MIXED + b"--B\r\nContent-Type: text/plain\r\n\r\nHere is the film.\r\n")
        file.write(b"--B\r\nContent-Type: video/mp4; name=film.mp4\r\n")
        file.write(b"Content-Transfer-Encoding: " + encoding + b"\r\n\r\n")
        for start in range(0, lines, 10_000):
            file.write(line * min(10_000, lines - start))
        file.write(b"\r\n--B--\r\n")
    return lines


def measure(path: Path) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True)
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


@pytest.mark.parametrize(
    ("encoding", "line", "decoded"),
    [(b"base64", BASE64_LINE, 54), (b"quoted-printable", b"=41 soft=\r\n", 6), (b"8bit", b"8 bit \xff\r\n", 9)],
    ids=["base64", "quoted-printable", "8bit"],
)
def test_mail_of_82_megabytes_is_read_from_a_file_in_flat_memory(
    tmp_path: Path, encoding: bytes, line: bytes, decoded: int
) -> None:
    mail = tmp_path / "large.eml"
    lines = write_large(mail, encoding, line)
    cost = measure(mail)
    assert cost["cpu"] < CPU_SECONDS, cost
    # The map's own pages are the page cache's: they count in the peak, and go when memory is short.
    assert cost["peak"] < MEMORY_KILOBYTES, cost
    assert cost["own"] < 60 * 1024, cost
    assert cost["sizes"] == cost["decoded"]
    assert abs(cost["sizes"][0] - lines * decoded) <= 2, cost
    assert cost["snippet"] == "Here is the film."


def test_text_of_82_megabytes_is_cut_at_one(tmp_path: Path) -> None:
    mail = tmp_path / "large.eml"
    mail.write_bytes(HEAD + b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + "grüße ".encode() * 10_000_000)
    cost = measure(mail)
    assert cost["cpu"] < CPU_SECONDS, cost
    assert cost["peak"] < MEMORY_KILOBYTES, cost
    assert cost["defects"] == ["truncated-body"]


def test_no_mail_of_the_corpus_is_slow() -> None:
    if not CORPUS.is_dir():
        pytest.skip("the corpus is not here")
    for case, raw in corpus_mails():
        seconds, _ = timed(partial(parse_message, raw))
        assert seconds < CPU_SECONDS / 2, case


def many(pattern: bytes, total: int = 1 << 20) -> bytes:
    return pattern * (total // len(pattern))


def html(body: bytes) -> bytes:
    return HEAD + b"Content-Type: text/html\r\n\r\n" + body


def leaf(kind: bytes, encoding: bytes, body: bytes) -> bytes:
    return HEAD + b"Content-Type: " + kind + b"\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\n" + body


def nested(depth: int) -> bytes:
    levels = (b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (n, n) for n in range(depth))
    return HEAD + b"".join(levels) + b"\r\ninnermost"


#: Each is what some pattern or loop would need quadratic time or memory for.
HOSTILE: dict[str, Callable[[], bytes]] = {
    "commas": lambda: b"To: " + many(b",") + b"\n\nx",
    "open comments": lambda: b"To: " + many(b"(") + b"\n\nx",
    "comments": lambda: b"To: " + many(b"(a)") + b"\n\nx",
    "quotes": lambda: b"To: " + many(b'"a') + b"\n\nx",
    "backslashes": lambda: b'To: "' + many(b"\\") + b"\n\nx",
    "angle brackets": lambda: b"To: " + many(b"<") + b"\n\nx",
    "spaces in a name": lambda: b"To: a" + many(b" ") + b"<a@b>\n\nx",
    "tiny addresses": lambda: b"To: " + many(b"a@b,") + b"\n\nx",
    "beginnings of words": lambda: b"Subject: " + many(b"=?a?q?") + b"\n\nx",
    "words of two charsets": lambda: b"Subject: " + many(b"=?utf-8?q?a?= =?latin1?b?YQ=?= ") + b"\n\nx",
    "unknown charsets": lambda: b"Subject: " + b"".join(b"=?cs%d?q?a?= " % n for n in range(20_000)) + b"\n\nx",
    "references": lambda: b"References: " + many(b"<a@b> ") + b"\n\nx",
    "parameter name": lambda: b"Content-Type: text/plain; " + many(b"a") + b"\n\nx",
    "semicolons": lambda: b"Content-Type: text/plain" + many(b";") + b"\n\nx",
    "parameters": lambda: b"Content-Type: text/plain; " + many(b" a-b") + b"=c\n\nx",
    "spaces in a parameter": lambda: b"Content-Type: text/plain; a=b" + many(b" ") + b"\n\nx",
    "sections": lambda: b"Content-Disposition: x; " + b"".join(b"a*%d*=%%41;" % n for n in range(9999)) + b"\n\nx",
    "open comments in a date": lambda: b"Date: " + many(b"(") + b"\n\nx",
    "tiny fields": lambda: many(b"a:\n", 3 << 20) + b"\nx",
    "folds": lambda: b"a:" + many(b"\n b", 3 << 20) + b"\n\nx",
    "stray lines": lambda: b"a: b\n" + many(b"junk\nX-a: b\n") + b"\nx",
    "endless line": lambda: b"a: b\n" + many(b"x", 4 << 20),
    "blank lines first": lambda: many(b"\n", 8 << 20),
    "white space only": lambda: many(b" \t", 8 << 20),
    "attributions": lambda: HEAD + b"\n" + many(b"On a wrote:\n"),
    "quoted lines": lambda: HEAD + b"\n" + many(b">\n", 8 << 20),
    "8-bit text": lambda: HEAD + b"\n" + many(b"\xff", 8 << 20),
    "shifted text": lambda: leaf(b"text/plain; charset=iso-2022-jp", b"8bit", many(b"\x1b$B$3\x1b(B", 8 << 20)),
    "utf-7": lambda: leaf(b"text/plain; charset=utf-7", b"8bit", many(b"+AGE-", 8 << 20)),
    "soft breaks": lambda: leaf(b"a/b", b"quoted-printable", many(b"=\n", 8 << 20)),
    "padding": lambda: leaf(b"a/b", b"base64", many(b"A====", 8 << 20)),
    "uuencoded lines": lambda: leaf(b"a/b", b"x-uuencode", b"begin 644 x\n" + many(b"!\n", 8 << 20)),
    "levels": lambda: nested(20_000),
    "attachments": lambda: MIXED + b"--B\nContent-Type: image/png; name=a.png\n\nx\n" * 10_000 + b"--B--\n",
    "delimiters": lambda: MIXED + many(b"--B\n", 8 << 20),
    "other delimiters": lambda: MIXED + many(b"--C\n", 32 << 20),
    "multiparts": lambda: MIXED + b'--B\nContent-Type: multipart/mixed; boundary="c "\n\n' * 100_000,
    "headers of parts": lambda: MIXED + (b"--B\n" + b"a:\n" * 50_000) * 100,
    "shown parts": lambda: (
        HEAD
        + b"Content-Type: multipart/related; boundary=B\n\n--B\nContent-Type: text/html\n\n"
        + many(b"cid:a")
        + b"".join(b"\n--B\nContent-ID: <z%d>\nContent-Type: a/b\n\nx" % n for n in range(999))
    ),
    "tags": lambda: html(many(b"<b>")),
    "open elements": lambda: html(many(b"<div>")),
    "open brackets": lambda: html(many(b"<a")),
    "open comments in HTML": lambda: html(many(b"<!--") + b">"),
    "open quotes in HTML": lambda: html(many(b"<blockquote>")),
    "titles": lambda: html(many(b"<title>")),
    "spaces between tags": lambda: html(many(b"<b> </b>")),
    "forwarded": lambda: html(many(b"<div class=gmail_quote>---- Forwarded")),
    "entities": lambda: html(many(b"&")),
    "carriage returns": lambda: many(b"a: b\r"),
    "NUL bytes": lambda: many(b"\0", 8 << 20),
}


def timed(call: Callable[[], object]) -> tuple[float, object]:
    """Return the CPU seconds a call took, the better of two when the first was slow: others use this machine, too."""
    best = float("inf")
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_SELF)
        result = call()
        after = resource.getrusage(resource.RUSAGE_SELF)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if best < CPU_SECONDS / 2:
            break
    return best, result


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_mail_is_read_in_less_than_a_second(name: str) -> None:
    raw = HOSTILE[name]()
    seconds, message = timed(lambda: parse_message(raw))
    assert seconds < CPU_SECONDS
    assert isinstance(message, ParsedMessage)
    assert timed(lambda: parse_headers(raw))[0] < CPU_SECONDS
    if message.html:
        page = message.html
        assert timed(lambda: html_to_text(page))[0] < CPU_SECONDS


@pytest.fixture(scope="module")
def hostile_peaks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Peak memory of the mails above that build many small objects."""
    peaks = {}
    for name in ("tiny fields", "folds", "tiny addresses", "attachments", "headers of parts", "blank lines first"):
        path = tmp_path_factory.mktemp("hostile") / "mail.eml"
        path.write_bytes(HOSTILE[name]())
        peaks[name] = measure(path)["peak"]
    return peaks


def test_hostile_mail_is_read_in_two_hundred_megabytes(hostile_peaks: dict[str, int]) -> None:
    assert {name: peak for name, peak in hostile_peaks.items() if peak > MEMORY_KILOBYTES} == {}


def test_three_thousand_recipients_are_all_read_quickly() -> None:
    raw = b"To: " + b",\r\n ".join(b'"Name %d, Jr." <u%d@example.org>' % (n, n) for n in range(3200)) + b"\r\n\r\nHi"
    seconds, message = timed(lambda: parse_message(raw))
    assert isinstance(message, ParsedMessage)
    assert seconds < 0.1
    assert len(message.to) == 3200
    assert message.to[-1].name == "Name 3199, Jr."


def test_of_ten_thousand_parts_the_first_are_told_and_the_mail_is_marked() -> None:
    part = b"--B\r\nContent-Type: application/octet-stream\r\n\r\nx\r\n"
    message = parse_message(MIXED + b"--B\r\n\r\nHello\r\n" + part * 10_000 + b"--B--\r\n")
    assert len(message.attachments) == MAX_PARTS - 1
    assert "too-many-parts" in message.defects
    assert message.text == "Hello"


def test_levels_beyond_the_hundredth_stay_in_one_piece() -> None:
    assert parse_message(nested(99)).text == "innermost"
    assert "too-deep" in parse_message(nested(101)).defects


def test_body_is_cut_at_a_character_and_marked() -> None:
    raw = HEAD + b"Content-Type: text/plain; charset=utf-8\r\n\r\nx" + "é".encode() * MAX_BODY
    message = parse_message(raw)
    assert message.text is not None
    assert len(message.text.encode()) == MAX_BODY - 1
    assert set(message.text) == {"x", "é"}
    assert message.defects == ("truncated-body",)


def test_header_block_beyond_its_bound_is_skipped_and_the_body_still_found() -> None:
    raw = b"Subject: kept\r\n" + b"X-Filler: y\r\n" * 100_000 + b"\r\nbody"
    message = parse_message(raw)
    assert (message.subject, message.text) == ("kept", "body")
    assert "truncated-headers" in message.defects
