"""What every provider promises, checked from outside: subclass `ProviderContract` and say how to reach a mailbox.

A subclass provides the fixture `hand` (changes the mailbox as another client would) and `session`. The mailbox is
the test's own and begins with whatever folders the server makes.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from types import TracebackType
from typing import ClassVar, Protocol, Self

import pytest

from sync.errors import FolderGone
from sync.providers.base import (
    LARGE_MESSAGE,
    CanWatch,
    Cursor,
    FolderDelta,
    MailSession,
    News,
    RemoteFolder,
    RemoteMessage,
)

#: Seconds until news must have come; Courier looks every two.
SOON = 20.0
STAMP = datetime(2021, 3, 4, 5, 6, 7, tzinfo=UTC)


class Hand(Protocol):
    """Changes a mailbox behind the provider's back. Folders are named by their refs."""

    def ref(self, *levels: str) -> str:
        """Name a folder below the top."""

    def append(self, ref: str, raw: bytes, flags: Sequence[str] = (), date: datetime | None = None) -> str: ...
    def copy(self, ref: str, uid: str, target: str) -> str: ...
    def move(self, ref: str, uid: str, target: str) -> str: ...
    def flag(self, ref: str, uid: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None: ...
    def expunge(self, ref: str, uid: str) -> None: ...
    def create(self, ref: str) -> None: ...
    def rename(self, ref: str, to: str) -> None: ...
    def delete(self, ref: str) -> None: ...
    def bump_uidvalidity(self, ref: str) -> None: ...

    def held(self, ref: str) -> dict[str, tuple[frozenset[str], bytes]]:
        """Read the truth: id -> (flags, raw)."""


def letter(number: int, *, size: int = 200) -> bytes:
    """Return a message of `size` bytes whose every line ends as it should, `number` telling it from others."""
    head = f"Message-ID: <letter-{number}@example.org>\r\nSubject: Letter {number}\r\n\r\n".encode()
    lines, rest = divmod(size - len(head) - 80, 72)
    return head + (b"%070d\r\n" % number) * lines + b"x" * (rest + 78) + b"\r\n"


def raw_of(message: RemoteMessage) -> bytes:
    """Return the bytes of a message, and delete its spool."""
    if message.spool is None:
        assert message.raw is not None
        return message.raw
    raw = message.spool.read_bytes()
    message.spool.unlink()
    assert message.raw is None
    return raw


class FollowedFolder:
    """What a caller holds of a folder who obeys the deltas: ids and flags, and each body fetched once."""

    def __init__(self, session: MailSession, ref: str) -> None:
        self.session, self.ref = session, ref
        self.cursor: Cursor | None = None
        self.flags: dict[str, frozenset[str]] = {}
        self.raw: dict[str, bytes] = {}

    def look(self, *, relist: bool = False) -> FolderDelta:
        """Apply one delta, new messages included."""
        delta = self.session.changes(self.ref, self.cursor, relist=relist)
        if delta.reset:
            self.flags, self.raw = {}, {}
        gone = delta.vanished if delta.present is None else self.flags.keys() - delta.present
        for uid in set(gone) & self.flags.keys():
            del self.flags[uid], self.raw[uid]
        there = delta.seen.keys() if delta.present is None else delta.present
        new = sorted(there - self.flags.keys(), key=int, reverse=True)
        for message in self.session.fetch(self.ref, new):
            self.raw[message.remote_id] = raw_of(message)
            self.flags[message.remote_id] = message.flags
        for uid in delta.seen.keys() & self.flags.keys() - set(new):
            self.flags[uid] = delta.seen[uid]
        self.cursor = delta.cursor
        return delta

    @property
    def held(self) -> dict[str, tuple[frozenset[str], bytes]]:
        return {uid: (self.flags[uid], self.raw[uid]) for uid in self.flags}


class Watched:
    """A mailbox that is watched, in a thread of its own, as long as the block runs."""

    def __init__(self, session: CanWatch) -> None:
        self._session = session
        self._heard: queue.Queue[News] = queue.Queue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self.hear().listing
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join(SOON)

    def _watch(self) -> None:
        while not self._stopping.is_set():
            for news in self._session.watch(seconds=2):
                self._heard.put(news)

    def hear(self) -> News:
        """Return the next news; fails when there are none in time."""
        return self._heard.get(timeout=SOON)

    def hear_until(self, wanted: Callable[[News], bool]) -> bool:
        """Hear until something wanted is told; False when it is not in time."""
        ends = time.monotonic() + SOON
        while time.monotonic() < ends:
            if wanted(self.hear()):
                return True
        return False


class ProviderContract:
    """One test a promise of `MailSession`."""

    #: Of the names below, those that the server will not have.
    refused_names: ClassVar[frozenset[str]] = frozenset()
    renaming_keeps_stable_ids: ClassVar[bool] = True
    #: Whether it tells of changes by itself.
    tells: ClassVar[bool] = True

    @pytest.fixture
    def session(self) -> Iterator[MailSession]:
        raise NotImplementedError

    @pytest.fixture
    def hand(self) -> Iterator[Hand]:
        raise NotImplementedError

    @pytest.fixture
    def telling(self, session: MailSession) -> CanWatch:
        if not self.tells:
            pytest.skip("tells nothing by itself")
        assert isinstance(session, CanWatch)
        return session

    @pytest.fixture
    def watched(self, telling: CanWatch) -> Iterator[Watched]:
        with Watched(telling) as watched:
            yield watched

    # Folders

    def test_inbox_is_always_listed_and_has_its_role(self, session: MailSession) -> None:
        listing = session.folders()
        inbox = [folder for folder in listing.folders if folder.role == "inbox"]
        assert [(folder.ref, folder.selectable) for folder in inbox] == [("INBOX", True)]
        assert listing.status["INBOX"].messages == 0

    def test_each_role_is_held_by_one_folder(self, session: MailSession) -> None:
        roles = [folder.role for folder in session.folders().folders if folder.role]
        assert {"inbox", "sent", "drafts", "trash"} <= set(roles)
        assert len(roles) == len(set(roles))

    @pytest.mark.parametrize(
        "name",
        ["Entwürfe & Größen", "日本語", "100% “quoted”", 'a "b" c', "back\\slash", "🎉 Party", "peter~", "&- (x)"],
    )
    def test_names_of_all_scripts_are_listed_opened_and_fetched(
        self, session: MailSession, hand: Hand, name: str
    ) -> None:
        if name in self.refused_names:
            pytest.skip("the server takes no such name")
        ref = hand.ref(name)
        hand.create(ref)
        uid = hand.append(ref, letter(1))
        folder = find_folder(session, ref)
        assert folder.levels[-1] == name
        assert session.changes(ref, None, relist=True).present == frozenset({uid})
        assert [raw_of(message) for message in session.fetch(ref, [uid])] == [letter(1)]

    def test_nested_folders_tell_their_levels(self, session: MailSession, hand: Hand) -> None:
        for levels in (["Kunden"], ["Kunden", "Süd"], ["Kunden", "Süd", "2024"]):
            hand.create(hand.ref(*levels))
        folder = find_folder(session, hand.ref("Kunden", "Süd", "2024"))
        assert folder.levels[-3:] == ("Kunden", "Süd", "2024")
        assert folder.delimiter is not None

    def test_renamed_folder_keeps_its_stable_id_where_it_can(self, session: MailSession, hand: Hand) -> None:
        old, new = hand.ref("Old name"), hand.ref("Nouveau nom é")
        hand.create(old)
        before = find_folder(session, old)
        hand.rename(old, new)
        assert before.stable_id is not None
        assert (find_folder(session, new).stable_id == before.stable_id) == self.renaming_keeps_stable_ids
        assert old not in {folder.ref for folder in session.folders().folders}

    def test_deleted_folder_is_gone_and_the_session_goes_on(self, session: MailSession, hand: Hand) -> None:
        ref = hand.ref("Short-lived")
        hand.create(ref)
        cursor = session.changes(ref, None, relist=True).cursor
        session.changes("INBOX", None, relist=True)
        hand.delete(ref)
        with pytest.raises(FolderGone):
            session.changes(ref, cursor, relist=False)
        with pytest.raises(FolderGone):
            list(session.fetch(ref, ["1"]))
        assert ref not in {folder.ref for folder in session.folders().folders}
        assert session.changes("INBOX", None, relist=True).present == frozenset()

    def test_status_leaves_out_folders_that_do_not_exist(self, session: MailSession, hand: Hand) -> None:
        hand.append("INBOX", letter(1), [r"\Seen"])
        hand.append("INBOX", letter(2))
        told = session.status([hand.ref("No such folder"), "INBOX"])
        assert set(told) == {"INBOX"}
        assert (told["INBOX"].messages, told["INBOX"].unseen) == (2, 1)

    def test_status_of_the_open_folder_is_fresh(self, session: MailSession, hand: Hand) -> None:
        session.changes("INBOX", None, relist=True)
        hand.append("INBOX", letter(1))
        assert session.status(["INBOX"])["INBOX"].messages == 1

    # Changes

    def test_first_look_tells_every_message(self, session: MailSession, hand: Hand) -> None:
        uids = frozenset(hand.append("INBOX", letter(number)) for number in range(3))
        delta = session.changes("INBOX", None, relist=False)
        assert delta.present == uids
        assert not delta.reset

    def test_empty_folder_has_no_messages(self, session: MailSession) -> None:
        delta = session.changes("INBOX", None, relist=True)
        assert (delta.present, delta.seen) == (frozenset(), {})

    def test_a_look_without_news_changes_nothing(self, session: MailSession, hand: Hand) -> None:
        hand.append("INBOX", letter(1), [r"\Flagged"])
        followed = FollowedFolder(session, "INBOX")
        followed.look()
        delta = followed.look()
        assert delta.present is None or delta.present == frozenset(followed.flags)
        assert all(followed.flags[uid] == flags for uid, flags in delta.seen.items())
        assert followed.held == hand.held("INBOX")

    def test_relist_tells_every_message_again(self, session: MailSession, hand: Hand) -> None:
        uids = frozenset(hand.append("INBOX", letter(number)) for number in range(3))
        cursor = session.changes("INBOX", None, relist=True).cursor
        assert session.changes("INBOX", cursor, relist=True).present == uids

    def test_flags_and_keywords_are_told_as_spelled_without_recent(self, session: MailSession, hand: Hand) -> None:
        uid = hand.append("INBOX", letter(1), [r"\Seen", "$Forwarded", "NonJunk"])
        followed = FollowedFolder(session, "INBOX")
        followed.look()
        assert followed.flags[uid] == {r"\Seen", "$Forwarded", "NonJunk"}
        hand.flag("INBOX", uid, add=[r"\Answered", "Work"], remove=[r"\Seen"])
        followed.look()
        assert followed.flags[uid] == {r"\Answered", "$Forwarded", "NonJunk", "Work"}

    def test_many_changes_of_every_kind_are_followed_exactly(self, session: MailSession, hand: Hand) -> None:
        other = hand.ref("Other")
        hand.create(other)
        boxes = [FollowedFolder(session, "INBOX"), FollowedFolder(session, other)]
        dice = random.Random(20240229)
        for step in range(12):
            for number in range(5):
                change_something(hand, dice, step * 10 + number, other)
            for box in boxes:
                box.look(relist=step == 7)
                assert box.held == hand.held(box.ref), f"{box.ref} after step {step}"

    def test_arrival_and_loss_of_one_message_each_are_both_seen(self, session: MailSession, hand: Hand) -> None:
        first, _ = hand.append("INBOX", letter(1)), hand.append("INBOX", letter(2))
        followed = FollowedFolder(session, "INBOX")
        followed.look()
        hand.expunge("INBOX", first)
        hand.append("INBOX", letter(3))
        followed.look()
        assert followed.held == hand.held("INBOX")

    def test_what_changes_during_a_look_is_told_by_the_next(self, session: MailSession, hand: Hand) -> None:
        first, second = hand.append("INBOX", letter(1)), hand.append("INBOX", letter(2))
        followed = FollowedFolder(session, "INBOX")
        followed.cursor = session.changes("INBOX", None, relist=True).cursor
        # the caller has its list, and not yet the messages
        hand.flag("INBOX", first, add=[r"\Seen"])
        hand.expunge("INBOX", second)
        hand.append("INBOX", letter(3))
        followed.look(relist=True)
        followed.look()
        assert followed.held == hand.held("INBOX")

    def test_new_uidvalidity_resets_and_tells_every_message(self, session: MailSession, hand: Hand) -> None:
        ref = hand.ref("Restored")
        hand.create(ref)
        for number in range(3):
            hand.append(ref, letter(number))
        followed = FollowedFolder(session, ref)
        followed.look()
        # some servers cut the sessions that have it open
        session.changes("INBOX", None, relist=True)
        hand.bump_uidvalidity(ref)
        delta = followed.look()
        assert delta.reset
        assert delta.present == hand.held(ref).keys()
        assert followed.held == hand.held(ref)
        assert not followed.look().reset

    def test_status_proves_that_nothing_changed_or_does_not_claim_to(self, session: MailSession, hand: Hand) -> None:
        uid = hand.append("INBOX", letter(1))
        cursor = session.changes("INBOX", None, relist=True).cursor
        proved = session.unchanged(cursor, session.status(["INBOX"])["INBOX"])
        assert proved == ("CONDSTORE" in session.powers)
        hand.flag("INBOX", uid, add=[r"\Seen"])
        assert not session.unchanged(cursor, session.status(["INBOX"])["INBOX"])

    def test_status_after_an_expunge_proves_nothing(self, session: MailSession, hand: Hand) -> None:
        uid = hand.append("INBOX", letter(1))
        cursor = session.changes("INBOX", None, relist=True).cursor
        hand.expunge("INBOX", uid)
        assert not session.unchanged(cursor, session.status(["INBOX"])["INBOX"])

    # Messages

    @pytest.mark.parametrize(
        "raw",
        [
            letter(1),
            b"Subject: no end\r\n\r\nof the last line",
            b"\r\nno headers\r\n",
            b"Subject: 8 bit\r\n\r\n\xff\xfe\x80 gr\xc3\xbc\xc3\x9fe\r\n",
            b"Subject: dots\r\n\r\n.\r\n..\r\n)\r\nM1 OK done\r\n* BYE\r\n{5}\r\n",
            b"Subject: " + b"long " * 40_000 + b"\r\n\r\nbody\r\n",
        ],
        ids=["plain", "no-line-end", "no-headers", "8bit", "like-imap", "long-line"],
    )
    def test_raw_message_is_the_servers_own_to_the_byte(self, session: MailSession, hand: Hand, raw: bytes) -> None:
        uid = hand.append("INBOX", raw, date=STAMP)
        (message,) = session.fetch("INBOX", [uid])
        held = hand.held("INBOX")[uid][1]
        # Courier ends the last line
        assert held.removesuffix(b"\r\n") == raw.removesuffix(b"\r\n")
        assert raw_of(message) == held
        assert (message.remote_id, message.size, message.internal_date) == (uid, len(held), STAMP)

    @pytest.mark.parametrize(
        "size", [LARGE_MESSAGE - 1, LARGE_MESSAGE, LARGE_MESSAGE + 1, 2 * LARGE_MESSAGE, 2_600_000]
    )
    def test_large_message_comes_in_a_file(self, session: MailSession, hand: Hand, size: int) -> None:
        small, raw = letter(1), letter(2, size=size)
        assert len(raw) == size
        uids = [hand.append("INBOX", small), hand.append("INBOX", raw), hand.append("INBOX", small)]
        messages = list(session.fetch("INBOX", uids))
        assert [message.spool is not None for message in messages] == [False, size > LARGE_MESSAGE, False]
        assert [message.size for message in messages] == [len(small), size, len(small)]
        assert [raw_of(message) for message in messages] == [small, raw, small]

    def test_messages_come_in_the_order_asked_and_vanished_ones_are_left_out(
        self, session: MailSession, hand: Hand
    ) -> None:
        uids = [hand.append("INBOX", letter(number)) for number in range(40)]
        asked = uids[::-2] + uids[::2]
        hand.expunge("INBOX", uids[10])
        messages = list(session.fetch("INBOX", asked))
        asked.remove(uids[10])
        assert [message.remote_id for message in messages] == asked
        assert [raw_of(message) for message in messages] == [letter(uids.index(uid)) for uid in asked]

    def test_a_caller_may_stop_in_the_middle_of_fetching(self, session: MailSession, hand: Hand) -> None:
        uids = [hand.append("INBOX", letter(number)) for number in range(30)]
        for message in session.fetch("INBOX", uids):
            assert message.remote_id == uids[0]
            break
        assert session.changes("INBOX", None, relist=True).present == frozenset(uids)

    def test_fetching_marks_nothing_as_read(self, session: MailSession, hand: Hand) -> None:
        uid = hand.append("INBOX", letter(1))
        list(session.fetch("INBOX", [uid]))
        session.fingerprints("INBOX", [uid], message_ids=True)
        assert hand.held("INBOX")[uid][0] == frozenset()

    def test_fingerprints_describe_messages_in_the_order_asked(self, session: MailSession, hand: Hand) -> None:
        plain = hand.append("INBOX", letter(1), [r"\Seen"], STAMP)
        nameless = hand.append("INBOX", b"Subject: none\r\n\r\n", date=STAMP)
        raw = b"message-id:\r\n  <Fold.ed@X>\r\n\r\n"
        folded = hand.append("INBOX", raw, date=STAMP)
        gone = hand.append("INBOX", letter(2))
        hand.expunge("INBOX", gone)
        prints = session.fingerprints("INBOX", [folded, gone, plain, nameless], message_ids=True)
        assert [(one.remote_id, one.message_id, one.size) for one in prints] == [
            (folded, "Fold.ed@X", len(raw)),
            (plain, "letter-1@example.org", len(letter(1))),
            (nameless, None, 17),
        ]
        assert [(one.flags, one.internal_date) for one in prints] == [
            (frozenset(), STAMP),
            (frozenset({r"\Seen"}), STAMP),
            (frozenset(), STAMP),
        ]
        assert session.fingerprints("INBOX", [plain], message_ids=False)[0].size == len(letter(1))

    # Watching

    def test_watching_begins_with_news_of_everything(self, telling: CanWatch) -> None:
        with closing(telling.watch(seconds=SOON)) as news:
            assert next(news).listing

    def test_mail_is_heard_of_while_watching_again_and_again(self, watched: Watched, hand: Hand) -> None:
        for number in range(3):
            hand.append("INBOX", letter(number))
            assert watched.hear_until(lambda news: "INBOX" in news.folders)

    def test_flags_and_losses_are_heard_of(self, watched: Watched, hand: Hand) -> None:
        uid = hand.append("INBOX", letter(1))
        assert watched.hear_until(lambda news: "INBOX" in news.folders)
        hand.flag("INBOX", uid, add=[r"\Seen"])
        assert watched.hear_until(lambda news: "INBOX" in news.folders)
        hand.expunge("INBOX", uid)
        assert watched.hear_until(lambda news: "INBOX" in news.folders)

    def test_other_folders_are_heard_of(self, watched: Watched, hand: Hand) -> None:
        other = hand.ref("Elsewhere")
        hand.create(other)
        assert watched.hear_until(lambda news: news.listing)
        hand.append(other, letter(1))
        assert watched.hear_until(lambda news: other in news.folders)

    def test_what_happened_between_two_watches_is_told_first(self, telling: CanWatch, hand: Hand) -> None:
        other = hand.ref("Elsewhere")
        hand.create(other)
        assert list(telling.watch(seconds=0))
        hand.append(other, letter(1))
        hand.append("INBOX", letter(2))
        told = list(telling.watch(seconds=3))
        assert {other, "INBOX"} <= {ref for news in told for ref in news.folders}

    def test_watching_in_silence_ends_in_time_and_the_session_goes_on(
        self, session: MailSession, telling: CanWatch
    ) -> None:
        list(telling.watch(seconds=0))
        assert list(telling.watch(seconds=0.2)) == []
        assert session.status(["INBOX"])["INBOX"].messages == 0

    def test_closing_twice_is_quiet(self, session: MailSession) -> None:
        session.close()
        session.close()


def find_folder(session: MailSession, ref: str) -> RemoteFolder:
    """Return a folder of the listing."""
    (found,) = [folder for folder in session.folders().folders if folder.ref == ref]
    return found


def change_something(hand: Hand, dice: random.Random, number: int, other: str) -> None:
    """Do one change, of a kind that `dice` chooses, to one of two folders."""
    ref, target = dice.sample(["INBOX", other], 2)
    uids = sorted(hand.held(ref), key=int)
    deed = dice.choice(["append", "append", "flag", "flag", "move", "copy", "expunge"]) if uids else "append"
    uid = dice.choice(uids) if uids else ""
    if deed == "append":
        hand.append(ref, letter(number), dice.choice([[], [r"\Seen"], [r"\Flagged", "Work"]]))
    elif deed == "flag":
        add, remove = dice.sample([r"\Seen", r"\Flagged", r"\Answered", "Work", "$Label1"], 2)
        hand.flag(ref, uid, add=[add], remove=[remove])
    elif deed == "expunge":
        hand.expunge(ref, uid)
    else:
        getattr(hand, deed)(ref, uid, target)
