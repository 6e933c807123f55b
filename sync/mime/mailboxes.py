"""Lists of mailboxes as headers write them (RFC 5322 3.4 and 4.4), read tolerantly and in one pass.

Structure comes first and decoding after it: a comma inside an encoded word separates nothing.
"""

from __future__ import annotations

import re

from sync.mime.charsets import storable
from sync.mime.values import Address
from sync.mime.words import decode_words

_NAMED = re.compile(r"""\s*(?:"([^"\\]*)"|([^"<>(),;:@\\\[]*?))\s*<([^<>,;:"()\s\\]+)>\s*(,|\Z)""")
_BARE = re.compile(r"""\s*([^\s"<>(),;:\\]+@[^\s"<>(),;:\\]+)\s*(,|\Z)""")
_TOKEN = re.compile(
    r"""\s+|"(?:[^"\\]|\\.)*+"?|\((?:[^()\\]|\\.|\((?:[^()\\]|\\.)*+\))*+\)|<[^<>]*+>?|[^\s"(<>,;:]+|.""", re.DOTALL
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def parse_mailboxes(text: str) -> list[Address]:
    """Return the mailboxes of an unfolded header value in order; groups are opened, their names dropped."""
    mailboxes = []
    text = " ".join(text.split())
    position = 0
    while position < len(text):
        found = _NAMED.match(text, position)
        if found is not None:
            mailboxes.append(_address(found[1] if found[1] is not None else found[2], found[3]))
        else:
            found = _BARE.match(text, position)
            if found is None:
                return mailboxes + _parse_odd(text[position:])
            mailboxes.append(Address("", storable(found[1])))
        position = found.end()
    return mailboxes


def _address(name: str, email: str) -> Address:
    return Address(storable(" ".join(decode_words(name).split())), storable(email.strip()))


def _parse_odd(text: str) -> list[Address]:
    """Parse what the two patterns cannot: groups, comments, quotes in odd places, missing brackets."""
    mailboxes: list[Address] = []
    words: list[str] = []
    comments: list[str] = []
    email: str | None = None
    for token in _tokens(text):
        if token in (",", ";"):
            _finish(mailboxes, words, comments, email)
            words, comments, email = [], [], None
        elif token == ":" and email is None and not any("@" in word for word in words):
            words, comments = [], []  # a group's name
        elif token[0] == "<" and len(token) > 1:
            email = email or token.strip("<>").strip()
        elif token[0] == "(" and len(token) > 1:
            comments.append(token[1:-1])
        else:
            words.append(token)
    _finish(mailboxes, words, comments, email)
    return mailboxes


def _tokens(text: str) -> list[str]:
    return [found[0] for found in _TOKEN.finditer(text)]


def _finish(mailboxes: list[Address], words: list[str], comments: list[str], email: str | None) -> None:
    if email is None:
        email, words = _bare_address(words)
    name = "".join(_unquote(word) for word in words).strip() or " ".join(comments)
    if email or name.strip():
        mailboxes.append(_address(name, email))


def _bare_address(words: list[str]) -> tuple[str, list[str]]:
    """Find the address among words without angle brackets; return it and what is left over."""
    text = "".join(words).strip()
    if "@" in text and not re.search(r"\s", text):
        return text, []
    for index, word in enumerate(words):
        if "@" in word and word[0] != '"':
            return word, words[:index] + words[index + 1 :]
    return "", words  # a name alone is nobody's address


def _unquote(token: str) -> str:
    if token[0] != '"':
        return token
    return _ESCAPED.sub(r"\1", token[1:-1] if len(token) > 1 and token[-1] == '"' else token[1:])
