"""Logging: a constant sentence plus fields, as JSON or for a person's eyes.

    log = get_logger(__name__)
    log.info("revision is ready", revision=name, seconds=1.2)

Levels: error = someone must act; warning = degraded but handled; info = state change.
`configure` is called once, by `main`; until then structlog's defaults hold (tests need nothing).
"""

import logging
import sys
from typing import Literal, cast

import structlog

Style = Literal["json", "text"]


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a module."""
    return cast("structlog.stdlib.BoundLogger", structlog.get_logger(name))


def configure(*, style: Style, level: str) -> None:
    """Set up logging of this process, to standard error.

    Args:
        style: "json" for machines, "text" for a person.
        level: a level of `logging` by name, such as "INFO".
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Tracebacks are plain in both: the default for people shows local variables, and with them secrets.
    text = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
    last: list[structlog.types.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()] if style == "json" else [text]
    )
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(number, logging.WARNING), stream=sys.stderr, format="%(name)s: %(message)s")
