"""Makes pages of templates: the frame, the style and the parts that all pages share.

A page is one file that needs nothing else, and nothing else may be loaded into it: it forbids that
to the browser too. All that is put in is escaped, and so are invisible characters and those that
turn the direction of text, so that no text of an event looks like something else. Labels are
Indonesian and English.

The folder `templates` has `frame.html.jinja` for a whole page, `parts.html.jinja` with macros
(`both` for a label in two languages, `time`, `tag`), `style.css`, and a template for each page.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from sinergi_schemas.indonesian_meanings import indonesian_of
from sinergi_schemas.plain_text import plain, plain_lines

_PART = re.compile(r"[^._\]]*[._\]]?")


def page(template: str, **values: Any) -> bytes:
    """A page in UTF-8.

    Args:
        template: the name of a file in the folder `templates`.
        values: for the template.

    Raises:
        jinja2.UndefinedError: the template uses a value that is not there.
    """
    return _environment().get_template(template).render(**values).encode()


@cache
def _environment() -> jinja2.Environment:
    folder = files("sinergi.pages") / "templates"
    found = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_escaped,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"lines": _lines, "breakable": _breakable, "indonesian": indonesian_of}
    # Our own file, and the only text that is not escaped.
    found.globals["style"] = Markup((folder / "style.css").read_text(encoding="utf-8"))  # noqa: S704
    return found


def _escaped(value: Any) -> Any:
    """Text without characters that nobody sees; what a macro has made is escaped already."""
    if value is None:
        return ""
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _breakable(text: str) -> Markup:
    """A path of a field, which may be broken after a dot, a bracket or an underscore."""
    parts = _PART.findall(text)
    return Markup("<wbr>").join(plain(each) for each in parts)


def _lines(text: str) -> Markup:
    """A text whose line ends count, as in `pre`."""
    return Markup.escape(plain_lines(text))
