"""Our reading of third-party mail against what independent programs agree on.

The corpus lies beside the repository and is read in place; without it these tests are skipped.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sync.conversations import find_thread_ids
from sync.mime import Address, ParsedMessage, ParsedPart, iter_decoded, parse_message

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"
LISTS = ("usrp-users", "ksummit")

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not here")

Facts = dict[str, Any]


def test_mime_bounce_and_report_mails_read_as_others_read_them(tmp_path: Path) -> None:
    parsed = tmp_path / "parsed.jsonl"
    _write(parsed, (facts_of(case, raw) for case, raw in corpus_mails()))
    _check(parsed, CORPUS / "expected.jsonl", "--threshold", "0.998", "--storable", "--kinds", "mime,bounce,arf")


@pytest.mark.parametrize("name", LISTS)
def test_list_archives_read_as_others_read_them_and_fall_into_the_same_threads(name: str, tmp_path: Path) -> None:
    parsed = tmp_path / "parsed.jsonl"
    rows = [facts_of(case, raw) for case, raw in list_mails(name)]
    for row, thread in zip(rows, _threads(rows), strict=True):
        row["thread"] = thread
    _write(parsed, iter(rows))
    expected = CORPUS / "lists" / f"{name}.expected.jsonl.xz"
    _check(parsed, expected, "--threshold", "0.9995", "--storable")
    _check(parsed, expected, "--fields", "thread", "--threshold", "1.0")


def test_every_attachment_can_be_cut_out_of_the_raw_mail() -> None:
    for case, raw in corpus_mails():
        for part in parse_message(raw).attachments:
            assert sum(map(len, iter_decoded(raw, part))) == part.size, case


def corpus_mails() -> Iterator[tuple[str, bytes]]:
    """Yield the id and the raw mail of each MIME, bounce and report case."""
    with (CORPUS / "expected.jsonl").open(encoding="utf-8") as lines:
        for case in map(json.loads, lines):
            if case["kind"] in ("mime", "bounce", "arf"):
                yield case["id"], (CORPUS / case["file"]).read_bytes()


def list_mails(name: str) -> Iterator[tuple[str, bytes]]:
    """Yield the id and the raw mail of each message of an mboxrd archive."""
    archive = lzma.decompress((CORPUS / "lists" / f"{name}.mbox.xz").read_bytes())
    for index, quoted in enumerate(re.split(rb"(?m)^From mboxrd@z.*\n", archive)[1:]):
        yield f"{name}/{index:05}", re.sub(rb"(?m)^>(>*From )", rb"\1", quoted.removesuffix(b"\n"))


def facts_of(case: str, raw: bytes) -> Facts:
    """Read a mail and tell it the way the checker compares it."""
    return tell(case, parse_message(raw), raw)


def tell(case: str, message: ParsedMessage, raw: bytes) -> Facts:
    return {
        "id": case,
        "subject": message.subject,
        "from": _addresses(message.from_),
        "to": _addresses(message.to),
        "cc": _addresses(message.cc),
        "date": message.date.isoformat() if message.date else None,
        "message_id": message.message_id,
        "in_reply_to": message.in_reply_to,
        "references": message.references,
        "text": message.text,
        "html": message.html,
        "attachments": [_attachment(part, raw) for part in message.attachments],
        "thread_ids": find_thread_ids(message),
        # Not compared, but to be stored as well.
        "snippet": message.snippet,
        "reply_to": _addresses(message.reply_to),
    }


def _addresses(addresses: tuple[Address, ...]) -> list[dict[str, str]]:
    return [{"name": address.name, "addr": address.email} for address in addresses]


def _attachment(part: ParsedPart, raw: bytes) -> dict[str, Any]:
    digest = hashlib.sha256()
    for piece in iter_decoded(raw, part):
        digest.update(piece)
    return {
        "name": part.filename,
        "content_type": part.content_type,
        "size": part.size,
        "sha256": digest.hexdigest(),
    }


def _threads(rows: list[Facts]) -> list[str]:
    """Join mails that share an id, and name each group by one of its ids."""
    above: dict[str, str] = {}

    def root(name: str) -> str:
        while above.setdefault(name, name) != name:
            name = above[name]
        return name

    for row in rows:
        ids = row["thread_ids"] or (row["id"],)
        for each in ids[1:]:
            above[root(each)] = root(ids[0])
    return [root((row["thread_ids"] or (row["id"],))[0]) for row in rows]


def _write(path: Path, rows: Iterator[Facts]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _check(parsed: Path, expected: Path, *options: str) -> None:
    done = subprocess.run(
        [sys.executable, str(CORPUS / "check_expected.py"), str(parsed), str(expected), *options],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "crashed 0" in done.stdout
