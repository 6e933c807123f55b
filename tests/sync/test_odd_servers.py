"""What real servers do that the standard does not foresee, mirrored end to end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from accounts.changelog.reader import latest, read_changes
from project.demo.faults import Faults, cut, garble
from project.demo.server import DemoServer
from sync import tasks
from sync.models import Folder, Message, SyncState
from sync.services import sessions
from sync.services.checking import check_account
from tests.servers.courier import Courier
from tests.servers.server import ImapServer
from tests.sync.audit import Audit
from tests.sync.conftest import Connected, connect
from tests.sync.demo import connected_demo
from tests.sync.letters import arrived_at, letter


@pytest.fixture
def demo(transactional_db: None) -> Iterator[tuple[DemoServer, Connected]]:
    """Five mails in INBOX, not yet mirrored."""
    with connected_demo() as (server, connected):
        for number in range(5):
            server.append("INBOX", letter(number), [], arrived_at(number))
        yield server, connected


@pytest.fixture(params=["dovecot", "dovecot_plain"])
def nested(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[Connected]:
    """A mail in each of two folders, one below the other."""
    server: ImapServer = request.getfixturevalue(request.param)
    connected = connect(server.new_user())
    for number, path in enumerate(["Kunden", "Kunden/Süd"]):
        connected.server.create(path)
        connected.server.append(path, letter(number), [], arrived_at(number))
    connected.mirror()
    yield connected
    sessions.close_idle(older_than=0)
    connected.server.close()


def test_folder_deleted_above_others_loses_its_mail_and_stays_as_their_parent(nested: Connected) -> None:
    upper, lower = nested.folder("Kunden"), nested.folder("Kunden/Süd")
    mail = Message.objects.get(account_id=nested.account_id, subject="Note 0")
    place = latest(nested.account_id)
    # Dovecot 2.3 lists it for ever as if it could be opened
    nested.server.delete("Kunden")
    nested.mirror()
    changes = {(row.type, row.object_id): row.op for row in read_changes(nested.account_id, place, 500).rows}
    assert changes[("message", mail.pk)] == "deleted"
    assert changes[("folder", upper.pk)] == "updated"
    upper.refresh_from_db()
    lower.refresh_from_db()
    assert (upper.selectable, upper.total_count, upper.unread_count) == (False, 0, 0)
    assert (lower.parent_id, lower.total_count) == (upper.pk, 1)
    Audit(nested.account_id, nested.server).check()
    assert check_account(nested.account_id, contents=True).differences == []


def test_folder_made_anew_above_others_is_mirrored_again(nested: Connected) -> None:
    upper = nested.folder("Kunden").pk
    nested.server.delete("Kunden")
    nested.mirror()
    nested.server.create("Kunden")
    nested.server.append("Kunden", letter(7), [], arrived_at(7))
    nested.mirror()
    assert nested.folder("Kunden").pk == upper
    assert nested.mirrored() == nested.on_server()
    Audit(nested.account_id, nested.server).check()


def test_name_that_cannot_be_stored_does_not_stop_the_others(demo: tuple[DemoServer, Connected]) -> None:
    server, connected = demo
    names = '* LIST () "/" "&AAA-"\r\n* LIST () "/" "Gr\xfc\xdfe"\r\n* LIST () "/" {3}\r\na\x00b\r\n'
    server.faults = Faults(trips=(garble("LIST", names),))
    connected.mirror()
    assert connected.folder("INBOX").total_count == 5
    told = Folder.objects.filter(account_id=connected.account_id, selectable=False).values_list("path", flat=True)
    assert "\ufffd" in told


def test_message_that_the_server_does_not_give_is_asked_for_again(demo: tuple[DemoServer, Connected]) -> None:
    server, connected = demo
    server.faults = Faults(unreadable=frozenset({3}))
    # the pass is complete all the same: nobody waits for what may never come
    connected.mirror()
    assert connected.folder("INBOX").total_count == 4
    state = SyncState.objects.get(folder=connected.folder("INBOX"))
    assert not state.complete
    tasks.sync_folder(folder_id=state.pk)
    server.forget_heard()
    tasks.look_at_account(account_id=connected.account_id)
    assert not [command for command in server.heard if "FETCH" in command]
    server.faults = Faults()
    tasks.sync_folder(folder_id=state.pk)
    assert connected.folder("INBOX").total_count == 5
    assert SyncState.objects.get(pk=state.pk).complete
    Audit(connected.account_id, connected.server).check()


def test_broken_connection_leaves_no_temporary_files(
    demo: tuple[DemoServer, Connected], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, connected = demo
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for number in range(6, 9):
        server.append("INBOX", letter(number, "large"), [], arrived_at(number))
    connected.server.close()
    # a large mail takes three commands at least
    server.faults = Faults(trips=(cut("UID FETCH", skip=4, times=1),))
    connected.mirror()
    assert connected.folder("INBOX").total_count == 8
    assert list(tmp_path.iterdir()) == []


def test_items_that_come_apart_are_one_message(demo: tuple[DemoServer, Connected]) -> None:
    server, connected = demo
    server.add_flags("INBOX", 2, "\\Flagged", "Work")
    server.faults = Faults(split_fetched=True, packet_size=700)
    connected.mirror()
    server.faults = Faults()
    Audit(connected.account_id, connected.server).check()


def test_mail_that_comes_and_is_read_changes_no_attribute_of_its_folder(
    courier: Courier, transactional_db: None
) -> None:
    """Courier lists a folder with new mail as \\Marked."""
    connected = connect(courier.new_user())
    with connected.server as server:
        seen = []
        for number in range(2):
            server.append("INBOX", letter(number), [], arrived_at(number))
            connected.mirror()
            seen.append(connected.folder("INBOX").attributes)
            server.flag("INBOX", server.uids("INBOX"), add=[r"\Seen"])
            connected.mirror()
            seen.append(connected.folder("INBOX").attributes)
    sessions.close_idle(older_than=0)
    assert all(one == seen[0] for one in seen)
    assert not {"\\marked", "\\unmarked"} & {word.lower() for word in seen[0]}
