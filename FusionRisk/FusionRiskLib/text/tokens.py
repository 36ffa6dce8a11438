"""From characters to tokens: known terms, numbers with units, dates, punctuation. Offsets are those of the text."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

from .lexicon import tree


class Token(NamedTuple):
    """A piece of text: `start`, `end`, category, what it means, and the folded characters."""

    start: int
    end: int
    cat: str
    value: Any
    text: str


class Number(NamedTuple):
    """A number as it is written. `unit` is UCUM or None, `low` and `high` the ends of a range or bound."""

    value: float | None
    unit: str | None
    low: float | None = None
    high: float | None = None
    comparator: str = "="
    negative: bool = False
    decimals: int = 0


#: Characters that are one character of plain text; everything keeps its place.
_SAME = {
    **dict.fromkeys("\u00a0\u2007\u202f\u2009\u200a\u2002\u2003\u2005\u200b\u200c\u200d\ufeff\u00ad\t", " "),
    **dict.fromkeys("‐‑‒–—―−﹣－", "-"),
    **dict.fromkeys("™®©", " "),
    **dict.fromkeys("’‘´`′", "'"),
    **dict.fromkeys("％", "%"),
    **dict.fromkeys("：", ":"),
    **dict.fromkeys("²", "2"),
    **dict.fromkeys("³", "3"),
    **dict.fromkeys("µμ", "u"),
    **dict.fromkeys("∼", "~"),
    **dict.fromkeys("≧⩾", "≥"),
    **dict.fromkeys("≦⩽", "≤"),
    **dict.fromkeys("·•●▪", "\n"),
}


class _Folded(dict[int, str]):
    """Character code → its plain, lower-case form of the same length; filled as characters are met."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        plain = unicodedata.normalize("NFKD", char)[:1] if code > 127 else char
        plain = plain if len(plain.lower()) == 1 else char
        self[code] = plain.lower() if len(plain.lower()) == 1 else plain
        return self[code]


_FOLD = _Folded({ord(char): plain for char, plain in _SAME.items()})


def fold(text: str) -> str:
    """Lower case, plain dashes, blanks, digits and quotes; same length, so that offsets stay true."""
    return text.translate(_FOLD)


_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?![\d,])(?:\.\d+)?|\d+(?:[.,]\d+)?)"
_UNIT = (
    r"(?:\s{0,2}(?:%|percent(?:ile)?\b|per\ cent\b|(?:ml|cc|g|l)\s?/\s?(?:min\s?/\s?)?m\^?2\b|l\s?/\s?min\b|mm\s?hg\b|"
    r"(?:mm|cm)\^?[23]\b|(?:ml|cc|mm|cm|mg|kg|m/s|cm/s|msec|ms|bpm|hu|au|beats?\s?(?:/|per)\s?min(?:ute)?|g|l|m)\b)"
    r"|\s?/\s?min\b|(?:st|nd|rd|th)\b(?:\s{1,2}percentile\b)?)"
)
_MASTER = re.compile(
    rf"""
    (?P<cadrads>\bcad[\s-]{{0,3}}rads\b(?:\s|v?\.?2\.0|2022|categor(?:y|ies)|scores?|class(?:ification)?|
        assessment|grade|stenosis|[:=(]|is|was|of|-)*(?P<cad>(?:[0-35n]|4\s?[ab]?)(?![\d%]|\.\d|[a-z]{{2}})
        (?:\s?[/,]\s?(?:p[0-4]|hrp|n|i[+±-]?|s|g|e|v)\b[+±-]?)*))
  | (?P<date>\b\d{{1,2}}(?P<sep>[./-])\d{{1,2}}(?P=sep)\d{{2,4}}\b|\b\d{{4}}-\d\d-\d\d\b|\b\d{{4}}/\d\d/\d\d\b
      |\b\d{{1,2}}\.?\s{_MONTH}\s?\d{{4}}\b|\b{_MONTH}\s(?:\d{{1,2}}(?:st|nd|rd|th)?,?\s)?(?:19|20)\d{{2}}\b
      |(?<=\bin\s)(?:19|20)\d\d\b(?!\s?(?:%|m[lsm]\b))|(?<=\bfrom\s)(?:19|20)\d\d\b(?!\s?(?:%|m[lsm]\b|to\b))
      |(?<=\bsince\s)(?:19|20)\d\d\b|(?<=\bdated\s)(?:19|20)\d\d\b
      |(?<=[mat]\sof\s)(?:19|20)\d\d\b(?!\s?(?:%|m[lsm]\b))|(?<=(?:study|.scan|.echo)\sof\s)(?:19|20)\d\d\b)
  | (?P<skip>\b\d{{1,2}}:\d{{2}}(?::\d{{2}})?\b|\+\d[\d\ ()/-]{{6,}}|\(\d{{2,5}}\)\s?\d[\d\ -]{{4,}}
      |\b\d{{3}}[\s.-]\d{{3}}[\s.-]\d{{4}}\b|\b\d{{3}}-\d{{4}}\b|\b0\d{{1,4}}[\s/-]\d{{3,}}(?:[\s-]\d+)*\b
      |\b\d{{6,}}\b|\b\d+(?:\.\d+){{2,}}\b|\d+/\d+(?=\s?mm\s?hg)|(?:\+\s?/?\s?-|±)\s?{_NUMBER}(?:\s?%)?)
  | (?P<num>(?<![\d.,]){_NUMBER}{_UNIT}?)
  | (?P<word>[a-z]+(?:\d(?![\d%]|[.,]\d))?)
  | (?P<punct>[,;:()\[\]/|<>≥≤~≈=&?+-])
    """,
    re.VERBOSE,
)
_UNITS = {
    "%": "%", "percent": "%", "per cent": "%", "percentile": "percentile", "ml/m2": "mL/m2", "cc/m2": "mL/m2",
    "g/m2": "g/m2", "l/min/m2": "L/min/m2", "l/min": "L/min", "mmhg": "mm[Hg]", "mm2": "mm2", "mm3": "mm3",
    "cm2": "cm2", "cm3": "mL", "ml": "mL", "cc": "mL", "mm": "mm", "cm": "cm", "mg": "mg", "kg": "kg", "g": "g",
    "l": "L", "m": "m", "m/s": "m/s", "cm/s": "cm/s", "ms": "ms", "msec": "ms", "bpm": "/min", "/min": "/min",
    "hu": "[hnsf'U]", "au": "1", "st": "ordinal", "nd": "ordinal", "rd": "ordinal", "th": "ordinal",
}  # fmt: skip
_SPLIT = re.compile(rf"({_NUMBER})(.*)", re.DOTALL)
_GAP = re.compile(r"[\s\-/'\"]*")
_SYMBOLS = {"<": "<", ">": ">", "≤": "<=", "≥": ">=", "~": "~", "≈": "~"}


@cache
def _unit(raw: str) -> str | None:
    plain = re.sub(r"\s+", " ", raw.strip().replace("^", ""))
    if not plain:
        return None
    if plain.endswith("percentile"):
        return "percentile"
    if plain.startswith("beat"):
        return "/min"
    return _UNITS.get(plain if plain == "per cent" else plain.replace(" ", ""))


def to_float(raw: str) -> float:
    """Of ``1,234.5`` and of ``45,5``: a comma before groups of three digits parts thousands, else decimals."""
    if re.fullmatch(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?", raw):
        return float(raw.replace(",", ""))
    return float(raw.replace(",", "."))


@lru_cache(maxsize=4096)
def _number(raw: str, before: str) -> Number:
    match = _SPLIT.match(raw)
    assert match is not None  # the master expression found a number here
    digits = match[1]
    fraction = re.search(r"[.,](\d{1,2}|\d{4,})$", digits)
    negative = before.endswith("-") and (len(before) < 2 or before[-2] in " \n:=(<>[")
    return Number(to_float(digits), _unit(match[2]), negative=negative, decimals=len(fraction[1]) if fraction else 0)


def tokens_of(folded: str, starts: Sequence[int] = ()) -> list[Token]:
    """All tokens of a folded text, in order. Unknown words have the category ``word``.

    `starts`: where sentences begin, ascending; no phrase runs over such a place.
    """
    raw: list[tuple[str, int, int, str]] = []
    for match in _MASTER.finditer(folded):
        kind = match.lastgroup or ""
        if kind == "cadrads":
            kind = "cad"
        raw.append((kind, match.start(kind), match.end(kind), match[kind]))
    found: list[Token] = []
    root = tree()
    i, count = 0, len(raw)
    while i < count:
        kind, start, end, text = raw[i]
        node = root.get(text) if kind in ("word", "num") else None
        best, last = None, i
        j = i
        while node is not None:
            if node.entry is not None:
                best, last = node.entry, j
            if not node.next:
                break
            k = j + 1
            while k < count and raw[k][3] in "-/":  # joined by hyphen or slash
                k += 1
            if k >= count or raw[k][0] not in ("word", "num") or raw[k][3] not in node.next:
                break
            gap = folded[raw[j][2] : raw[k][1]]
            if len(gap) > 40 or _GAP.fullmatch(gap) is None:
                break
            if "\n" in gap and bisect_right(starts, raw[k][1]) > bisect_right(starts, raw[j][2]):
                break
            node, j = node.next[raw[k][3]], k
        if best is not None:
            stop = raw[last][2]
            found.append(Token(start, stop, best[0], best[1], folded[start:stop]))
            i = last + 1
            continue
        value: Any = text
        if kind == "num":
            value = _number(text, folded[max(0, start - 2) : start])
        elif kind == "punct" and text in _SYMBOLS:
            kind, value = "comparator", _SYMBOLS[text]
            if i + 1 < count and raw[i + 1][3] == "=" and raw[i + 1][1] == end and value in "<>":
                value, end, i = value + "=", end + 1, i + 1
        found.append(Token(start, end, kind, value, text))
        i += 1
    return found
