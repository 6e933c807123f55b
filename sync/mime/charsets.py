"""Bytes to text, whatever the charset is said to be.

Labels mean what browsers take them for (WHATWG Encoding Standard, 4.2): senders test there.
"""

from __future__ import annotations

import codecs
import encodings
import pkgutil
import re
from encodings import normalize_encoding
from encodings.aliases import aliases
from functools import lru_cache

#: Supersets that decode what senders really put under these labels. Keys as `_plain` writes them.
_SUPERSETS = {
    "ascii": "utf-8",
    "usascii": "utf-8",
    "ansix341968": "utf-8",
    "ansix341986": "utf-8",
    "iso646us": "utf-8",
    "7bit": "utf-8",
    "8bit": "utf-8",
    "unicode": "utf-8",
    "utf8mb4": "utf-8",
    "unicode11utf8": "utf-8",
    "iso88591": "cp1252",
    "latin1": "cp1252",
    "iso885901": "cp1252",
    "ansi": "cp1252",
    "cp1252": "cp1252",
    "iso88599": "cp1254",
    "iso885911": "cp874",
    "tis620": "cp874",
    "windows874": "cp874",
    "iso88598i": "iso8859-8",
    "iso88598e": "iso8859-8",
    "iso88596i": "iso8859-6",
    "gb2312": "gb18030",
    "gb231280": "gb18030",
    "euccn": "gb18030",
    "eucgb2312cn": "gb18030",
    "gbk": "gb18030",
    "cp936": "gb18030",
    "xgbk": "gb18030",
    "chinese": "gb18030",
    "csgb2312": "gb18030",
    "ksc56011987": "cp949",
    "ksc5601": "cp949",
    "ksc56011992": "cp949",
    "kscode": "cp949",
    "euckr": "cp949",
    "xeuckr": "cp949",
    "xwindows949": "cp949",
    "windows949": "cp949",
    "korean": "cp949",
    "big5": "cp950",
    "xxbig5": "cp950",
    "csbig5": "cp950",
    "cnbig5": "cp950",
    "shiftjis": "cp932",
    "sjis": "cp932",
    "xsjis": "cp932",
    "windows31j": "cp932",
    "mskanji": "cp932",
    "xeucjp": "euc_jp",
    "macintosh": "mac_roman",
    "mac": "mac_roman",
    "xmacroman": "mac_roman",
    "xmaccyrillic": "mac_cyrillic",
    "koi8": "koi8_r",
    "unicode11utf7": "utf-7",
    "xunicode20utf7": "utf-7",
    "xcp1251": "cp1251",
    "xcp1252": "cp1252",
    "utf16": "utf-16",
    "iso2022jp": "iso2022_jp_2",
}

#: Richer variants, tried in turn when the plain one fails.
_VARIANTS = {"iso2022_jp_2": ("iso2022_jp_ext", "iso2022_jp_3"), "cp950": ("big5hkscs",), "euc_jp": ("euc_jis_2004",)}

#: Modules of Python's codecs that are no charset of mail, and may be slow or raise in ways of their own.
_NO_CHARSETS = """
    aliases base64_codec bz2_codec charmap hex_codec idna mbcs oem palmos punycode quopri_codec raw_unicode_escape
    rot_13 undefined unicode_escape uu_codec zlib_codec
"""
_CHARSETS = frozenset(module.name for module in pkgutil.iter_modules(encodings.__path__)) - {*_NO_CHARSETS.split()}

_SURROGATES = re.compile("[\ud800-\udfff]")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")
_META_CHARSET = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?([\w:.-]{1,40})""", re.IGNORECASE)


def _plain(label: str) -> str:
    return re.sub(r"[^a-z0-9]", "", label.lower())


@lru_cache(maxsize=512)
def find_codec(label: str) -> str | None:
    """Return Python's name of the codec that a charset label means; None: not known."""
    label = label.split("*", 1)[0].strip(" \t\r\n\"'")[:64]  # RFC 2231 5: the language follows a star
    name = _SUPERSETS.get(_plain(label)) or re.sub(r"^(?:x-|cs)(?=\w)|[^\w.:-]", "", label.lower())
    module = normalize_encoding(name.lower())
    module = aliases.get(module, module)
    if module not in _CHARSETS:
        return None
    codec = codecs.lookup(module).name
    return _SUPERSETS.get(_plain(codec), codec)


def decode_text(data: bytes, charset: str | None, *, is_cut: bool = False) -> tuple[str, tuple[str, ...]]:
    """Return `data` as storable text, with the defects found on the way.

    A label that is missing, unknown or a lie: UTF-8 when the bytes are that, else Windows-1252.
    `is_cut`: `data` may end in the middle of a character, which is left out.
    """
    codec = find_codec(charset) if charset else "utf-8"
    defects = () if codec else ("unknown-charset",)
    codec = codec or "utf-8"
    text = _try(data, codec, is_cut=is_cut)
    if text is None:
        text, defects = _decode_liar(data, codec), (*defects, "wrong-charset")
    return storable(text), defects


def decode_header_bytes(data: bytes) -> str:
    """Return a raw header value, 8-bit or not, as text (RFC 6532: UTF-8; before it: anything)."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return _decode_western(data)


def find_meta_charset(html: bytes) -> str | None:
    """Return the charset an HTML page names in its first kilobyte."""
    found = _META_CHARSET.search(html, 0, 1024)
    return found[1].decode("ascii", "replace") if found else None


def storable(text: str) -> str:
    """Return `text` without what PostgreSQL refuses: NUL bytes go, lone surrogates become U+FFFD."""
    if "\0" in text:
        text = text.replace("\0", "")
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def one_line(text: str) -> str:
    """Return `text` with its control characters as spaces: encoded ones could break out of a header."""
    return text if text.isprintable() else _CONTROLS.sub(" ", text)


def _try(data: bytes, codec: str, *, is_cut: bool = False) -> str | None:
    for name in (codec, *_VARIANTS.get(codec, ())):
        try:
            return codecs.getincrementaldecoder(name)().decode(data) if is_cut else data.decode(name)
        except (UnicodeError, ValueError):
            continue
    return None


def _decode_liar(data: bytes, codec: str) -> str:
    """Decode bytes that are not what they are said to be."""
    if codec == "cp1252":
        return _decode_western(data)
    if codec == "utf-8":
        text = data.decode("utf-8", "replace")
        has_utf8 = any(char > "\x7f" and char != "\ufffd" for char in text[:10_000])
        return text if has_utf8 else _decode_western(data)
    text_or_none = _try(data, "utf-8")
    return data.decode(codec, "replace") if text_or_none is None else text_or_none


def _decode_western(data: bytes) -> str:
    """Windows-1252, in which five bytes mean nothing: they stay what ISO 8859-1 makes of them."""
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1").translate(_C1_TO_CP1252)


def _c1_to_cp1252() -> dict[int, str]:
    table = {}
    for byte in range(0x80, 0xA0):
        char = bytes([byte]).decode("cp1252", "ignore")
        if char:
            table[byte] = char
    return table


_C1_TO_CP1252 = _c1_to_cp1252()
