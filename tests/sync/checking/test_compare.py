"""Comparing two pictures of a mailbox finds all that differs, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from sync.checking.compare import compare_copies, compare_folders
from sync.checking.values import Difference, FolderFacts, Kind, MirroredCopy, RemoteCopy

FLAGS = st.frozensets(st.sampled_from([r"\Seen", r"\SEEN", r"\Flagged", r"\Recent", "$Work", "$work"]))
HASHES = st.sampled_from([b"a", b"b"])
SIZES = st.integers(1, 2)
DATES = st.sampled_from([None, datetime(2024, 5, 17, tzinfo=UTC), datetime(2024, 5, 18, tzinfo=UTC)])
UIDS = st.integers(1, 6)
OURS = st.dictionaries(UIDS, st.builds(MirroredCopy, st.integers(1, 9), FLAGS, SIZES, HASHES, DATES))
THEIRS = st.dictionaries(UIDS, st.builds(RemoteCopy, FLAGS, SIZES, st.none() | HASHES, DATES))
FACTS = st.builds(
    FolderFacts, st.sampled_from("xy"), st.sampled_from([None, "/"]), st.booleans(), st.sampled_from([None, 1, 2])
)
FOLDERS = st.dictionaries(st.sampled_from("abc"), FACTS)


def alike(ours: frozenset[str], theirs: frozenset[str]) -> bool:
    """System flags in any case, keywords as they are spelled, without \\Recent."""
    known = {r"\SEEN": r"\Seen"}
    one, other = ({known.get(flag, flag) for flag in flags} - {r"\Recent"} for flags in (ours, theirs))
    return one == other


@given(OURS, THEIRS)
def test_every_message_that_differs_is_named_once_for_each_reason(
    ours: dict[int, MirroredCopy], theirs: dict[int, RemoteCopy]
) -> None:
    found: dict[int, set[Kind]] = {}
    for one in compare_copies("INBOX", ours, theirs):
        assert one.uid is not None
        assert one.folder == "INBOX"
        assert one.message_id == (ours[one.uid].message_id if one.uid in ours else None)
        assert one.kind not in found.setdefault(one.uid, set())
        found[one.uid].add(one.kind)
    for uid in range(1, 7):
        assert found.get(uid, set()) == reasons(ours.get(uid), theirs.get(uid))


def reasons(ours: MirroredCopy | None, theirs: RemoteCopy | None) -> set[Kind]:
    if ours is None or theirs is None:
        return {Kind.MESSAGE_MISSING} if theirs else {Kind.MESSAGE_EXTRA} if ours else set()
    wanted = set() if alike(ours.flags, theirs.flags) else {Kind.FLAGS_DIFFER}
    if ours.date != theirs.date:
        wanted.add(Kind.DATE_DIFFERS)
    if ours.size != theirs.size:
        return wanted | {Kind.SIZE_DIFFERS}
    return wanted | (set() if theirs.sha256 in (None, ours.sha256) else {Kind.CONTENT_DIFFERS})


@given(OURS, THEIRS, UIDS)
def test_comparing_by_slices_is_comparing_whole(
    ours: dict[int, MirroredCopy], theirs: dict[int, RemoteCopy], border: int
) -> None:
    def part(below: bool) -> list[Difference]:
        def mine(uid: int) -> bool:
            return (uid < border) == below

        return list(
            compare_copies(
                "x",
                {uid: one for uid, one in ours.items() if mine(uid)},
                {uid: one for uid, one in theirs.items() if mine(uid)},
            )
        )

    assert part(below=True) + part(below=False) == list(compare_copies("x", ours, theirs))


@given(FOLDERS, FOLDERS)
def test_every_folder_that_differs_is_named(ours: dict[str, FolderFacts], theirs: dict[str, FolderFacts]) -> None:
    wanted = []
    for ref in sorted({*ours, *theirs}):
        one, other = ours.get(ref), theirs.get(ref)
        if one is None or other is None:
            wanted.append(Kind.FOLDER_EXTRA if one else Kind.FOLDER_MISSING)
            continue
        if (one.path, one.delimiter, one.selectable) != (other.path, other.delimiter, other.selectable):
            wanted.append(Kind.FOLDER_DIFFERS)
        if {one.uidvalidity, other.uidvalidity} == {1, 2}:
            wanted.append(Kind.UIDVALIDITY_DIFFERS)
    assert [one.kind for one in compare_folders(ours, theirs)] == wanted
