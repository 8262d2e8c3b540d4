"""Logging: a constant sentence plus fields, as JSON or for a person's eyes.

    log = get_logger(__name__)
    log.info("revision is ready", revision=name, seconds=1.2)

Levels: error = someone must act; warning = degraded but handled; info = state change.
`configure` is called once, by `main`; until then structlog's defaults hold (tests need nothing). Child processes of
ours write `records`, whatever is set here, and never call it.
Invariant: once it was called for machines, all that this process prints is one JSON object a line: what libraries log,
and what child processes print (`pass_on`), too.
"""

import logging
import sys
from typing import Any, Literal, cast

import structlog

from skerry.kit import records

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
        _add_logger_name,
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ]
    last: list[structlog.types.Processor] = json_lines if style == "json" else [text]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=_NamedLogger,
        cache_logger_on_first_use=True,
    )
    records.hand_to(_tell)
    of_libraries = logging.StreamHandler(sys.stderr)
    of_libraries.setFormatter(_library_formatter(style, shared, last))
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[of_libraries])


class _NamedLogger(structlog.PrintLogger):
    """Prints to standard error, and knows whose it is."""

    def __init__(self, name: str = "") -> None:
        super().__init__(sys.stderr)
        self.name = name


def _add_logger_name(logger: Any, _method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    if isinstance(logger, _NamedLogger) and logger.name:
        event["logger"] = logger.name
    return event


def _tell(level: str, logger: str, event: str, fields: records.Record) -> None:
    getattr(get_logger(logger), level)(event, **fields)


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
    """Print a line of a child process: for a person in words, for machines as a record of its own.

    What is a record already, of a process of ours, is printed as what this one says would be, at the levels that are
    logged. Any other line is printed whatever they are: it tells of trouble.

    Args:
        line: what it printed, without a line's end.
        process: its name in other records.
        pid: its process id.
    """
    processors = structlog.get_config()["processors"]
    is_for_machines = isinstance(processors[-1], structlog.processors.JSONRenderer)
    record = records.record_in(line)
    if record is not None:
        level = str(record["level"])
        if not structlog.get_logger().is_enabled_for(logging.getLevelNamesMapping().get(level.upper(), logging.ERROR)):
            return
        if is_for_machines:
            record["pid"] = pid
        else:
            record.pop("logger", None)
        line = cast("str", processors[-1](None, level, record | {"process": process}))
    elif is_for_machines:
        told = {"event": line, "process": process, "pid": pid}
        for processor in processors:
            told = processor(None, "warning", told)
        line = cast("str", told)
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
