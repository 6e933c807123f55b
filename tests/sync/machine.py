"""A mailbox on a real server that is changed at random, and mirrored now and then, in slices or whole.

Every step is told in the `story`, so that a failure can be read and played again by hand.
"""

from __future__ import annotations

import hashlib
import random
from datetime import timedelta
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sync import tasks
from sync.models import Folder
from sync.services import sessions
from sync.services.checking import check_account
from sync.services.foreground import mirror_now
from tests.servers.mailbox import Refused
from tests.servers.server import ImapServer
from tests.sync.audit import Audit, open_folders
from tests.sync.conftest import connect
from tests.sync.letters import KINDS, arrived_at, letter

#: Steps of one example.
STEPS = 200
#: Steps after which a pass is made, whatever was chosen.
PASS_AFTER = 40

NAMES = ("Kunden", "Süd & Nord", "日本語", "Été 2024", "a (b)", "Z")
FLAGS = (r"\Seen", r"\Flagged", r"\Answered", r"\Draft", r"\Deleted", "$Forwarded", "Work", "NonJunk")
#: Cyrus deletes no folder that has others below it, Dovecot does; and Dovecot at times cannot copy into a folder of a
#: name that was deleted and created anew a moment ago.
REFUSALS = ("[HASCHILDREN]", "Mailbox was deleted under us")
#: Methods of MailboxMachine, and how often each is chosen beside the others.
DEEDS = {
    "append": 8,
    "append_again": 3,
    "flag": 6,
    "move": 5,
    "move_by_copy": 2,
    "copy": 3,
    "expunge": 3,
    "create": 3,
    "rename": 3,
    "rename_to_a_name_just_deleted": 1,
    "delete": 1,
    "recreate": 1,
    "new_uidvalidity": 1,
    "cut": 1,
    "look": 2,
    "slice": 4,
    "mirror": 1,
}


WITH_MAIL = {"append_again", "flag", "move", "move_by_copy", "copy", "expunge"}
WITH_FOLDER = {"rename", "rename_to_a_name_just_deleted", "delete", "recreate", "new_uidvalidity"}


class MailboxMachine(RuleBasedStateMachine):
    """Changes what people and their clients change in a mailbox, and lets the mirror follow.

    One rule, so that each example has all kinds of steps: of several, Hypothesis leaves some out of each.
    """

    #: The server whose mailboxes are changed; the story of the last example.
    server: ClassVar[ImapServer]
    story: ClassVar[list[str]] = []

    def __init__(self) -> None:
        super().__init__()
        self.story.clear()
        self.user = self.server.new_user()
        self.box = self.server.connect(self.user)
        connected = connect(self.user)
        connected.server.close()
        self.account_id = connected.account_id
        self.audit = Audit(self.account_id, self.box)
        #: folder -> UID -> number of the mail.
        self.held: dict[str, dict[int, int]] = {folder: {} for folder in self.box.folders()}
        self.special = frozenset(self.held)
        self.mails: list[bytes] = []
        self.steps = self.mirrored_at = 0
        self.dice = random.Random(0)

    def teardown(self) -> None:
        sessions.close_idle(older_than=0)
        self.box.close()

    @rule(seed=st.integers(0, 2**24))
    def step(self, seed: int) -> None:
        self.steps += 1
        # the same seed again and again, as in Hypothesis's first example, is a random walk too
        self.dice = random.Random(f"{seed} {self.steps}")
        try:
            getattr(self, self.choose())()
        except Refused as refused:
            if not any(words in str(refused) for words in REFUSALS):
                raise
            self.tell("refused")

    @invariant()
    def mirror_equals_the_server(self) -> None:
        if self.steps - self.mirrored_at >= PASS_AFTER or self.steps == STEPS > self.mirrored_at:
            self.mirror()

    # Choosing

    def choose(self) -> str:
        """Choose what to do; what needs a mail or a folder that is not there yet makes one instead."""
        deed = self.dice.choices(list(DEEDS), list(DEEDS.values()))[0]
        if deed in WITH_MAIL and not any(self.held.values()):
            return "append"
        return "create" if deed in WITH_FOLDER and not self.made() else deed

    def tell(self, what: str) -> None:
        self.story.append(f"{self.steps:3} {what}")

    def folder(self, *, besides: str = "") -> str:
        return self.dice.choice(sorted(self.held.keys() - {besides}))

    def made(self) -> list[str]:
        """The folders that may be renamed and deleted."""
        return sorted(self.held.keys() - self.special)

    def some(self) -> tuple[str, list[int]]:
        """Choose one to three messages of a folder."""
        folder = self.dice.choice(sorted(folder for folder, uids in self.held.items() if uids))
        uids = sorted(self.held[folder])
        return folder, sorted(self.dice.sample(uids, min(len(uids), self.dice.randint(1, 3))))

    def new_name(self, *, besides: str = "/") -> str | None:
        """Name a new folder, at most three levels deep and not below `besides`; None: that name is taken."""
        parents = [one for one in self.made() if one.count("/") < 2 and not is_below(one, besides)]
        path = "/".join(filter(None, [self.dice.choice(["", *parents]), self.dice.choice(NAMES)]))
        return None if path in self.held else path

    # Mails

    def append(self) -> None:
        number, folder = len(self.mails), self.folder()
        kind = self.dice.choices(KINDS, [6, 6, 4, 2, 3, 1])[0]
        # up to two numbers ahead: the answer comes before what it answers
        answers = sorted({self.dice.randrange(number + 3) for _ in range(2)} - {number})
        flags = self.dice.sample(FLAGS, self.dice.choice([0, 0, 1, 2]))
        self.tell(f"append mail {number} ({kind}, answers {answers}) to {folder!r} with {flags}")
        self.mails.append(letter(number, kind, answers=answers))
        uid = self.box.append(folder, self.mails[number], flags, arrived_at(number))
        self.held[folder][uid] = number

    def append_again(self) -> None:
        number, folder = self.dice.randrange(len(self.mails)), self.folder()
        date = arrived_at(number) + timedelta(days=self.dice.choice([-1, 0, 1]))
        self.tell(f"append mail {number} again, to {folder!r}, of {date:%d %b}")
        self.held[folder][self.box.append(folder, self.mails[number], [], date)] = number

    def flag(self) -> None:
        folder, uids = self.some()
        flags, on = self.dice.sample(FLAGS, self.dice.randint(1, 2)), self.dice.random() < 0.6
        self.tell(f"{'set' if on else 'clear'} {flags} of {uids} in {folder!r}")
        self.box.flag(folder, uids, add=flags if on else [], remove=[] if on else flags)

    def move(self) -> None:
        folder, uids = self.some()
        to = self.folder(besides=folder)
        self.tell(f"move {uids} from {folder!r} to {to!r}")
        for uid, there in self.box.move(folder, uids, to).items():
            self.held[to][there] = self.held[folder].pop(uid)

    def move_by_copy(self) -> None:
        folder, uids = self.some()
        to = self.folder(besides=folder)
        self.tell(f"copy {uids} from {folder!r} to {to!r} and expunge them")
        for uid, there in self.box.copy(folder, uids, to).items():
            self.held[to][there] = self.held[folder].pop(uid)
        self.box.expunge(folder, uids)

    def copy(self) -> None:
        folder, uids = self.some()
        to = self.folder()
        self.tell(f"copy {uids} from {folder!r} to {to!r}")
        for uid, there in self.box.copy(folder, uids, to).items():
            self.held[to][there] = self.held[folder][uid]

    def expunge(self) -> None:
        folder, uids = self.some()
        self.tell(f"expunge {uids} from {folder!r}")
        self.box.expunge(folder, uids)
        for uid in uids:
            del self.held[folder][uid]

    # Folders

    def create(self) -> None:
        path = self.new_name()
        self.tell(f"create {path!r}")
        if path:
            self.create_folder(path)

    def rename(self) -> None:
        path = self.dice.choice(self.made())
        to = self.new_name(besides=path)
        self.tell(f"rename {path!r} to {to!r}")
        if to:
            self.rename_folder(path, to)

    def rename_to_a_name_just_deleted(self) -> None:
        if len(self.made()) < 2:
            return
        path, to = self.dice.sample(self.made(), 2)
        if is_below(path, to) or is_below(to, path) or self.has_children(to):
            return
        self.tell(f"delete {to!r} and rename {path!r} to it")
        self.delete_folder(to)
        self.rename_folder(path, to)

    def delete(self) -> None:
        path = self.dice.choice(self.made())
        self.tell(f"delete {path!r}")
        self.delete_folder(path)

    def recreate(self) -> None:
        path = self.dice.choice(self.made())
        mails = [number for _, number in sorted(self.held[path].items()) if self.dice.random() < 0.7]
        self.tell(f"delete {path!r}, create it anew and append {mails}")
        self.delete_folder(path)
        self.create_folder(path)
        for number in mails:
            self.held[path][self.box.append(path, self.mails[number], [], arrived_at(number))] = number

    def new_uidvalidity(self) -> None:
        paths = [path for path in self.made() if not self.has_children(path)]
        if not paths:
            return
        path = self.dice.choice(paths)
        order = [number for _, number in sorted(self.held[path].items())]
        self.tell(f"new UIDVALIDITY of {path!r}, which holds mails {order}")
        self.box.bump_uidvalidity(path)
        self.held[path] = dict(zip(self.box.uids(path), order, strict=True))

    # The mirror

    def cut(self) -> None:
        self.tell("cut every connection")
        self.server.kick(self.user)
        self.box.close()
        self.box = self.audit.box = self.server.connect(self.user)

    def look(self) -> None:
        self.tell("one look at the account")
        tasks.look_at_account(account_id=self.account_id)
        self.noticed()

    def slice(self) -> None:
        known = Folder.objects.filter(account_id=self.account_id, selectable=True).order_by("path")
        rows = list(known.values_list("pk", "path"))
        if rows:
            pk, path = self.dice.choice(rows)
            self.tell(f"one slice of {path!r}")
            tasks.sync_folder(folder_id=pk)
            self.noticed()

    def mirror(self) -> None:
        self.tell("mirror")
        mirror_now(self.account_id)
        self.audit.check()
        if self.steps == STEPS:
            # once by another reader than ours
            assert check_account(self.account_id, contents=True).differences == []
        self.mirrored_at = self.steps

    # How

    def noticed(self) -> None:
        """The mirror may have seen the server as it is."""
        there = {number for uids in self.held.values() for number in uids.values()}
        self.audit.noticed({hashlib.sha256(self.mails[number]).hexdigest() for number in there})

    def has_children(self, path: str) -> bool:
        return any(is_below(one, path) for one in self.held if one != path)

    def create_folder(self, path: str) -> None:
        self.box.create(path)
        self.held[path] = {}
        self.read_folders()

    def delete_folder(self, path: str) -> None:
        self.box.delete(path)
        del self.held[path]
        self.read_folders()

    def rename_folder(self, path: str, to: str) -> None:
        self.box.rename(path, to)
        for one in [one for one in self.held if is_below(one, path)]:
            self.held[to + one[len(path) :]] = self.held.pop(one)
        self.read_folders()

    def read_folders(self) -> None:
        """Folders that came by themselves, such as missing levels above, are ours too; none may be gone."""
        there = open_folders(self.box)
        assert self.held.keys() <= set(there), f"the server lost {self.held.keys() - set(there)}"
        for one in there:
            self.held.setdefault(one, {})


def is_below(path: str, other: str) -> bool:
    """True for a folder and those below it."""
    return path == other or path.startswith(other + "/")
