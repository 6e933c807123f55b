"""Conversations and letters, as content/threads.toml and content/letters.toml tell them."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from project.demo.sample import attachments
from project.demo.sample.compose import Letter, Part, Person, digest, file_part, html_part, multipart, text_part
from project.demo.sample.people import OWNER, SampleMessage, content, local, moment, people, person, post


def conversations(now: datetime) -> Iterator[SampleMessage]:
    """Yield the mails of all conversations."""
    for thread in content("threads")["thread"]:
        yield from _Conversation(thread, now).messages()


def letters(now: datetime) -> Iterator[SampleMessage]:
    """Yield the single letters, each in its own charset."""
    for told in content("letters")["letter"]:
        text = told["text"].strip("\n") + "\n"
        body = text_part(text, charset=told["charset"], encoding=told["encoding"])
        if told.get("html"):
            body = multipart("alternative", body, html_part(as_html(text)))
        key = f"letter {told['from']} {told['subject']}"
        writer = person(told["from"])
        sent = local(moment(now, told["start"]), writer)
        letter = Letter(key, writer, [OWNER], told["subject"], sent, body, charset=told["charset"])
        yield post(letter, told["folder"], now)


class _Conversation:
    """One thread on its way from the file to mails."""

    def __init__(self, thread: dict[str, Any], now: datetime) -> None:
        self._thread = thread
        self._now = now
        self._letters: list[Letter] = []
        self._texts: list[str] = []

    def messages(self) -> Iterator[SampleMessage]:
        """Yield the mails, oldest first; what the owner answered is marked as answered."""
        told = self._thread["mail"]
        when = moment(self._now, self._thread["start"], self._thread["at"])
        for at, mail in enumerate(told):
            when += timedelta(hours=mail.get("after", 0))
            self._letters.append(self._letter(at, mail, when))
        for at, (mail, letter) in enumerate(zip(told, self._letters, strict=True)):
            if letter.sent > self._now:
                return
            folder = "Sent" if letter.sender == OWNER else self._thread["folder"]
            yield post(letter, folder, self._now, self._flags(at, mail))

    def _flags(self, at: int, mail: dict[str, Any]) -> set[str]:
        flags = {*mail.get("flags", []), *mail.get("keywords", []), *self._thread.get("keywords", [])}
        answers = [
            other for place, other in enumerate(self._thread["mail"]) if place and other.get("re", place - 1) == at
        ]
        if any(other["from"] == "robin" for other in answers) and mail["from"] != "robin":
            flags.add("\\Answered")
        return flags

    def _letter(self, at: int, mail: dict[str, Any], when: datetime) -> Letter:
        writer = person(mail["from"])
        parent = self._letters[mail.get("re", at - 1)] if at else None
        subject = self._thread["subject"]
        text = mail["text"].strip("\n") + "\n"
        self._texts.append(text)
        if mail.get("quote") and parent is not None:
            text += _quoted(parent, self._texts[mail.get("re", at - 1)])
        key = f"thread {subject} {at}"
        return Letter(
            key,
            writer,
            people(mail["to"]) if "to" in mail else self._reader(writer),
            f"Re: {subject}" if at else subject,
            local(when, writer),
            _content(key, mail, text, writer, when),
            cc=people(mail.get("cc", [])),
            references=(*parent.references, parent.message_id) if parent is not None else (),
        )

    def _reader(self, writer: Person) -> list[Person]:
        if writer != OWNER:
            return [OWNER]
        return [next(letter.sender for letter in reversed(self._letters) if letter.sender != OWNER)]


def _quoted(parent: Letter, text: str) -> str:
    head = f"On {parent.sent:%d %b %Y at %H:%M}, {parent.sender.name} wrote:"
    return f"\n{head}\n" + textwrap.indent(text, "> ", lambda line: True)


def as_html(text: str) -> str:
    """Return plain text as a small HTML page, a paragraph for each block."""
    blocks = "\n".join(f"<p>{html.escape(block)}</p>".replace("\n", "<br>\n") for block in text.strip().split("\n\n"))
    return f'<!DOCTYPE html>\n<html><head><meta charset="utf-8"></head>\n<body>\n{blocks}\n</body></html>\n'


def _content(key: str, mail: dict[str, Any], text: str, writer: Person, when: datetime) -> Part:
    body = text_part(text)
    if mail.get("html"):
        body = multipart("alternative", body, _html_part(key, mail, text))
    files = [_attached(name, writer, when) for name in mail.get("attach", [])]
    return multipart("mixed", body, *files)


def _html_part(key: str, mail: dict[str, Any], text: str) -> Part:
    page = as_html(text)
    if "inline" not in mail:
        return html_part(page)
    content_id = f"{digest(key)[:12]}@paperkite.test"
    picture = f'<p><img src="cid:{content_id}" alt="{html.escape(mail["inline"])}"></p>\n</body>'
    shown = html_part(page.replace("</body>", picture))
    name = mail["inline"].replace(" ", "-") + ".png"
    return multipart("related", shown, file_part(attachments.png(key), "image/png", name, content_id=content_id))


def _attached(told: str, writer: Person, when: datetime) -> Part:
    kind, _, name = told.partition(":")
    match kind:
        case "pdf":
            lines = [f"From {writer.name}.", "This page is left almost blank, on purpose."]
            return file_part(attachments.pdf(name.removesuffix(".pdf"), lines), "application/pdf", name)
        case "png":
            return file_part(attachments.png(name), "image/png", name)
        case "csv":
            return file_part(attachments.csv(name), "text/csv", name)
        case "ics":
            begins = (when + timedelta(days=20)).replace(hour=14, minute=0, second=0)
            data = attachments.invitation(name, name, writer, OWNER, begins, minutes=40, place="Hall A")
            return file_part(data, "text/calendar", f"{name}.ics")
    raise ValueError(f"unknown kind of attachment: {told}")
