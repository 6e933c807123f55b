"""What a server's answer means for what we hold: pure decisions."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from sync.plan import KnownCopy, KnownFolder, plan_folder, plan_listing, recognise
from sync.providers.base import Fingerprint, FolderDelta, RemoteFolder

IDS = st.integers(1, 12).map(str)
FLAGS = st.frozensets(st.sampled_from([r"\Seen", r"\Flagged", "Work"]))
MAILBOX = st.dictionaries(IDS, FLAGS)
WHEN = datetime(2024, 5, 17, tzinfo=UTC)


@given(MAILBOX, MAILBOX)
def test_obeying_the_plan_makes_us_equal_to_the_server(
    have: dict[str, frozenset[str]], server: dict[str, frozenset[str]]
) -> None:
    plan = plan_folder(have, FolderDelta(server, frozenset(server), frozenset(), {}))
    kept = {one: flags for one, flags in have.items() if one not in plan.vanished}
    assert {**kept, **plan.flags, **{one: server[one] for one in plan.new}} == server
    assert not plan.flags.keys() & set(plan.new)


@given(MAILBOX, MAILBOX, st.frozensets(IDS))
def test_what_a_partial_answer_does_not_mention_stays(
    have: dict[str, frozenset[str]], seen: dict[str, frozenset[str]], gone: frozenset[str]
) -> None:
    plan = plan_folder(have, FolderDelta(seen, None, gone, {}))
    assert plan.vanished == gone & have.keys()
    assert set(plan.new) == seen.keys() - have.keys() - gone
    assert plan.flags.keys() <= seen.keys() & have.keys() - gone


def test_new_messages_come_newest_first() -> None:
    plan = plan_folder({}, FolderDelta({}, frozenset({"9", "10", "101"}), frozenset(), {}))
    assert plan.new == ("101", "10", "9")


def listed(ref: str, stable_id: str | None) -> RemoteFolder:
    return RemoteFolder(ref, tuple(ref.split("/")), "/", (), None, stable_id=stable_id)


def test_folder_under_a_new_name_is_found_by_its_stable_id() -> None:
    plan = plan_listing([KnownFolder(1, "Old", "7", True, None)], [listed("New", "7")])
    assert (plan.keep[1].ref, plan.create, plan.remove) == ("New", (), ())


def test_two_folders_with_one_stable_id_are_not_taken_for_each_other() -> None:
    known = [KnownFolder(1, "A", "7", True, None), KnownFolder(2, "B", "7", True, None)]
    plan = plan_listing(known, [listed("C", "7")])
    assert (plan.keep, plan.remove) == ({}, (1, 2))


def test_copy_that_fits_two_messages_is_not_recognised() -> None:
    known = [KnownCopy(number, "m@example.org", 10, WHEN) for number in (1, 2)]
    prints = [Fingerprint("5", frozenset(), 10, WHEN, "m@example.org")]
    assert recognise(prints, known[:1]) == {"5": 1}
    assert recognise(prints, known) == {}
    assert recognise([Fingerprint("5", frozenset(), 11, WHEN, "m@example.org")], known[:1]) == {}
