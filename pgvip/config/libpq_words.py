"""A connection string of libpq: `keyword=value` pairs, as psql and the manual write them (34.1.1.1)."""

from __future__ import annotations

_BLANKS = " \t\n\r\f\v"


class StringError(ValueError):
    """The text is no connection string; says why."""


def words_of(text: str) -> dict[str, str]:
    r"""Keywords and values; the last of a keyword counts. StringError for anything else.

    >>> words_of("host=w.example.org dbname = 'my witness' port=5433")
    {'host': 'w.example.org', 'dbname': 'my witness', 'port': '5433'}
    >>> words_of(r"user=it\'s"), words_of("user=''")
    ({'user': "it's"}, {'user': ''})
    """
    found, rest = {}, text.lstrip(_BLANKS)
    while rest:
        name, sign, rest = rest.partition("=")
        name = name.strip(_BLANKS)
        if not sign or not name or any(blank in name for blank in _BLANKS):
            raise StringError(f'no "=" after "{name.split()[0] if name.split() else ""}"')
        found[name], rest = _value(rest.lstrip(_BLANKS))
        rest = rest.lstrip(_BLANKS)
    return found


def _value(text: str) -> tuple[str, str]:
    """The first value, and what follows it."""
    quoted = text.startswith("'")
    taken: list[str] = []
    position = int(quoted)
    while position < len(text):
        sign = text[position]
        if sign == "\\" and position + 1 < len(text):
            position += 1
            sign = text[position]
        elif (sign == "'") if quoted else (sign in _BLANKS):
            return "".join(taken), text[position + 1 :]
        elif sign == "\\":
            break  # at the end it escapes nothing
        taken.append(sign)
        position += 1
    if quoted:
        raise StringError("a quote is not closed")
    return "".join(taken), ""
