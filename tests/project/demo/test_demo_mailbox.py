"""The sample mailbox: believable, the same every time, and good mail."""

from __future__ import annotations

import email
import email.policy
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import parsedate_to_datetime

import pytest

from project.demo.mailbox import FOLDERS, OWNER_ADDRESS, fill, new_mail, sample_messages
from project.demo.sample.people import SampleMessage
from project.demo.store import Store

NOW = datetime(2026, 6, 15, 12, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def sample() -> list[SampleMessage]:
    return sample_messages(NOW)


@pytest.fixture(scope="module")
def parsed(sample: list[SampleMessage]) -> list[EmailMessage]:
    return [email.message_from_bytes(mail.raw, _class=EmailMessage, policy=email.policy.default) for mail in sample]


def test_a_few_hundred_mails_the_same_every_time(sample: list[SampleMessage]) -> None:
    assert 280 <= len(sample) <= 400
    assert sample_messages(NOW) == sample


@pytest.mark.parametrize("hour", [0, 5, 9, 23])
def test_every_date_lies_in_the_past_whatever_the_hour(hour: int) -> None:
    now = NOW.replace(hour=hour)
    mails = sample_messages(now)
    assert max(mail.received for mail in mails) < now
    assert min(mail.received for mail in mails) > now - timedelta(days=220)
    assert len(mails) >= 280


def test_every_mail_is_well_formed(sample: list[SampleMessage], parsed: list[EmailMessage]) -> None:
    for mail, message in zip(sample, parsed, strict=True):
        lines = mail.raw.split(b"\r\n")
        assert not any(b"\r" in line or b"\n" in line or len(line) > 998 for line in lines)
        assert not [part.defects for part in message.walk() if part.defects]
        assert abs(parsedate_to_datetime(message["date"]) - mail.received) < timedelta(minutes=1)


def test_message_ids_are_unique_and_answers_hang_on_them(parsed: list[EmailMessage]) -> None:
    ids = Counter(message["message-id"] for message in parsed)
    assert max(ids.values()) == 1
    answered = [message["in-reply-to"] for message in parsed if message["in-reply-to"]]
    assert len(answered) > 80
    assert set(answered) <= set(ids)


def test_all_kinds_of_mail_are_there(parsed: list[EmailMessage]) -> None:
    types = Counter(part.get_content_type() for message in parsed for part in message.walk())
    wanted = {
        *(
            "text/plain",
            "text/html",
            "multipart/alternative",
            "multipart/mixed",
            "multipart/related",
            "multipart/report",
        ),
        *("application/pdf", "image/png", "text/csv", "text/calendar", "message/rfc822", "message/delivery-status"),
    }
    assert wanted <= set(types)
    charsets = {part.get_content_charset() for message in parsed for part in message.walk()}
    assert {
        *("utf-8", "iso-8859-1", "iso-8859-15", "koi8-r", "windows-1251", "iso-2022-jp", "gb18030", "euc-kr"),
        *("iso-8859-7", "tis-620", "iso-8859-2", "windows-1252"),
    } <= charsets


@pytest.mark.parametrize(
    "words",
    [
        "Längsstäbe",
        "15 €",
        "Посылка дошла",
        "Хвост",
        "いつもお世話",
        "蜈蚣风筝",
        "방패연",
        "الريح",
        "העפיפון",
        "💨💨💨",
    ],
)
def test_every_script_reads_back(parsed: list[EmailMessage], words: str) -> None:
    texts = [
        part.get_content()
        for message in parsed
        for part in message.walk()
        if part.get_content_type() == "text/plain" and not part.is_attachment()
    ]
    assert any(words in text for text in texts)


def test_all_domains_are_reserved_ones(parsed: list[EmailMessage]) -> None:
    reserved = ("example.com", "example.org", "example.net", ".test", ".invalid")
    for message in parsed:
        for name in ("from", "to", "cc"):
            addresses = message[name].addresses if message[name] is not None else ()
            assert all(address.domain.endswith(reserved) for address in addresses)


def test_filling_a_store_makes_roles_nested_folders_and_flags() -> None:
    store = Store()
    count = fill(store, NOW)
    boxes = {name: store.mailbox(name) for name in store.names()}
    assert sum(len(box.messages) for box in boxes.values()) == count
    assert {name: boxes[name].role for name in FOLDERS} == FOLDERS
    assert {"Projects/2025/Website/Builds", "Kites/Entwürfe", "Kites/风筝"} <= set(boxes)
    flags = Counter(flag for box in boxes.values() for mail in box.messages.values() for flag in mail.flags)
    assert {"\\Seen", "\\Flagged", "\\Answered", "\\Draft", "Travel", "$Junk", "$Forwarded"} <= set(flags)
    assert any("\\Seen" not in mail.flags for mail in boxes["INBOX"].messages.values())


def test_new_mail_never_repeats_itself() -> None:
    mails = [email.message_from_bytes(new_mail(n, NOW), policy=email.policy.default) for n in range(40)]
    assert len({mail["message-id"] for mail in mails}) == 40
    assert all(OWNER_ADDRESS in str(mail["to"]) for mail in mails)
