"""A folder that is numbered anew: its messages keep their ids, nothing is downloaded again, the log says little."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from accounts.changelog.models import Transaction
from accounts.changelog.reader import latest
from accounts.changelog.words import Kind, ObjectType
from sync.models import FolderMessage, Message
from sync.services import sessions
from tests.servers.recording import Recorder
from tests.servers.server import ImapServer
from tests.sync.audit import Audit
from tests.sync.conftest import Connected, connect
from tests.sync.demo import connected_demo
from tests.sync.letters import KINDS, arrived_at, letter

MAILS = 30


@pytest.fixture(params=["dovecot", "dovecot_plain", "cyrus"])
def server(request: pytest.FixtureRequest, transactional_db: None) -> ImapServer:
    found: ImapServer = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def wire(server: ImapServer) -> Iterator[Recorder]:
    with Recorder(server.port) as recorder:
        yield recorder


@pytest.fixture
def mirrored(server: ImapServer, wire: Recorder) -> Iterator[Connected]:
    """A folder of mails of all kinds but `nameless` ones, some of them also in INBOX, read once."""
    user = server.new_user()
    connected = connect(wire.before(user))
    connected.server.close()
    connected.server = server.connect(user)
    connected.server.create("Projekte")
    kinds = [kind for kind in KINDS if kind != "nameless"]
    for number in range(MAILS):
        raw = letter(number, kinds[number % len(kinds)], answers=[number - 1] if number else [])
        uid = connected.server.append("Projekte", raw, [r"\Seen"] if number % 3 else [r"\Flagged"], arrived_at(number))
        if number % 10 == 0:
            connected.server.copy("Projekte", uid, "INBOX")
    connected.mirror()
    assert wire.bodies_asked()
    yield connected
    sessions.close_idle(older_than=0)
    connected.server.close()


def ids_by_hash(account_id: int) -> dict[bytes, int]:
    rows = Message.objects.filter(account_id=account_id).values_list("sha256", "pk")
    return {bytes(sha256): pk for sha256, pk in rows}


def changes_of_mail(account_id: int, since: int) -> list[tuple[int, str]]:
    """What the log says of messages and drafts: (id, what happened), in order."""
    rows = Transaction.objects.filter(account_id=account_id, seq__gt=since).order_by("seq")
    mail = rows.filter(object_type__in=[ObjectType.MESSAGE, ObjectType.DRAFT])
    return [(pk, Kind(kind).label) for pk, kind in mail.values_list("object_id", "kind")]


def test_new_uidvalidity_keeps_ids_and_downloads_nothing_again(mirrored: Connected, wire: Recorder) -> None:
    before, place = ids_by_hash(mirrored.account_id), latest(mirrored.account_id)
    folder = mirrored.folder("Projekte")
    old = (folder.sync_state.cursor or {})["uidvalidity"]
    mirrored.server.bump_uidvalidity("Projekte")
    wire.forget()
    mirrored.mirror()
    assert mirrored.folder("Projekte").pk == folder.pk
    assert (mirrored.folder("Projekte").sync_state.cursor or {})["uidvalidity"] != old
    assert ids_by_hash(mirrored.account_id) == before
    assert wire.bodies_asked() == []
    assert changes_of_mail(mirrored.account_id, place) == []
    Audit(mirrored.account_id, mirrored.server).check()


def test_flags_changed_meanwhile_are_one_update_each(mirrored: Connected, wire: Recorder) -> None:
    before, place = ids_by_hash(mirrored.account_id), latest(mirrored.account_id)
    mirrored.server.bump_uidvalidity("Projekte")
    changed = mirrored.server.uids("Projekte")[:5]
    mirrored.server.flag("Projekte", changed, add=[r"\Answered", "$Forwarded"])
    wire.forget()
    mirrored.mirror()
    assert ids_by_hash(mirrored.account_id) == before
    assert wire.bodies_asked() == []
    touched = FolderMessage.objects.filter(folder=mirrored.folder("Projekte"), remote_id__in=map(str, changed))
    counted = Counter(changes_of_mail(mirrored.account_id, place))
    assert counted == {(pk, "updated"): 1 for pk in touched.values_list("message_id", flat=True)}


def test_only_what_is_new_is_downloaded(mirrored: Connected, wire: Recorder) -> None:
    before, place = ids_by_hash(mirrored.account_id), latest(mirrored.account_id)
    mirrored.server.bump_uidvalidity("Projekte")
    gone = mirrored.server.uids("Projekte")[1]
    mirrored.server.expunge("Projekte", gone)
    new = mirrored.server.append("Projekte", letter(MAILS), [], arrived_at(MAILS))
    wire.forget()
    mirrored.mirror()
    assert {uid for command in wire.bodies_asked() for uid in uids_of(command)} == {new}
    ops = changes_of_mail(mirrored.account_id, place)
    assert sorted(op for _, op in ops) == ["created", "deleted"]
    after = ids_by_hash(mirrored.account_id)
    assert len(before.keys() - after.keys()) == len(after.keys() - before.keys()) == 1
    assert all(after[sha256] == before[sha256] for sha256 in before.keys() & after.keys())
    Audit(mirrored.account_id, mirrored.server).check()


def uids_of(command: str) -> set[int]:
    """The ids of `UID FETCH 1:3,7 (...)`."""
    ids: set[int] = set()
    for part in command.split()[2].split(","):
        first, _, last = part.partition(":")
        ids |= set(range(int(first), int(last or first) + 1))
    return ids


def test_mails_without_a_message_id_are_known_by_their_bytes(transactional_db: None) -> None:
    with connected_demo() as (demo, connected):
        for number in range(6):
            demo.append("INBOX", letter(number, "nameless"), [], arrived_at(number))
        connected.mirror()
        before, place = ids_by_hash(connected.account_id), latest(connected.account_id)
        demo.bump_uidvalidity("INBOX")
        connected.mirror()
        assert ids_by_hash(connected.account_id) == before
        assert {op for _, op in changes_of_mail(connected.account_id, place)} <= {"updated"}
        Audit(connected.account_id, connected.server).check()


@pytest.mark.parametrize("change", ["copies", "moves"])
def test_numbering_anew_and_moving_at_once_keeps_ids(
    transactional_db: None, change: str, request: pytest.FixtureRequest
) -> None:
    with connected_demo() as (demo, connected):
        demo.create("Target")
        uids = [demo.append("Source", letter(number), [], arrived_at(number)) for number in range(6)]
        connected.mirror()
        before, place = ids_by_hash(connected.account_id), latest(connected.account_id)
        shift: Callable[..., object] = demo.copy if change == "copies" else demo.move
        shift("Source", uids[:3], "Target")
        demo.bump_uidvalidity("Source")
        demo.bump_uidvalidity("Target")
        connected.mirror()
        assert ids_by_hash(connected.account_id) == before
        assert Counter(op for _, op in changes_of_mail(connected.account_id, place)) == {"updated": 3}
        Audit(connected.account_id, connected.server).check()
