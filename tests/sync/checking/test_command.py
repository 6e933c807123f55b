"""check_mirror on the terminal: what it prints, its exit status, and that nothing is reported after one look alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.changelog.recorder import allow_unlogged
from accounts.models import Account, Application, GrantDirectory
from accounts.services import pause_account
from sync.models import Folder, FolderMessage, Message
from sync.services.checking import check_mirror
from sync.services.progress import SyncProgress
from tests.servers.dovecot import Dovecot
from tests.sync.checking.conftest import LETTERS, WHEN, mail, note
from tests.sync.conftest import Connected

pytestmark = pytest.mark.parametrize("connected", ["dovecot"], indirect=True)


def run(*arguments: str) -> tuple[int, str]:
    """Return the exit status and what was printed."""
    out = StringIO()
    try:
        call_command("check_mirror", *arguments, stdout=out)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def folders_of(connected: Connected) -> int:
    return Folder.objects.filter(account_id=connected.account_id).count()


def refused(*arguments: str) -> str:
    """Return the line that says why it could not look."""
    with pytest.raises(CommandError) as error:
        call_command("check_mirror", *arguments)
    assert error.value.returncode == 2
    return str(error.value)


def plant_flags(connected: Connected) -> FolderMessage:
    one = note(connected, 0, LETTERS)
    with allow_unlogged("planted by a test"):
        FolderMessage.objects.filter(pk=one.copy.pk).update(flags=["$Forged"])
        Message.objects.filter(pk=one.message.pk).update(flags=["$Forged"])
    return one.copy


def test_clean_mirror_ends_with_status_0_and_a_line_that_counts(filled: Connected) -> None:
    filled.server.append("INBOX", mail(50), [], WHEN)
    status, printed = run(str(filled.account_id))
    assert (status, printed) == (0, f"checked {folders_of(filled)} folders, 9 messages: no difference\n")


def test_json_tells_what_was_checked(filled: Connected) -> None:
    status, printed = run(f"{filled.user.username}@example.com", "--json", "--contents")
    assert status == 0
    assert json.loads(printed) == {
        "checked": {"folders": folders_of(filled), "messages": 8, "contents": 8},
        "differences": [],
    }


def test_difference_ends_with_status_1_and_is_told_in_json_and_in_a_line(filled: Connected) -> None:
    copy = plant_flags(filled)
    status, printed = run(str(filled.account_id), "--json")
    assert status == 1
    assert json.loads(printed)["differences"] == [
        {
            "kind": "flags_differ",
            "folder": LETTERS,
            "uid": int(copy.remote_id),
            "message_id": str(copy.message_id),
            "mirror": ["$Forged"],
            "server": [],
        }
    ]
    status, printed = run(str(filled.account_id))
    assert status == 1
    lines = printed.splitlines()
    uid, message_id = copy.remote_id, copy.message_id
    assert lines[0] == f'flags_differ  {LETTERS}  uid {uid}  message {message_id}  mirror: ["$Forged"]  server: []'
    assert lines[-1].endswith("folders, 8 messages: 1 difference")


def at_the_end_of_passes(*acts: Callable[[], Any]) -> Callable[[SyncProgress], None]:
    """Do something between a pass and the look that follows it: the first after the first pass, and so on."""
    waiting, ended = list(acts), set[int]()

    def tell(progress: SyncProgress) -> None:
        if waiting and progress.completed >= progress.requested and progress.requested not in ended:
            ended.add(progress.requested)
            waiting.pop(0)()

    return tell


def test_what_happens_while_it_looks_is_no_difference(filled: Connected) -> None:
    def live() -> None:
        filled.server.append("INBOX", mail(60), [], WHEN)
        filled.server.flag("INBOX", note(filled, 0).uid, add=[r"\Answered"])
        filled.server.expunge("INBOX", note(filled, 1).uid)
        filled.server.create("Brand new")

    report = check_mirror(filled.account_id, contents=True, tell_pass=at_the_end_of_passes(live))
    assert report.differences == []
    assert report.passed == 4


def test_difference_is_reported_beside_news(filled: Connected) -> None:
    plant_flags(filled)
    live = at_the_end_of_passes(lambda: filled.server.append("INBOX", mail(60), [], WHEN))
    report = check_mirror(filled.account_id, contents=False, tell_pass=live)
    assert [one.kind for one in report.differences] == ["flags_differ"]
    assert report.passed == 1


def test_what_the_second_look_alone_finds_is_not_reported(filled: Connected) -> None:
    def news(number: int) -> Callable[[], int]:
        return lambda: filled.server.append("INBOX", mail(number), [], WHEN)

    report = check_mirror(filled.account_id, contents=False, tell_pass=at_the_end_of_passes(news(70), news(71)))
    assert report.differences == []
    assert report.passed == 1
    assert report.messages == 9


def test_content_that_the_first_look_found_is_read_again_by_the_second(filled: Connected) -> None:
    one = note(filled, 3)
    with allow_unlogged("planted by a test"):
        # of the same length, so that only the content tells
        Message.objects.filter(pk=one.message.pk).update(sha256=bytes(32))
    report = check_mirror(filled.account_id, contents=True)
    assert ("content_differs", one.uid) in {(found.kind, found.uid) for found in report.differences}


def test_paused_account_is_not_looked_at(filled: Connected) -> None:
    pause_account(account_id=filled.account_id)
    assert f"is paused; first: manage.py resume_account {filled.account_id}" in refused(str(filled.account_id))


def test_account_that_is_paused_meanwhile_does_not_keep_it_waiting(filled: Connected) -> None:
    from sync.checking.remote import CouldNotLook

    def tell(_progress: SyncProgress) -> None:
        pause_account(account_id=filled.account_id)

    with pytest.raises(CouldNotLook):
        check_mirror(filled.account_id, contents=False, tell_pass=tell)


def test_unknown_account_and_email_of_several_applications_are_refused(filled: Connected) -> None:
    assert "no account 'nobody@example.com' is connected" in refused("nobody@example.com")
    email = f"{filled.user.username}@example.com"
    other = Application.objects.create(name="shop")
    GrantDirectory.objects.create(account_id=12345, application=other, email=email, provider="imap")
    said = refused(email)
    assert str(filled.account_id) in said
    assert "12345  application shop" in said


def test_wrong_password_and_unreachable_server_are_told(filled: Connected, dovecot: Dovecot) -> None:
    from sync.services import sessions
    from tests.servers.processes import free_ports

    account = Account.objects.get(pk=filled.account_id)
    account.settings["imap_port"] = free_ports(1)[0]
    account.save()
    sessions.close_idle(older_than=0)
    said = refused(str(filled.account_id))
    assert "refused" in said.lower()
    account.settings["imap_port"] = dovecot.port
    account.save()
    _change_password(filled.account_id)
    assert "could not check" in refused(str(filled.account_id))


def _change_password(account_id: int) -> None:
    from accounts.models import Credential
    from accounts.secrets import seal
    from accounts.services import CREDENTIAL

    secrets = json.dumps({"imap_password": "no such password"})
    Credential.objects.filter(pk=account_id).update(sealed=seal(secrets, context=CREDENTIAL))
