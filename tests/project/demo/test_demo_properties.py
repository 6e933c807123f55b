"""What holds whatever clients send and whatever others do to the mailbox."""

from __future__ import annotations

import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from project.demo.commands import COMMANDS
from project.demo.names import canonical_name, decode_name, encode_name, name_matches
from project.demo.server import DemoServer
from project.demo.store import Mailbox
from project.demo.view import View
from project.demo.wire import NumberSet, Word, format_set
from tests.project.demo.letters import MIXED, PLAIN, letter
from tests.project.demo.lines import LineClient

#: All commands but those after which the connection is another.
NAMES = [*sorted(set(COMMANDS) - {"IDLE", "LOGOUT", "STARTTLS"}), "X", "UID SELECT", "UID"]
MENU = r"""
INBOX | Box | "Box/&AOQ-" | "&" | "&!-" | "" | * | % | 1 | 0 | 1:* | *:1 | 4294967296 | 2,1 | $ | (FLAGS) | FLAGS
FLAGS.SILENT | +FLAGS | -FLAGS.SILENT | (\Seen) | (\Bogus) | \Seen | (UNCHANGEDSINCE 1) | (CHANGEDSINCE 1)
(CHANGEDSINCE x) | (CONDSTORE) | RETURN | (ALL) | () | (()) | (STATUS (MESSAGES)) | (MESSAGES UIDNEXT) | (BOGUS) | ALL
UNSEEN | NOT | OR | UID | HEADER | SUBJECT | a | KEYWORD | SINCE | 1-Feb-2026 | 31-Feb-2026 | LARGER | MODSEQ | CHARSET
UTF-8 | BODY | BODY[] | BODY[1.2] | BODY.PEEK[HEADER.FIELDS (TO)] | BODY[<1.2> | BODY[]<0.5> | BODY[0] | ENVELOPE
BODYSTRUCTURE | FULL | (UID MODSEQ) | "unclosed | ) | ( | \ | é | NIL | PLAIN | AGEAYg== | =
"17-Jul-2026 02:44:25 -0700" | "99-Jul-2026 02:44:25 -0700"
"""
ARGUMENTS = [choice.strip() for row in MENU.strip().split("\n") for choice in row.split("|")]
ARGUMENTS += ["{3+}\r\nabc", "{0+}\r\n"]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(NAMES), st.lists(st.sampled_from(ARGUMENTS), max_size=5)),
        min_size=1,
        max_size=12,
    )
)
@example([("UID SEARCH", ["OR", "NOT"]), ("STORE", ["1", "(UNCHANGEDSINCE 1)", "+FLAGS", "(\\Seen)"])])
def test_every_command_gets_an_answer(commands: list[tuple[str, list[str]]]) -> None:
    with DemoServer() as server:
        for raw in (PLAIN, MIXED):
            server.append("INBOX", raw)
        server.create("Box")
        with LineClient(server.port) as client:
            client.login(server.username, server.password)
            for name, arguments in [("SELECT", ["INBOX"]), *commands]:
                line = " ".join([name, *arguments])
                told = client.command(line.encode("latin-1"))
                assert re.match(rb"OK |NO |BAD ", told[-1]), (line, told)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["append", "expunge", "flag", "tell", "tell without expunges"]), st.integers(0, 9))
    )
)
def test_a_client_that_follows_the_news_knows_the_mailbox(steps: list[tuple[str, int]]) -> None:
    mailbox = Mailbox("Box", 1)
    for number in range(3):
        mailbox.append(letter(number))
    view = View(mailbox, writable=True)
    known = {uid: message.flags for uid, message in mailbox.messages.items()}
    numbers = list(known)
    for step, choice in [*steps, ("tell", 0)]:
        uids = list(mailbox.messages)
        match step:
            case "append":
                mailbox.append(letter(choice))
            case "expunge" if uids:
                mailbox.expunge([uids[choice % len(uids)]])
            case "flag" if uids:
                mailbox.set_flags(uids[choice % len(uids)], {f"k{choice}"})
            case "tell" | "tell without expunges":
                for number in view.expunges() if step == "tell" else ():
                    del known[numbers.pop(number - 1)]
                if view.arrivals():
                    fresh = view.uids[len(numbers) :]
                    numbers.extend(fresh)
                    known.update({uid: mailbox.messages[uid].flags for uid in fresh})
                known.update({message.uid: message.flags for message in view.changes()})
                assert numbers == view.uids
    assert known == {uid: message.flags for uid, message in mailbox.messages.items()}


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
@example("Entwürfe & Ideen/日本 🪁")
def test_names_survive_modified_utf7(name: str) -> None:
    wire = encode_name(name)
    assert all(0x20 <= byte <= 0x7E for byte in wire)
    assert decode_name(wire) == name


def test_names_are_spelt_as_the_standard_does() -> None:
    # RFC 3501 5.1.3.
    assert encode_name("~peter/mail/台北/日本語") == b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"


def test_wildcards_know_levels_and_inbox() -> None:
    assert name_matches("A/B", "*", "/")
    assert name_matches("A", "%", "/")
    assert not name_matches("A/B", "%", "/")
    assert name_matches("A/B", "A/%", "/")
    assert name_matches("INBOX", "inbox", "/")
    assert canonical_name("inbox/x/", "/") == "INBOX/x"
    assert canonical_name("Inboxes", "/") == "Inboxes"


@given(st.sets(st.integers(1, 60)))
def test_sets_of_numbers_read_back(numbers: set[int]) -> None:
    rising = sorted(numbers)
    if rising:
        assert NumberSet.parse(Word(format_set(rising).encode())).pick(range(1, 61)) == rising


def test_the_star_is_the_last_message_even_when_the_set_begins_beyond_it() -> None:
    assert NumberSet.parse(Word(b"900:*")).pick([2, 5, 9]) == [9]
    assert NumberSet.parse(Word(b"*")).pick([2, 5, 9]) == [9]
    assert NumberSet.parse(Word(b"1:*")).pick([]) == []
