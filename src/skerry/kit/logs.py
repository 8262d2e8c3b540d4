"""Logging: a constant sentence plus fields, as JSON or for a person's eyes.

    log = get_logger(__name__)
    log.info("revision is ready", revision=name, seconds=1.2)

Levels: error = someone must act; warning = degraded but handled; info = state change.
`configure` is called once, by `main`; until then structlog's defaults hold (tests need nothing).
Invariant: once it was called for machines, all that this process prints is one JSON object a line: what libraries log,
and what child processes print (`pass_on`), too.
"""

import json
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
    json_lines: list[structlog.types.Processor] = [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ]
    last: list[structlog.types.Processor] = json_lines if style == "json" else [text]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    of_libraries = logging.StreamHandler(sys.stderr)
    of_libraries.setFormatter(_library_formatter(style, shared, last))
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[of_libraries])


def _library_formatter(
    style: Style, shared: list[structlog.types.Processor], last: list[structlog.types.Processor]
) -> logging.Formatter:
    if style == "text":
        return logging.Formatter("%(name)s: %(message)s")
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )


def pass_on(line: str, *, process: str, pid: int) -> None:
    """Print a line of a child process, whatever the level: for a person as it is, for machines as a record of its own.

    What is a record already, of a process that logs as this one does, stays as it is.

    Args:
        line: what it printed, without a line's end.
        process: its name in other records.
        pid: its process id.
    """
    processors = structlog.get_config()["processors"]
    if isinstance(processors[-1], structlog.processors.JSONRenderer) and not _is_record(line):
        record = {"event": line, "process": process, "pid": pid}
        for processor in processors:
            record = processor(None, "warning", record)  # what our processes print bare tells of trouble
        line = cast("str", record)
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _is_record(line: str) -> bool:
    if not line.startswith("{"):
        return False
    try:
        found: dict[str, object] = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return found.keys() >= {"event", "level", "timestamp"}
