"""Hashed n-grams of a report, for the classifier."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from .tokens import fold

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

#: The category itself, where a report states it: the classifier must judge by the findings.
_STATED = re.compile(
    r"cad[\s-]{0,3}rads\b(?:[\s:=()-]|2\.0|categor(?:y|ies)|score|class(?:ification)?|is|was|of){0,12}"
    r"(?:[0-5n]\s?[ab]?\b(?:\s?/\s?[a-z]{1,3}\d?[+-]?)*)?"
)
_WORD = re.compile(
    r"(?P<percent>\d+(?:[.,]\d+)?(?:\s?-\s?\d+)?)\s?(?:%|percent\b)|(?P<word>[a-z]+\d?|\d+)|(?P<end>[.;:\n])"
)
_LIMITS = ((0, "0"), (24, "1-24"), (49, "25-49"), (69, "50-69"), (99, "70-99"))


def words_of(text: str) -> list[str]:
    """Plain words; a percentage becomes its CAD-RADS range, so that 62 % and 58 % are the same word."""
    found: list[str] = []
    for match in _WORD.finditer(_STATED.sub(" ", fold(text))):
        if match["percent"]:
            value = float(re.split(r"\s?-\s?", match["percent"])[-1].replace(",", "."))
            found.append("%" + next((name for limit, name in _LIMITS if value <= limit), "100"))
        elif match["word"]:
            found.append("#" if match["word"].isdigit() else match["word"])
        elif found and found[-1] != "|":
            found.append("|")
    return found


def grams(text: str, word_grams: int, char_grams: Sequence[int]) -> Iterator[str]:
    """Word n-grams within a clause, and character n-grams within a word (which forgive misspellings)."""
    words = words_of(text)
    for i, word in enumerate(words):
        if word == "|":
            continue
        for n in range(1, word_grams + 1):
            gram = words[i : i + n]
            if len(gram) == n and "|" not in gram:
                yield " ".join(gram)
        padded = f"<{word}>"
        for n in char_grams:
            for k in range(len(padded) - n + 1):
                yield "c" + padded[k : k + n]


def matrix(texts: Sequence[str], bits: int, word_grams: int, char_grams: Sequence[int]) -> csr_matrix:
    """Texts as rows of hashed n-gram counts.

    Returns
    -------
    scipy.sparse.csr_matrix
        ``(len(texts), 2 ** bits)``; 1 + log of the counts, each row of length 1 (an empty text: a row of zeros).
    """
    from scipy.sparse import csr_matrix

    columns: list[int] = []
    values: list[float] = []
    ends = [0]
    mask = (1 << bits) - 1
    for text in texts:
        counts = Counter(crc32(gram.encode()) & mask for gram in grams(text, word_grams, char_grams))
        row = 1 + np.log(np.fromiter(counts.values(), float, len(counts)))
        columns += counts.keys()
        values += (row / max(float(np.linalg.norm(row)), 1e-12)).tolist()
        ends.append(len(columns))
    return csr_matrix((values, columns, ends), shape=(len(texts), 1 << bits))
