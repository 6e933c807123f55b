"""A mailing list, a bounce, an automatic answer, a receipt for reading, a letter inside a letter."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from project.demo.sample import attachments
from project.demo.sample.compose import Letter, Part, Person, file_part, multipart, text_part
from project.demo.sample.people import OWNER, SampleMessage, choose, content, local, moment, number, person, post

FOOTER = "\n-- \nBread Bakers, since the flood\nhttps://lists.example.org/bread-bakers\n"


def oddments(now: datetime) -> Iterator[SampleMessage]:
    """Yield all of it."""
    yield from _mailing_list(content("series")["list"], now)
    yield from _bounced(now)
    yield from _away(now)
    yield _read_receipt(now)
    yield _letter_in_letter(now)
    yield _many_files(now)


def _mailing_list(told: dict[str, Any], now: datetime) -> Iterator[SampleMessage]:
    for at, (subject, text) in enumerate(told["openings"]):
        letters: list[Letter] = []
        when = moment(now, 2 + 6.5 * at, "19:40")
        for turn in range(4 + number(subject, 4)):
            when += timedelta(hours=turn and 1 + number(f"{subject} {turn}", 9))
            if when > now:
                break
            letters.append(_list_letter(told, subject, text, letters, when))
            yield post(letters[-1], "Lists/Bread Bakers", now, read_after=9)


def _list_letter(told: dict[str, Any], subject: str, text: str, before: list[Letter], when: datetime) -> Letter:
    turn = len(before)
    key = f"list {subject} {turn}"
    name, address = told["members"][(number(subject, 6) + turn * 5) % len(told["members"])]
    writer = Person(name, address, 60 * (number(name, 14) - 6))
    parent = choose(key, before) if before else None
    said = text if parent is None else told["answers"][(number(subject, 8) + turn) % len(told["answers"])]
    if parent is not None:
        said = f"{parent.sender.name} wrote:\n> [...]\n\n{said}"
    return Letter(
        key,
        writer,
        [Person(told["name"], told["address"])],
        ("Re: " if parent else "") + f"[bread-bakers] {subject}",
        local(when, writer),
        text_part(said + "\n" + FOOTER),
        references=(*parent.references, parent.message_id) if parent else (),
        more={
            "List-Id": "Bread Bakers <bread-bakers.lists.example.org>",
            "List-Post": "<mailto:bread-bakers@lists.example.org>",
            "Sender": "bread-bakers-bounces@lists.example.org",
        },
    )


def _bounced(now: datetime) -> Iterator[SampleMessage]:
    nobody = Person("Gwen Aldous", "gwen.aldus@harbourmuseum.example.org")
    sent = local(moment(now, 6.9, "10:02"), OWNER)
    body = text_part("Dear Gwen,\n\nbefore I forget: may the fog horn have a plinth?\n\nRobin\n")
    letter = Letter("bounced", OWNER, [nobody], "Plinth", sent, body)
    yield post(letter, "Sent", now)
    writer = person("daemon")
    told = (
        "I could not deliver your mail to:\n\n"
        "  gwen.aldus@harbourmuseum.example.org\n    550 5.1.1 No such user, but we have an Aldous\n\n"
        "This was my only try.\n"
    )
    status = (
        "Reporting-MTA: dns; mx.paperkite.test\n\n"
        "Final-Recipient: rfc822; gwen.aldus@harbourmuseum.example.org\nAction: failed\nStatus: 5.1.1\n"
        "Diagnostic-Code: smtp; 550 5.1.1 No such user, but we have an Aldous\n"
    )
    report = Part(
        "multipart/report; report-type=delivery-status",
        children=(
            text_part(told),
            Part("message/delivery-status", body=status.encode()),
            Part("message/rfc822", body=letter.raw().replace(b"\r\n", b"\n")),
        ),
    )
    back = local(letter.sent + timedelta(seconds=40), writer)
    more = {"Auto-Submitted": "auto-replied", "X-Failed-Recipients": nobody.address}
    bounce = Letter("bounce", writer, [OWNER], "Undelivered Mail Returned to Sender", back, report, more=more)
    yield post(bounce, "INBOX", now)


def _away(now: datetime) -> Iterator[SampleMessage]:
    otto = person("otto")
    asked = local(moment(now, 1.4, "09:30"), OWNER)
    question = Letter(
        "otto away?", OWNER, [otto], "Lacquer", asked, text_part("Otto, is the third coat dry?\n\nRobin\n")
    )
    yield post(question, "Sent", now)
    answer = Letter(
        "otto away",
        otto,
        [OWNER],
        "Automatic reply: Lacquer",
        local(asked + timedelta(minutes=1), otto),
        text_part("I am at sea until Monday, in the good sense.\n\nUrgent printing: knock.\n\nOtto\n"),
        references=(question.message_id,),
        more={"Auto-Submitted": "auto-replied", "X-Auto-Response-Suppress": "All"},
    )
    yield post(answer, "INBOX", now)


def _read_receipt(now: datetime) -> SampleMessage:
    writer = person("petra")
    notice = (
        "Reporting-UA: paperkite.test; Ledger\nFinal-Recipient: rfc822;accounts@paperkite.test\n"
        "Original-Message-ID: <expenses@paperkite.test>\n"
        "Disposition: manual-action/MDN-sent-manually; displayed\n"
    )
    report = Part(
        "multipart/report; report-type=disposition-notification",
        children=(
            text_part("Your message was displayed. I also understood it.\n"),
            Part("message/disposition-notification", body=notice.encode()),
        ),
    )
    sent = local(moment(now, 20, "08:30"), writer)
    return post(Letter("receipt of reading", writer, [OWNER], "Read: expenses", sent, report), "Archive", now)


def _letter_in_letter(now: datetime) -> SampleMessage:
    writer, shop = person("felix"), person("shop")
    inner_sent = local(moment(now, 28, "10:10"), shop)
    inner = Letter("inner", shop, [writer], "Your kite has shipped", inner_sent, text_part("It insisted on flying.\n"))
    inside = Part("message/rfc822", (("Content-Disposition", "attachment"),), inner.raw().replace(b"\r\n", b"\n"))
    body = multipart("mixed", text_part("Look what they wrote. Original attached.\n\nF.\n"), inside)
    sent = local(moment(now, 27, "21:00"), writer)
    letter = Letter("outer", writer, [OWNER], "Fwd: Your kite has shipped", sent, body)
    return post(letter, "Family", now, {"$Forwarded"})


def _many_files(now: datetime) -> SampleMessage:
    writer = person("jurgen")
    files = [
        file_part(attachments.pdf("Maße", ["1,80 m", "1,20 m"]), "application/pdf", "Maße für Größere.pdf"),
        file_part(attachments.png("Drachen"), "image/png", "凧-дракон-🪁.png"),
        file_part(attachments.csv("Stoff", rows=200), "text/csv", "Stoffliste, neu (endgültig) 3.csv"),
    ]
    body = multipart("mixed", text_part("Alles anbei. Das letzte ist wirklich endgültig.\n\nJürgen\n"), *files)
    sent = local(moment(now, 27.5, "16:16"), writer)
    letter = Letter("many files", writer, [OWNER], "Re: Maße für den großen Sechseckdrachen", sent, body)
    return post(letter, "Kites/Entwürfe", now, {"\\Flagged"})
