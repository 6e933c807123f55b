"""Mail read from bytes: pure, tolerant, and bounded in time and memory whatever comes.

values.py says what a ParsedMessage is; structure.py finds the leaves; the others read one kind of value each.
"""

from sync.mime.html import html_to_text
from sync.mime.message import parse_headers, parse_message
from sync.mime.transfer import decode_part, iter_decoded
from sync.mime.values import Address, ParsedMessage, ParsedPart

__all__ = [
    "Address",
    "ParsedMessage",
    "ParsedPart",
    "decode_part",
    "html_to_text",
    "iter_decoded",
    "parse_headers",
    "parse_message",
]
