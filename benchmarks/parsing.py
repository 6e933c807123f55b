"""How well and how fast mail is read, by us, by flanker and by the standard library: field by field.

    python -m benchmarks.parsing [CORPUS]

CORPUS is the folder with expected.jsonl and check_expected.py (default: ../shared/corpus). Facts are those on which
independent programs agree; a reader that raises misses all facts of that mail. Times are CPU times of one core.
"""

from __future__ import annotations

import email
import email.policy
import hashlib
import json
import logging
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from email.message import EmailMessage, MIMEPart
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from sync.mime import parse_message
from tests.sync.test_corpus import CORPUS, corpus_mails, list_mails, tell

Facts = dict[str, Any]
Reader = Callable[[bytes], Any]
Teller = Callable[[str, Any, bytes], Facts]


def tell_standard(case: str, message: EmailMessage, raw: bytes) -> Facts:
    """What the standard library's default policy reads."""

    def addresses(name: str) -> list[dict[str, str]]:
        headers = message.get_all(name, [])
        return [{"name": a.display_name, "addr": a.addr_spec} for header in headers for a in header.addresses]

    texts: list[str] = []
    pages: list[str] = []
    attachments = []
    for leaf in _leaves(message):
        kind, name = leaf.get_content_type(), leaf.get_filename()
        if kind in ("text/plain", "text/html") and not name and leaf.get_content_disposition() != "attachment":
            (texts if kind == "text/plain" else pages).append(_text(leaf))
        else:
            body = leaf.get_payload(decode=True)
            data = body if isinstance(body, bytes) else b""
            attachments.append({"name": name, "content_type": kind, "sha256": hashlib.sha256(data).hexdigest()})
    return {
        "id": case,
        "subject": message["subject"],
        **{field: addresses(field) for field in ("from", "to", "cc")},
        "date": _iso_date(message["date"]),
        "message_id": message["message-id"],
        "in_reply_to": message["in-reply-to"],
        "references": message["references"],
        "text": "\n".join(texts),
        "html": "\n".join(pages),
        "attachments": attachments,
    }


def _leaves(message: MIMEPart) -> Iterator[MIMEPart]:
    """Yield the parts without parts; a mail inside a mail is one."""
    if message.get_content_maintype() != "multipart" or not message.is_multipart():
        yield message
        return
    for part in message.iter_parts():
        yield from _leaves(part)


def _text(leaf: MIMEPart) -> str:
    try:
        return str(leaf.get_content())
    except LookupError:  # a charset it does not know
        body = leaf.get_payload(decode=True)
        return body.decode("utf-8", "replace") if isinstance(body, bytes) else ""


def read_flanker(raw: bytes) -> Any:
    from flanker import mime  # imported where it is measured, as it takes its time

    return mime.from_string(raw)


def tell_flanker(case: str, message: Any, raw: bytes) -> Facts:
    """What flanker reads: its own decoded headers, its address grammar, its bodies."""
    from flanker.addresslib import address

    def addresses(name: str) -> list[dict[str, str]]:
        found = [each for header in message.headers.getall(name) for each in address.parse_list(header)]
        return [{"name": each.display_name, "addr": each.address} for each in found if each.addr_type == "email"]

    texts: list[str] = []
    pages: list[str] = []
    attachments = []
    for leaf in message.walk(with_self=True, skip_enclosed=True):
        if leaf.content_type.is_multipart():
            continue
        kind = str(leaf.content_type.value)
        name = leaf.content_type.params.get("name") or leaf.content_disposition[1].get("filename")
        if kind in ("text/plain", "text/html") and not name and leaf.content_disposition[0] != "attachment":
            (texts if kind == "text/plain" else pages).append(leaf.body or "")
        else:
            body = leaf.body or b"" if not kind.startswith("message/") else b""
            data = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
            attachments.append({"name": name, "content_type": kind, "sha256": hashlib.sha256(data).hexdigest()})
    return {
        "id": case,
        "subject": message.headers.get("subject"),
        **{field: addresses(field) for field in ("from", "to", "cc")},
        "date": _iso_date(message.headers.get("date")),
        "message_id": message.message_id,
        "in_reply_to": message.headers.get("in-reply-to"),
        "references": list(message.references),
        "text": "\n".join(texts),
        "html": "\n".join(pages),
        "attachments": attachments,
    }


def read_standard(raw: bytes) -> EmailMessage:
    return email.message_from_bytes(raw, policy=email.policy.default)


def _iso_date(value: str | None) -> str | None:
    try:
        return parsedate_to_datetime(value).isoformat() if value else None
    except ValueError:
        return None


READERS: dict[str, tuple[Reader, Teller]] = {
    "ours": (parse_message, tell),
    "standard library": (read_standard, tell_standard),
    "flanker": (read_flanker, tell_flanker),
}


def read_all(mails: Iterable[tuple[str, bytes]], read: Reader, told: Teller) -> tuple[list[Facts], float]:
    """Read and tell each mail; return the facts and the CPU milliseconds a mail of reading and telling."""
    rows: list[Facts] = []
    mails = list(mails)
    started = time.process_time()
    for case, raw in mails:
        try:
            rows.append(told(case, read(raw), raw))
        except Exception as error:  # the other readers raise whatever they like: that is what is measured
            rows.append({"id": case, "error": repr(error)})
    return rows, (time.process_time() - started) / len(mails) * 1000


def score(corpus: Path, rows: list[Facts]) -> dict[str, Any]:
    """Let the corpus's own checker compare; return its report."""
    with tempfile.TemporaryDirectory() as folder:
        parsed, report = Path(folder) / "parsed.jsonl", Path(folder) / "report.json"
        parsed.write_text("".join(json.dumps(row, default=str) + "\n" for row in rows), encoding="utf-8")
        checker = [sys.executable, str(corpus / "check_expected.py"), str(parsed), str(corpus / "expected.jsonl")]
        options = ["--kinds", "mime,bounce,arf", "--show", "0", "--json", str(report)]
        subprocess.run([*checker, *options], check=False, capture_output=True)
        result: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
        return result


def main(corpus: Path) -> None:
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    reports = {}
    for name, (read, told) in READERS.items():
        rows, _ = read_all(corpus_mails(), read, told)
        reports[name] = score(corpus, rows)
    fields = list(reports["ours"]["total"])
    print(f"{'field':18}" + "".join(f"{name:>18}" for name in reports))
    for field in fields:
        shares = [report["ok"].get(field, 0) / report["total"][field] for report in reports.values()]
        print(f"{field:18}" + "".join(f"{share:>18.2%}" for share in shares))
    print(f"{'all':18}" + "".join(f"{report['rate']:>18.2%}" for report in reports.values()))
    print(f"{'mails lost':18}" + "".join(f"{len(report['crashed']):>18}" for report in reports.values()))
    for archive in ("usrp-users", "ksummit"):
        mails = list(list_mails(archive))
        times = [read_all(mails, read, told)[1] for read, told in READERS.values()]
        print(f"{archive + ', ms':18}" + "".join(f"{milliseconds:>18.2f}" for milliseconds in times))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else CORPUS)
