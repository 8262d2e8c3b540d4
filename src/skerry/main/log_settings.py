"""What a process of ours logs, and in which form: the same settings for every one of them.

Owns their names, and which of them holds. Does not own how a log is written (`kit.logs`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from skerry.kit import logs
from skerry.kit.errors import ConfigurationError
from skerry.main.setting_values import ENVIRONMENT_PREFIX

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What is logged, to standard error.

    Attributes:
        log_level: from where on: one of `LEVELS`.
        log_style: text for people, json for machines.
    """

    log_level: str = "INFO"
    log_style: str = "text"

    def __post_init__(self) -> None:
        """Check both."""
        wrong = [
            f"log_level: must be DEBUG, INFO, WARNING or ERROR, not {self.log_level!r}"
            * (self.log_level not in LEVELS),
            f"log_style: must be text or json, not {self.log_style!r}" * (self.log_style not in {"text", "json"}),
        ]
        if any(wrong):
            raise ConfigurationError("; ".join(filter(None, wrong)))

    def configure(self) -> None:
        """Have this process log so."""
        logs.configure(style="json" if self.log_style == "json" else "text", level=self.log_level)


def read_log_settings(flags: Mapping[str, str | None], environment: Mapping[str, str]) -> LogSettings:
    """Return the settings of a process that has no others: defaults < environment < flags; raises ConfigurationError.

    Args:
        flags: by field name; None where a flag was not given.
        environment: the process' environment.
    """

    def given(name: str, default: str) -> str:
        return flags.get(name) or environment.get(ENVIRONMENT_PREFIX + name.upper()) or default

    return LogSettings(given("log_level", "INFO").upper(), given("log_style", "text"))
