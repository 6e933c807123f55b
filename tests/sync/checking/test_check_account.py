"""One look, on real servers: nothing where nothing differs, and all news that the mirror does not have yet."""

from __future__ import annotations

from accounts.changelog.reader import latest
from sync.checking.values import Kind
from sync.models import Folder
from sync.services.checking import SAMPLE, check_account
from tests.sync.checking.conftest import LETTERS, WHEN, expected, mail, named, note
from tests.sync.conftest import Connected


def test_clean_mirror_has_no_difference(filled: Connected) -> None:
    before = latest(filled.account_id)
    flags = filled.server.flags("INBOX")
    report = check_account(filled.account_id, contents=True)
    assert report.differences == []
    assert (report.messages, report.contents) == (8, 8)
    assert report.folders == Folder.objects.filter(account_id=filled.account_id).count()
    assert latest(filled.account_id) == before
    assert filled.server.flags("INBOX") == flags


def test_all_that_happened_on_the_server_is_named(filled: Connected) -> None:
    server = filled.server
    gone, flagged = note(filled, 1), note(filled, 2)
    server.expunge("INBOX", gone.uid)
    server.flag("INBOX", flagged.uid, add=[r"\Answered", "$Work"])
    came = server.append("INBOX", mail(20), [r"\Draft"], WHEN)
    server.create("Neu/数学")
    server.rename("Neu/数学", "Neu/数学 2")
    server.bump_uidvalidity(LETTERS)
    found = {named(one) for one in check_account(filled.account_id, contents=True).differences}
    news = {one for one in found if one[0] not in (Kind.FOLDER_MISSING, Kind.FOLDER_DIFFERS)}
    assert news == {
        expected(Kind.MESSAGE_EXTRA, "INBOX", uid=gone.uid, message=gone.message.pk),
        expected(Kind.FLAGS_DIFFER, "INBOX", uid=flagged.uid, message=flagged.message.pk),
        expected(Kind.MESSAGE_MISSING, "INBOX", uid=came),
        expected(Kind.UIDVALIDITY_DIFFERS, LETTERS),
    }
    # what lies above a new folder may be one too
    assert (Kind.FOLDER_MISSING, "Neu/数学 2") in {one[:2] for one in found - news}
    assert {one[1] for one in found - news} <= {"Neu/数学 2", "Neu"}


def test_what_differs_is_told_from_both_sides(filled: Connected) -> None:
    one = note(filled, 1)
    filled.server.flag("INBOX", one.uid, add=["$Work"], remove=[r"\Seen"])
    (found,) = check_account(filled.account_id, contents=False).differences
    assert found.as_json() == {
        "kind": "flags_differ",
        "folder": "INBOX",
        "uid": one.uid,
        "message_id": str(one.message.pk),
        "mirror": [r"\Seen"],
        "server": ["$Work"],
    }


def test_folders_that_are_gone_or_new_are_named(filled: Connected) -> None:
    filled.server.delete(LETTERS)
    filled.server.create("A new one")
    found = {(one.kind, one.folder) for one in check_account(filled.account_id, contents=False).differences}
    assert {(Kind.FOLDER_EXTRA, LETTERS), (Kind.FOLDER_MISSING, "A new one")} <= found
    above = LETTERS.split("/")[0]
    # a server may drop the folder above with its last child
    assert found <= {(Kind.FOLDER_EXTRA, LETTERS), (Kind.FOLDER_MISSING, "A new one")} | {
        (kind, above) for kind in (Kind.FOLDER_EXTRA, Kind.FOLDER_DIFFERS, Kind.FOLDER_MISSING)
    }


def test_excluded_folders_are_not_missed(filled: Connected) -> None:
    from accounts.models import Account

    account = Account.objects.get(pk=filled.account_id)
    account.settings["exclude_folders"] = [LETTERS]
    account.save()
    filled.mirror()
    assert check_account(filled.account_id, contents=False).differences == []
    account.settings["exclude_folders"] = []
    account.save()
    found = check_account(filled.account_id, contents=False).differences
    assert [(one.kind, one.folder) for one in found] == [(Kind.FOLDER_MISSING, LETTERS)]


def test_without_contents_a_few_of_each_folder_are_read(filled: Connected) -> None:
    for number in range(30, 30 + SAMPLE):
        filled.server.append("INBOX", mail(number), [], WHEN)
    filled.mirror()
    report = check_account(filled.account_id, contents=False)
    assert report.differences == []
    assert (report.messages, report.contents) == (8 + SAMPLE, SAMPLE + 3)
