"""Numbers of one sentence: comparators, ranges ("55-60 %", "between 40 and 45"), changes ("from 30 to 42 %")."""

from __future__ import annotations

from collections.abc import Sequence

from .tokens import Number, Token


def joined(tokens: Sequence[Token]) -> list[Token]:
    """The tokens with numbers that belong together made one; an "old" value of a change becomes category ``old``."""
    found: list[Token] = []
    i = 0
    while i < len(tokens):
        token = tokens[i]
        if token.cat != "num":
            found.append(token)
            i += 1
            continue
        second = _range_end(tokens, i, found)
        number: Number = token.value
        end, text = token.end, token.text
        step = 1
        if second is not None:
            other: Number = tokens[second].value
            low, high = _signed(number), _signed(other)
            if tokens[second - 1].text == "-" and low >= 0:
                high = abs(high)
            low, high = min(low, high), max(low, high)
            number = Number((low + high) / 2, other.unit or number.unit, low, high, decimals=number.decimals)
            end, text = tokens[second].end, f"{token.text}..{tokens[second].text}"
            step = second - i + 1
        comparator = _comparator(tokens, i, i + step)
        if comparator is not None:
            number = number._replace(comparator=comparator)
            if comparator != "~" and number.low is None:
                value = number.value
                number = number._replace(
                    value=None,
                    low=value if comparator[0] == ">" else None,
                    high=value if comparator[0] == "<" else None,
                )
        earlier = second is None and _changed_from(tokens, i)
        found.append(Token(token.start, end, "old" if earlier else "num", number, text))
        i += step
        if i < len(tokens) and tokens[i].cat == "comparator_after":
            i += 1
    return found


def _signed(number: Number) -> float:
    value = number.value or 0.0
    return -value if number.negative else value


def _same_unit(first: Number, second: Number) -> bool:
    ordinal = {first.unit, second.unit} <= {"ordinal", "percentile"}
    return first.unit is None or first.unit == second.unit or ordinal


def _range_end(tokens: Sequence[Token], i: int, before: Sequence[Token]) -> int | None:
    """Index of the number that ends the range that begins at `i`."""
    if i + 2 >= len(tokens) or tokens[i + 2].cat != "num":
        return None
    first, second = tokens[i].value, tokens[i + 2].value
    if not _same_unit(first, second):
        return None
    joint = tokens[i + 1]
    if joint.text == "-":
        ok = (second.value or 0) > (first.value or 0) or first.negative
    elif joint.cat == "to":
        ok = not any(token.cat == "from" for token in before[-2:]) or any(t.cat == "ranging" for t in before[-4:])
        ok = ok and ((second.value or 0) > (first.value or 0) or first.negative)
    elif joint.cat == "and":
        ok = any(token.cat == "between" for token in before[-3:])
    else:
        ok = False
    return i + 2 if ok else None


def _comparator(tokens: Sequence[Token], i: int, after: int) -> str | None:
    """What stands before (or, "or more", behind) the number `i`."""
    if after < len(tokens) and tokens[after].cat == "comparator_after":
        return str(tokens[after].value)
    for j in (i - 1, i - 2):
        if j < 0 or tokens[j].cat not in ("comparator", "filler", "preposition"):
            break
        if tokens[j].cat == "comparator":
            return str(tokens[j].value)
    return None


def _changed_from(tokens: Sequence[Token], i: int) -> bool:
    """Whether the number is the "x" of "from x to y"."""
    if i + 2 >= len(tokens) or not any(token.cat == "from" for token in tokens[max(0, i - 2) : i]):
        return False
    if any(token.cat == "ranging" for token in tokens[max(0, i - 4) : i]):
        return False
    return any(
        tokens[j].cat == "to" and any(t.cat == "num" for t in tokens[j + 1 : j + 4])
        for j in range(i + 1, min(i + 3, len(tokens)))
    )
