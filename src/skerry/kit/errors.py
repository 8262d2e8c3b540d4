"""The base of every error that Skerry raises on purpose.

    SkerryError
    ├── ConfigurationError    a setting is wrong: exit code 2, nothing was started
    └── StartError            a part could not start (port taken, file missing): exit code 1

Each room draws its own tree below one of these in its `errors.py`. An error has a public sentence
(safe to show to any caller), a private detail (for the log), and a cause (`raise ... from`).
"""


class SkerryError(Exception):
    """An expected failure, told in one public sentence.

    Args:
        public: one sentence for the caller; it names the field or limit and the fix, never a secret.
        detail: what else an operator wants to read in the log.
    """

    def __init__(self, public: str, *, detail: str = "") -> None:
        super().__init__(public)
        self.public = public
        self.detail = detail


class ConfigurationError(SkerryError):
    """A setting is missing or wrong; raised before anything starts."""


class StartError(SkerryError):
    """A component could not reach its ready state; whatever it had started is stopped again."""
