"""What stands in the browser when a function does not build or fails: the reason, the stack, the lines. Pure.

A page for browsers, text for everybody else. Never part of a deployed function's answers.
"""

import html
import re
from dataclasses import dataclass

#: Lines shown before and after the one that failed.
AROUND = 3

_PLACE = re.compile(r"\(?(?P<file>[^\s()]+):(?P<line>\d+):(?P<column>\d+)\)?\s*$", re.MULTILINE)
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:3rem auto;max-width:60rem;padding:0 1rem;color:#1c2024}"
    "h1{font-size:1.1rem;color:#b42318;white-space:pre-wrap;overflow-wrap:anywhere}"
    "pre{background:#f4f5f7;padding:1rem;overflow:auto;font:13px/1.6 ui-monospace,monospace}"
    "@media(prefers-color-scheme:dark){body{background:#14171a;color:#e6e8ea}pre{background:#1f2428}h1{color:#ff8a7a}}"
)


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong.

    Attributes:
        title: one line.
        detail: a stack; may be empty.
        excerpt: lines of the source; may be empty.
    """

    title: str
    detail: str = ""
    excerpt: str = ""

    def as_text(self) -> str:
        """Write it for a terminal or a client."""
        return "\n\n".join(part for part in (self.title, self.detail, self.excerpt) if part) + "\n"

    def as_html(self) -> str:
        """Write it for a browser."""
        blocks = "".join(f"<pre>{html.escape(part)}</pre>" for part in (self.excerpt, self.detail) if part)
        return (
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>skerry dev</title>'
            f"<style>{_STYLE}</style><h1>{html.escape(self.title)}</h1>{blocks}"
        )


def excerpt(stack: str, files: dict[str, str]) -> str:
    """Return the source around the innermost frame that is in one of the files; "" where none is."""
    for found in _PLACE.finditer(stack):
        text = files.get(found["file"])
        if text is not None:
            return _around(text.splitlines(), int(found["line"]), found["file"])
    return ""


def _around(lines: list[str], line: int, file: str) -> str:
    first, last = max(line - AROUND, 1), min(line + AROUND, len(lines))
    width = len(str(last))
    shown = [
        f"{'>' if number == line else ' '} {number:>{width}} | {lines[number - 1]}" for number in range(first, last + 1)
    ]
    return "\n".join([file, *shown])
