"""Each mail of tests/mail against the JSON beside it: add both, get a test.

The JSON names what is expected, field by field as in ParsedMessage (`from` without the underscore, addresses as
[name, email]); fields it leaves out are not compared. `text_from_html` is what html_to_text makes of the HTML.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sync.mime import Address, ParsedMessage, html_to_text, iter_decoded, parse_message

MAILS = sorted((Path(__file__).parents[1] / "mail").glob("*.eml"))
ADDRESS_FIELDS = {"from": "from_", "to": "to", "cc": "cc", "bcc": "bcc", "reply_to": "reply_to"}


@pytest.mark.parametrize("path", MAILS, ids=lambda path: path.stem)
def test_mail_is_read_as_expected(path: Path) -> None:
    expected = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    message = parse_message(path.read_bytes())
    assert {field: tell(message, field, wanted) for field, wanted in expected.items()} == expected


@pytest.mark.parametrize("path", MAILS, ids=lambda path: path.stem)
def test_every_attachment_is_cut_out_of_the_raw_mail(path: Path) -> None:
    raw = path.read_bytes()
    for part in parse_message(raw).attachments:
        assert len(b"".join(iter_decoded(raw, part))) == part.size


def tell(message: ParsedMessage, field: str, wanted: Any) -> Any:
    """Return a field the way the JSON writes it; of attachments only what `wanted` names."""
    if field in ADDRESS_FIELDS:
        addresses: tuple[Address, ...] = getattr(message, ADDRESS_FIELDS[field])
        return [[address.name, address.email] for address in addresses]
    if field == "date":
        return message.date.isoformat() if message.date else None
    if field == "text_from_html":
        return html_to_text(message.html or "")
    if field == "attachments":
        if len(wanted) != len(message.attachments):
            return [str(part) for part in message.attachments]
        return [{key: getattr(part, key) for key in row} for row, part in zip(wanted, message.attachments, strict=True)]
    value = getattr(message, field)
    return list(value) if isinstance(value, tuple) else value
