"""Mail that comes in rows: newsletters, machines, receipts, junk, drafts, invitations."""

from __future__ import annotations

import html
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from project.demo.sample import attachments
from project.demo.sample.compose import Letter, Part, Person, file_part, html_part, multipart, text_part
from project.demo.sample.people import (
    OWNER,
    SampleMessage,
    choose,
    content,
    local,
    moment,
    number,
    people,
    person,
    post,
)
from project.demo.sample.threads import as_html

BUILDS = 48
ALERTS = 16
RECEIPTS = 14
STATEMENTS = 6


def series(now: datetime) -> Iterator[SampleMessage]:
    """Yield all of it."""
    told = content("series")
    yield from _newsletters(told["newsletter"], now)
    yield from _builds(told["builds"], now)
    yield from _alerts(told["alerts"], now)
    yield from _receipts(told["receipts"], now)
    yield from _statements(now)
    yield from _junk(told["junk"], now)
    yield from _drafts(told["draft"], now)
    yield from _trash(told["trash"], now)
    yield from _invitations(told["invitation"], now)


def _newsletters(told: dict[str, Any], now: datetime) -> Iterator[SampleMessage]:
    editor = person("weekly")
    for at, title in enumerate(told["titles"]):
        issue = 212 - at
        key = f"newsletter {issue}"
        lead = told["leads"][at % len(told["leads"])]
        plain = "\n\n".join([title.upper(), lead, *(f"{brief['head']}\n{brief['text']}" for brief in told["briefs"])])
        page = _newsletter_page(issue, title, lead, told["briefs"])
        body = multipart("alternative", text_part(plain + "\n"), html_part(page))
        more = {
            "List-Id": "The Small Museum Weekly <weekly.smallmuseum.example.org>",
            "List-Unsubscribe": f"<https://smallmuseum.example.org/leave/{issue}>",
            "Precedence": "bulk",
        }
        sent = local(moment(now, 7 * at + 0.9, "06:00"), editor)
        letter = Letter(key, editor, [OWNER], f"No. {issue}: {title}", sent, body, more=more)
        unread = {"\\Flagged"} if at == 6 else set()
        yield post(letter, "Newsletters", now, unread, read_after=20 if at % 3 else 3)


def _newsletter_page(issue: int, title: str, lead: str, briefs: list[dict[str, str]]) -> str:
    rows = "\n".join(
        f'<tr><td class="brief"><h3>{html.escape(brief["head"])}</h3><p>{html.escape(brief["text"])}</p></td></tr>'
        for brief in briefs
    )
    return f"""<!DOCTYPE html>
<html><head><title>{html.escape(title)}</title>
<style>body {{ font-family: Georgia, serif; background: #f3efe6 }} .brief {{ border-top: 1px solid #bba }}</style>
</head><body>
<div style="display:none;max-height:0;overflow:hidden">{html.escape(lead[:60])}&hellip;</div>
<table role="presentation" width="600" align="center" cellpadding="12">
<tr><td><small>The Small Museum Weekly &middot; No.&nbsp;{issue}</small><h1>{html.escape(title)}</h1></td></tr>
<tr><td><p>{html.escape(lead)}</p>
<p><a href="https://smallmuseum.example.org/{issue}">Read on &rarr;</a></p></td></tr>
{rows}
<tr><td><small>You get this because you once looked interested.
<a href="https://smallmuseum.example.org/leave/{issue}">Leave quietly</a></small></td></tr>
</table>
<img src="https://smallmuseum.example.org/open/{issue}.gif" width="1" height="1" alt="">
</body></html>
"""


def _builds(told: dict[str, Any], now: datetime) -> Iterator[SampleMessage]:
    writer = person("builds")
    for at in range(BUILDS):
        key = f"build {at}"
        branch, change = choose(key + "branch", told["branches"]), choose(key + "change", told["subjects"])
        failed = number(key, 5) == 0
        seconds = 31 + number(key, 60)
        text = f"Branch:  {branch}\nChange:  {change}\nBuild:   {1400 - at}\nTime:    {seconds} s\n\n"
        text += f"FAILED: {choose(key, told['failures'])}\n" if failed else "All tests passed.\n"
        parts = [text_part(text)]
        if failed:
            log = f"$ make test\n{'.' * 60}F{'.' * (seconds % 50)}\n{choose(key, told['failures'])}\n"
            parts.append(file_part(log.encode(), "text/plain", f"build-{1400 - at}.log"))
        sent = local(moment(now, 0.3 + 1.7 * at), writer)
        subject = f"[website] {branch} {'FAILED' if failed else 'passed'}: {change}"
        letter = Letter(
            key, writer, [OWNER], subject, sent, multipart("mixed", *parts), more={"X-Build": str(1400 - at)}
        )
        yield post(letter, "Projects/2025/Website/Builds", now, read_after=6)


def _alerts(told: dict[str, Any], now: datetime) -> Iterator[SampleMessage]:
    writer = person("lookout")
    for at in range(ALERTS):
        key = f"alert {at}"
        check, cause = choose(key, told["checks"]), choose(key + "cause", told["causes"])
        down = moment(now, 1.1 + 5 * at)
        text = f"{check}\n\n{cause}\n\nSince {down:%Y-%m-%d %H:%M} UTC. Seen from 3 of 5 lighthouses.\n"
        body = multipart("alternative", text_part(text), html_part(as_html(text)))
        more = {"X-Priority": "1", "Auto-Submitted": "auto-generated"}
        letter = Letter(key, writer, [OWNER], f"DOWN: {check}", local(down, writer), body, more=more)
        yield post(letter, "INBOX" if at < 2 else "Archive", now, read_after=1)


def _receipts(told: dict[str, Any], now: datetime) -> Iterator[SampleMessage]:
    writer = person("shop")
    for at in range(RECEIPTS):
        key = f"receipt {at}"
        order = 71200 - 331 * at
        bought = [told["items"][(number(key, 8) + 3 * line) % len(told["items"])] for line in range(1 + number(key, 3))]
        rows = [f"1 x {name:<40} {cents / 100:>8.2f}" for name, cents in bought]
        total = f"Total {sum(cents for _, cents in bought) / 100:.2f}"
        text = "\n".join(["Thank you for your order.", "", *rows, "", total, ""])
        body = multipart("alternative", text_part(text), html_part(as_html(text)))
        invoice = file_part(
            attachments.pdf(f"Invoice {order}", [*rows, total]), "application/pdf", f"invoice-{order}.pdf"
        )
        sent = local(moment(now, 6 + 15 * at, "11:11"), writer)
        letter = Letter(key, writer, [OWNER], f"Your order {order}", sent, multipart("mixed", body, invoice))
        yield post(letter, "Receipts", now, {"\\Flagged"} if at == 2 else set())


def _statements(now: datetime) -> Iterator[SampleMessage]:
    writer = person("bank")
    for at in range(STATEMENTS):
        key = f"statement {at}"
        sent = local(moment(now, 4 + 30 * at, "05:00"), writer)
        text = f"Your statement of {sent:%B %Y} is attached. It is in balance. So, we hope, are you.\n"
        table = file_part(attachments.csv(key), "text/csv", f"statement-{sent:%Y-%m}.csv")
        letter = Letter(
            key, writer, [OWNER], f"Statement {sent:%B %Y}", sent, multipart("mixed", text_part(text), table)
        )
        yield post(letter, "Receipts", now)


def _junk(told: list[dict[str, str]], now: datetime) -> Iterator[SampleMessage]:
    for at in range(2 * len(told)):
        offer = told[at % len(told)]
        key = f"junk {at}"
        writer = Person(offer["name"], offer["address"], 60 * (number(key, 25) - 12))
        page = f'<html><body><center><font size="7" color="#FF0000"><b>{html.escape(offer["text"])}</b></font></center>'
        page += f'<a href="http://{writer.address.partition("@")[2]}/?u=robin">CLICK</a></body></html>\n'
        content_part = (
            html_part(page) if at % 2 else multipart("alternative", text_part(offer["text"] + "\n"), html_part(page))
        )
        again = "Re: " if at >= len(told) else ""
        sent = local(moment(now, 0.7 + 1.6 * at), writer)
        letter = Letter(key, writer, [OWNER], again + offer["subject"], sent, content_part, more={"X-Spam-Flag": "YES"})
        yield post(letter, "Junk", now, {"$Junk"}, read_after=30)


def _drafts(told: list[dict[str, Any]], now: datetime) -> Iterator[SampleMessage]:
    for at, draft in enumerate(told):
        sent = local(moment(now, draft["start"]), OWNER)
        body = text_part(draft["text"] + "\n")
        letter = Letter(f"draft {at}", OWNER, people(draft["to"]), draft["subject"], sent, body)
        yield post(letter, "Drafts", now, {"\\Draft"})


def _trash(told: list[dict[str, str]], now: datetime) -> Iterator[SampleMessage]:
    for at, mail in enumerate(told):
        writer = person(mail["from"])
        sent = local(moment(now, 3.3 + 4 * at), writer)
        letter = Letter(f"trash {at}", writer, [OWNER], mail["subject"], sent, text_part(mail["text"] + "\n"))
        yield post(letter, "Trash", now)


def _invitations(told: list[dict[str, Any]], now: datetime) -> Iterator[SampleMessage]:
    for at, meeting in enumerate(told):
        writer = person(meeting["from"])
        key = f"invitation {at}"
        begins = (now + timedelta(days=meeting["in_days"])).replace(
            hour=meeting["hour"], minute=0, second=0, microsecond=0
        )
        data = attachments.invitation(
            key, meeting["subject"], writer, OWNER, begins, minutes=meeting["minutes"], place=meeting["place"]
        )
        text = (
            f"{writer.name} invites you to: {meeting['subject']}\n\n{begins:%A, %d %B, %H:%M} UTC\n{meeting['place']}\n"
        )
        request = Part(
            "text/calendar; charset=utf-8; method=REQUEST",
            (("Content-Transfer-Encoding", "8bit"),),
            data.replace(b"\r\n", b"\n"),
        )
        body = multipart("alternative", text_part(text), html_part(as_html(text)), request)
        whole = multipart("mixed", body, file_part(data, "application/ics", "invite.ics"))
        sent = local(moment(now, meeting["start"]), writer)
        letter = Letter(key, writer, [OWNER], f"Invitation: {meeting['subject']}", sent, whole)
        yield post(letter, meeting["folder"], now)
