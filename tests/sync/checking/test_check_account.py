"""One look, on real servers."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sync.services.checking import check_account
from tests.sync.conftest import Connected
from tests.sync.test_folder_sync import mail

WHEN = datetime(2024, 5, 17, 9, 30, tzinfo=UTC)


@pytest.fixture
def filled(connected: Connected) -> Connected:
    server = connected.server
    for number in range(6):
        server.append("INBOX", mail(number, answers=number - 1 if number % 3 else None), [r"\Seen"][: number % 2], WHEN)
    server.create("Été & Co/Письма")
    server.copy("INBOX", server.uids("INBOX")[:2], "Été & Co/Письма")
    large = mail(9, size=2_500_000).replace(b"x" * 70, b"x" * 68 + b"\r\n")
    server.append("Été & Co/Письма", large, [r"\Flagged", "$Junk"], WHEN)
    connected.mirror()
    return connected


def test_clean_mirror_has_no_difference(filled: Connected) -> None:
    report = check_account(filled.account_id, contents=True)
    assert report.differences == []
    assert (report.messages, report.contents) == (9, 9)
    assert report.folders >= 2
