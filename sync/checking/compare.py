"""What differs between the mirror's picture of a mailbox and the server's. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from sync.checking.values import Difference, FolderFacts, Json, Kind, MirroredCopy, RemoteCopy


def compare_folders(mirror: Mapping[str, FolderFacts], server: Mapping[str, FolderFacts]) -> Iterator[Difference]:
    """Compare folders, by the name the server knows them by; UIDVALIDITY where both sides know it."""
    for name in sorted(mirror.keys() | server.keys()):
        ours, theirs = mirror.get(name), server.get(name)
        if ours is None:
            assert theirs is not None
            yield Difference(Kind.FOLDER_MISSING, theirs.path, None, _facts(theirs))
        elif theirs is None:
            yield Difference(Kind.FOLDER_EXTRA, ours.path, _facts(ours), None)
        else:
            yield from _compare_folder(ours, theirs)


def _compare_folder(ours: FolderFacts, theirs: FolderFacts) -> Iterator[Difference]:
    ours_told, theirs_told = _facts(ours), _facts(theirs)
    differing = [name for name in ours_told if ours_told[name] != theirs_told[name]]
    if differing:
        mirror: Json = {name: ours_told[name] for name in differing}
        yield Difference(Kind.FOLDER_DIFFERS, ours.path, mirror, {name: theirs_told[name] for name in differing})
    if None not in (ours.uidvalidity, theirs.uidvalidity) and ours.uidvalidity != theirs.uidvalidity:
        yield Difference(Kind.UIDVALIDITY_DIFFERS, ours.path, ours.uidvalidity, theirs.uidvalidity)


def _facts(folder: FolderFacts) -> dict[str, Json]:
    return {"path": folder.path, "delimiter": folder.delimiter, "selectable": folder.selectable}


def compare_copies(
    path: str, mirror: Mapping[int, MirroredCopy], server: Mapping[int, RemoteCopy]
) -> Iterator[Difference]:
    """Compare the messages of one folder, or of a slice of its UIDs, by UID."""
    for uid in sorted(mirror.keys() | server.keys()):
        ours, theirs = mirror.get(uid), server.get(uid)
        if ours is None:
            assert theirs is not None
            yield Difference(Kind.MESSAGE_MISSING, path, None, _told(theirs.flags, theirs.size), uid=uid)
        elif theirs is None:
            told = _told(ours.flags, ours.size)
            yield Difference(Kind.MESSAGE_EXTRA, path, told, None, uid=uid, message_id=ours.message_id)
        else:
            yield from _compare_copy(path, uid, ours, theirs)


def _compare_copy(path: str, uid: int, ours: MirroredCopy, theirs: RemoteCopy) -> Iterator[Difference]:
    def difference(kind: Kind, mirror: Json, server: Json) -> Difference:
        return Difference(kind, path, mirror, server, uid=uid, message_id=ours.message_id)

    if comparable_flags(ours.flags) != comparable_flags(theirs.flags):
        yield difference(Kind.FLAGS_DIFFER, sorted(ours.flags), sorted(theirs.flags))
    if ours.date != theirs.date:
        yield difference(Kind.DATE_DIFFERS, _moment(ours.date), _moment(theirs.date))
    if ours.size != theirs.size:
        yield difference(Kind.SIZE_DIFFERS, ours.size, theirs.size)
    elif theirs.sha256 is not None and theirs.sha256 != ours.sha256:
        yield difference(Kind.CONTENT_DIFFERS, ours.sha256.hex(), theirs.sha256.hex())


def comparable_flags(flags: Iterable[str]) -> frozenset[str]:
    """Flags as they are compared: system flags in any case, without \\Recent, which belongs to a session."""
    folded = {flag.lower() if flag.startswith("\\") else flag for flag in flags}
    return frozenset(folded - {"\\recent"})


def _moment(date: datetime | None) -> Json:
    return None if date is None else date.astimezone(UTC).isoformat()


def _told(flags: frozenset[str], size: int) -> Json:
    return {"flags": sorted(flags), "size": size}
