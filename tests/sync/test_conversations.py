from __future__ import annotations

import random
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from sync.conversations import MAX_REFERENCES, decide_thread, find_thread_ids
from sync.mime import parse_message


@dataclass(frozen=True)
class Mail:
    message_id: str | None
    in_reply_to: tuple[str, ...] = ()
    references: tuple[str, ...] = ()


def place(mails: list[Mail]) -> set[frozenset[Mail]]:
    """Take mails in as the mirror does, one after the other, and return the threads they end in."""
    keys: dict[str, int] = {}
    members: dict[int, list[Mail]] = {}
    for number, mail in enumerate(mails):
        decision = decide_thread(keys, find_thread_ids(mail))
        thread = number if decision.thread is None else decision.thread
        members.setdefault(thread, []).append(mail)
        for absorbed in decision.absorbed:
            members[thread] += members.pop(absorbed)
            keys.update({key: thread for key, value in keys.items() if value == absorbed})
        keys.update(dict.fromkeys(decision.new_ids, thread))
    return {frozenset(each) for each in members.values()}


ids = st.sampled_from([f"{letter}@x" for letter in "abcdefghij"])
some_mails = st.lists(
    st.builds(
        Mail,
        message_id=ids | st.none(),
        in_reply_to=st.tuples() | st.tuples(ids),
        references=st.lists(ids, max_size=3).map(tuple),
    ),
    max_size=12,
    unique=True,
)


@given(some_mails, st.randoms(use_true_random=False))
def test_threads_do_not_depend_on_the_order_of_arrival(mails: list[Mail], chance: random.Random) -> None:
    # Without any id at all nothing is known of a mail but its arrival.
    mails = [mail for mail in mails if find_thread_ids(mail)]
    shuffled = mails.copy()
    chance.shuffle(shuffled)
    assert place(shuffled) == place(mails)


def test_long_thread_stays_whole_in_two_thousand_orders() -> None:
    chain = [Mail(f"{n}@x", in_reply_to=(f"{n - 1}@x",) if n else ()) for n in range(12)]
    chance = random.Random(2)
    for _ in range(2000):
        chance.shuffle(chain)
        assert place(chain) == {frozenset(chain)}


def test_own_id_comes_first_then_the_nearest_ancestors() -> None:
    mail = Mail("own@x", in_reply_to=("parent@x",), references=("root@x", "grandparent@x", "parent@x"))
    assert find_thread_ids(mail) == ("own@x", "parent@x", "grandparent@x", "root@x")


def test_of_too_many_references_the_oldest_are_dropped() -> None:
    found = find_thread_ids(Mail("own@x", references=tuple(f"{n}@x" for n in range(500))))
    assert len(found) == MAX_REFERENCES
    assert found[:2] == ("own@x", "499@x")


def test_mail_without_an_id_is_tied_by_its_ancestors_alone() -> None:
    assert find_thread_ids(Mail(None, in_reply_to=("parent@x",))) == ("parent@x",)
    assert find_thread_ids(Mail(None)) == ()


def test_ids_that_no_grammar_allows_still_tie_and_case_is_kept() -> None:
    message = parse_message(b"Message-ID: <noat>\nIn-Reply-To: <A.b> <a.B>\nReferences: <with space @ x>\n\n")
    assert find_thread_ids(message) == ("noat", "A.b", "a.B", "withspace@x")


def test_unknown_mail_begins_a_thread() -> None:
    decision = decide_thread({}, ("a@x", "b@x", "a@x"))
    assert (decision.thread, decision.absorbed, decision.new_ids) == (None, (), ("a@x", "b@x"))


def test_known_ancestor_is_joined() -> None:
    decision = decide_thread({"b@x": 7}, ("a@x", "b@x"))
    assert (decision.thread, decision.absorbed, decision.new_ids) == (7, (), ("a@x",))


def test_missing_link_merges_the_younger_threads_into_the_oldest() -> None:
    decision = decide_thread({"a@x": 9, "b@x": 3, "c@x": 5}, ("a@x", "b@x", "c@x"))
    assert (decision.thread, decision.absorbed, decision.new_ids) == (3, (5, 9), ())


def test_equal_subjects_join_nothing() -> None:
    one, other = (parse_message(b"Subject: Re: lunch\nMessage-ID: <%d@x>\n\n" % n) for n in (1, 2))
    assert not set(find_thread_ids(one)) & set(find_thread_ids(other))
