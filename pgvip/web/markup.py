"""HTML that is escaped unless it says that it is HTML already. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


class Html(str):
    """Text that is HTML, with every value in it escaped."""

    __slots__ = ()


def fill(template: str, **values: object) -> Html:
    """Put values into a template (str.format), escaped unless they are Html.

    >>> fill("<td>{x}{y}</td>", x="a<b", y=Html("<br>"))
    '<td>a&lt;b<br></td>'
    """
    escaped = {name: value if isinstance(value, Html) else safe(value) for name, value in values.items()}
    return Html(template.format(**escaped))


def safe(value: object) -> Html:
    """Escape one value, quotes too, so that it may stand in an attribute."""
    return Html(escape(str(value)))


def join(parts: Iterable[Html], between: str = "") -> Html:
    """Put pieces together."""
    return Html(between.join(parts))
