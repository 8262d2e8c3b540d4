"""Source maps: from a place in a bundle back to the place that its author wrote.

Reads version 3 (https://tc39.es/ecma426/), as esbuild writes it: no sections, one `mappings` string of
VLQ numbers in base64. Pure. Lines and columns count from 1 here, columns in UTF-16 units, as engines tell
them; the format itself counts from 0.
"""

import bisect
import json
import string
from dataclasses import dataclass
from typing import Self

_BASE64 = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
_DIGITS = {character: value for value, character in enumerate(_BASE64)}
_CONTINUED, _DIGIT_BITS = 0b100000, 5


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a source file: line and column (UTF-16 units) from 1."""

    file: str
    line: int
    column: int


class SourceMap:
    """The mappings of one bundle; make it with `parse`."""

    def __init__(self, lines: list[list[tuple[int, Place | None]]]) -> None:
        self._lines = lines

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a source map of version 3.

        Raises:
            ValueError: the text is no source map, or its mappings are malformed.
        """
        document = json.loads(text)
        if not isinstance(document, dict) or document.get("version") != 3:
            raise ValueError("not a source map of version 3")
        try:
            return cls(_lines(document["mappings"], document["sources"]))
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError("malformed source map") from error

    def origin(self, line: int, column: int) -> Place | None:
        """Return what the author wrote at a place of the bundle.

        Args:
            line: line of the bundle, from 1.
            column: column in UTF-16 units, from 1; 0 where only the line is known.

        Returns:
            The place of the nearest mapping at or before it; None for code that the bundler added.
        """
        segments = self._lines[line - 1] if 0 < line <= len(self._lines) else []
        if column == 0:
            return next((place for _, place in segments if place), None)
        at = bisect.bisect_right(segments, column - 1, key=lambda segment: segment[0])
        return segments[at - 1][1] if at else None


def _lines(mappings: str, sources: list[str]) -> list[list[tuple[int, Place | None]]]:
    """Decode `mappings`: lines by ";", segments by ",", each number relative to the one before of its kind."""
    lines = []
    source = line = column = 0
    for encoded_line in mappings.split(";"):
        bundle_column = 0
        segments: list[tuple[int, Place | None]] = []
        for encoded in filter(None, encoded_line.split(",")):
            numbers = _numbers(encoded)
            bundle_column += numbers[0]
            if len(numbers) == 1:  # the bundler's own code: no origin
                segments.append((bundle_column, None))
                continue
            more_source, more_line, more_column = numbers[1:4]
            source, line, column = source + more_source, line + more_line, column + more_column
            segments.append((bundle_column, Place(sources[source], line + 1, column + 1)))
        lines.append(segments)
    return lines


def _numbers(encoded: str) -> list[int]:
    """Decode a run of base64 VLQ numbers: 5 bits a digit, lowest first; the lowest bit of all is the sign."""
    numbers = []
    value = shift = 0
    for character in encoded:
        if character not in _DIGITS:
            raise ValueError(f"{character!r} is no base64 digit")
        digit = _DIGITS[character]
        value |= (digit & ~_CONTINUED) << shift
        shift += _DIGIT_BITS
        if not digit & _CONTINUED:
            numbers.append(-(value >> 1) if value & 1 else value >> 1)
            value = shift = 0
    if shift:
        raise ValueError("a number of the mappings is cut off")
    return numbers
