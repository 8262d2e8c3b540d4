"""Reading `run.json`, the note that a ready Skerry leaves in its data directory."""

import asyncio
import os
from pathlib import Path
from typing import Any

import orjson

from skerry.api.durations import parse_seconds
from skerry.kit.deadlines import within
from skerry.kit.errors import ConfigurationError, SkerryError

POLL_SECONDS = 0.1


def seconds(text: str, flag: str = "--timeout") -> float:
    """Read a flag that is a time; raises ConfigurationError."""
    try:
        return parse_seconds(text)
    except ValueError as error:
        raise ConfigurationError(f"{flag}: {text!r} {error}") from error


async def wait_for_note(root: Path, *, timeout_seconds: float) -> dict[str, Any]:
    """Return the note of a living process; raises SkerryError where none came in time."""
    try:
        with within(timeout_seconds or None):
            while True:
                note = _read(root / "run.json")
                if note:
                    return note
                if not timeout_seconds:
                    break
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise SkerryError(f"skerry on {root} was not ready within {timeout_seconds:g}s") from None
    raise SkerryError(f"no skerry is ready on {root}")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        note: dict[str, Any] = orjson.loads(path.read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None
    except OSError as error:
        raise SkerryError(f"{path} can't be read: {error.strerror}") from error
    try:
        os.kill(note["pid"], 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return note  # alive, and another user's
    return note
