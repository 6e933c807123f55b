"""Whether a mirror equals its server, and the log the tables: a look after a pass, twice before a difference counts."""

from __future__ import annotations

import random
import secrets
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from itertools import islice

from accounts.models import Account
from project.postgres import give_back
from project.shards import on_shard
from sync.checking.answers import ListedFolder
from sync.checking.compare import compare_copies, compare_folders
from sync.checking.derived import check_derived
from sync.checking.log import check_log
from sync.checking.mirror import (
    MirroredFolder,
    copies_by_remote_id,
    folder_ids,
    mirrored_copies,
    mirrored_folders,
    stored_hash,
)
from sync.checking.remote import CouldNotLook, MailboxReader, OpenFolder, ReaderLogin
from sync.checking.values import Difference, FolderFacts, Kind, MirroredCopy, RemoteCopy, Report
from sync.providers.addresses import check_host
from sync.services.foreground import mirror_now
from sync.services.progress import SyncProgress
from sync.services.sessions import login_of

#: Differences of one look, at most.
MOST = 10_000
#: Contents compared in each folder unless all are asked for.
SAMPLE = 10

#: Path, and the UIDs there -> those to compare byte for byte.
Choose = Callable[[str, Collection[int]], Collection[int]]


def check_mirror(
    account_id: int,
    *,
    contents: bool,
    tell_pass: Callable[[SyncProgress], None] | None = None,
    tell_look: Callable[[int], None] | None = None,
) -> Report:
    """Make a pass and look; where something differs, make another pass and report what differs still.

    `contents`: compare every message byte for byte, not SAMPLE in each folder. `tell_look` hears how many messages were
    compared. Raises CouldNotLook and any MailError.
    """
    choose = _everything if contents else _sample(secrets.randbits(32))
    mirror_now(account_id, tell=_while_mirrored(tell_pass))
    first = _look(account_id, choose, tell=tell_look)
    if not first.differences:
        return first
    mirror_now(account_id, tell=_while_mirrored(tell_pass))
    second = _look(account_id, _suspects(first), tell=None)
    again = {one.key for one in second.differences}
    suspected = {one.key for one in first.differences}
    return replace(
        first,
        differences=[one for one in second.differences if one.key in suspected],
        more=first.more and second.more,
        passed=sum(one.key not in again for one in first.differences),
    )


def _while_mirrored(tell: Callable[[SyncProgress], None] | None) -> Callable[[SyncProgress], None]:
    """Stop waiting for a pass that will not come: the account was paused, or its login refused, meanwhile."""

    def told(progress: SyncProgress) -> None:
        if progress.state in ("paused", "invalid_credentials"):
            raise CouldNotLook(
                f"the account became {progress.state.replace('_', ' ')}; {progress.last_error}".rstrip("; ")
            )
        if tell is not None:
            tell(progress)

    return told


def check_account(account_id: int, *, contents: bool) -> Report:
    """Look once, without a pass: compare the mirror with the server, and the tables with each other and the log.

    For an account of which a pass is complete and to which nothing happens meanwhile; else news of the server count as
    differences. `contents` as in `check_mirror`. Raises CouldNotLook and any MailError.
    """
    return _look(account_id, _everything if contents else _sample(0), tell=None)


def _everything(_path: str, uids: Collection[int]) -> Collection[int]:
    return uids


def _sample(seed: int) -> Choose:
    def choose(path: str, uids: Collection[int]) -> Collection[int]:
        return random.Random(f"{seed} {path}").sample(sorted(uids), min(SAMPLE, len(uids)))  # noqa: S311

    return choose


def _suspects(report: Report) -> Choose:
    """What the first look found to differ is read again, and nothing else."""
    suspected: dict[str | None, set[int]] = defaultdict(set)
    for one in report.differences:
        if one.uid is not None:
            suspected[one.folder].add(one.uid)

    def choose(path: str, uids: Collection[int]) -> Collection[int]:
        return suspected[path].intersection(uids)

    return choose


def reader_login(account: Account) -> ReaderLogin:
    """Turn an account into what the reader needs. Raises CouldNotLook, and MailErrors for its host."""
    if account.provider != "imap":
        raise CouldNotLook(f"{account.email} is of the provider {account.provider!r}; only IMAP can be checked")
    login = login_of(account)
    plain = login.security == "none"
    return ReaderLogin(
        addresses=check_host(login.host, login.port, login.private_networks, plain=plain),
        host=login.host,
        port=login.port,
        security=login.security,
        username=login.username,
        password=login.password,
        verify_certificates=login.verify_certificates,
    )


def _look(account_id: int, choose: Choose, *, tell: Callable[[int], None] | None) -> Report:
    with on_shard(account_id):
        report = Report()
        account = Account.objects.get(pk=account_id)
        login = reader_login(account)
        give_back()
        with MailboxReader(login) as reader:
            look = _Look(account, reader, choose, report, tell)
            report.differences = list(islice(look.differences(), MOST + 1))
        report.more = len(report.differences) > MOST
        del report.differences[MOST:]
        return report


class _Look:
    """One look at one account."""

    def __init__(
        self,
        account: Account,
        reader: MailboxReader,
        choose: Choose,
        report: Report,
        tell: Callable[[int], None] | None,
    ) -> None:
        self.account_id = account.pk
        self.excluded = set(account.settings.get("exclude_folders", ()))
        self.reader, self.choose, self.report, self.tell = reader, choose, report, tell

    def differences(self) -> Iterator[Difference]:
        """Find them one after the other: few are in memory, whatever the size of the mailbox."""
        listed = {ref: one for ref, one in self.reader.folders().items() if one.facts.path not in self.excluded}
        mirrored = mirrored_folders(self.account_id)
        yield from compare_folders(
            {ref: one.facts for ref, one in mirrored.items() if ref not in listed},
            {ref: one.facts for ref, one in listed.items() if ref not in mirrored},
        )
        for ref in sorted(listed.keys() & mirrored.keys()):
            yield from self._folder(ref, mirrored[ref], listed[ref])
        yield from check_derived(self.account_id)
        yield from check_log(self.account_id)

    def _folder(self, ref: str, ours: MirroredFolder, theirs: ListedFolder) -> Iterator[Difference]:
        self.report.folders += 1
        opened = self.reader.open(theirs) if theirs.facts.selectable else None
        selectable, uidvalidity = opened is not None, opened.uidvalidity if opened else None
        facts = FolderFacts(theirs.facts.path, theirs.facts.delimiter, selectable, uidvalidity)
        differing = list(compare_folders({ref: ours.facts}, {ref: facts}))
        yield from differing
        if opened is not None and all(one.kind != Kind.UIDVALIDITY_DIFFERS for one in differing):
            yield from self._messages(ours, opened)

    def _messages(self, ours: MirroredFolder, opened: OpenFolder) -> Iterator[Difference]:
        path = ours.facts.path
        ids = folder_ids(ours.id)
        chosen = frozenset(self.choose(path, ids.uids))
        unseen = ids.uids
        for theirs in opened.slices():
            copies = mirrored_copies(ours.id, theirs)
            unseen -= theirs.keys()
            yield from self._slice(path, copies, theirs, opened, chosen)
            self.report.messages += len(theirs)
            if self.tell is not None:
                self.tell(self.report.messages)
        yield from compare_copies(path, mirrored_copies(ours.id, unseen), {})
        odd = copies_by_remote_id(ours.id, ids.doubled + ids.foreign)
        for remote_id in ids.doubled:
            uid = int(remote_id)
            yield Difference(Kind.MESSAGE_DOUBLED, path, remote_id, uid, uid=uid, message_id=odd.get(remote_id))
        for remote_id in ids.foreign:
            yield Difference(Kind.MESSAGE_EXTRA, path, remote_id, None, message_id=odd.get(remote_id))

    def _slice(
        self,
        path: str,
        ours: Mapping[int, MirroredCopy],
        theirs: Mapping[int, RemoteCopy],
        opened: OpenFolder,
        chosen: Collection[int],
    ) -> Iterator[Difference]:
        wanted = {
            uid: copy
            for uid, copy in theirs.items()
            # a size that differs may be the server's mistake: the contents decide
            if uid in ours and (uid in chosen or copy.size != ours[uid].size)
        }
        give_back()
        read = opened.with_contents(wanted)
        self.report.contents += len(read)
        yield from compare_copies(path, ours, {**theirs, **read})
        for uid in sorted(read):
            yield from self._stored(path, uid, ours[uid])

    def _stored(self, path: str, uid: int, ours: MirroredCopy) -> Iterator[Difference]:
        found = stored_hash(self.account_id, ours)
        if found != ours.sha256:
            kind = Kind.BLOB_MISSING if found is None else Kind.BLOB_DAMAGED
            told = None if found is None else found.hex()
            yield Difference(kind, path, told, ours.sha256.hex(), uid=uid, message_id=ours.message_id)
