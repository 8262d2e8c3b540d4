"""The log's settings: every bound and interval of the core, by name and unit."""

from dataclasses import dataclass, field, fields

from skerry.kit.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class CompactionPolicy:
    """How much history is kept; both bounds hold, so the longer history wins.

    Attributes:
        keep_revisions: at least the last this many revisions stay.
        keep_seconds: at least the revisions of the last this many seconds stay (Kubernetes' API server
            compacts etcd after five minutes: a watcher that was away for less resumes without a new list).
            A restarted process counts from its start.
        interval_seconds: how often the policy is applied.
    """

    keep_revisions: int = 10_000
    keep_seconds: float = 300.0
    interval_seconds: float = 60.0

    def __post_init__(self) -> None:
        require_positive(self)


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Bounds of a `RevisionLog`.

    Attributes:
        value_bytes_max: the largest value; above etcd's 1.5 MiB, and enough for 3 MiB request bodies.
        watchers_max: watches open at once: ten thousand of clients, and our own, which are one for each kind.
        recent_events_max: newest events kept at hand for all watchers; one that is further behind reads the database.
        recent_bytes_max: bytes of values of those.
        cache_bytes_max: about how much memory the copies of resources take, from which reads are answered; beyond it
            the largest is given up, and read from the database.
        copy_wait_seconds_max: how long a reader waits for such a copy to come to the newest revision, before it reads
            the database.
        commit_wait_seconds_max: the same where this process is the only writer, and the copy lacks a commit at most: a
            disk that syncs slower than that makes writers wait, and no readers.
        batch_events: events read from the database at once.
        poll_seconds: how soon a change is seen that no wake-up told of (another process wrote it).
        progress_seconds: how often a quiet watcher is told how far it has seen.
        compaction: how much history is kept.
    """

    value_bytes_max: int = 4 * 1024 * 1024
    watchers_max: int = 10_700
    recent_events_max: int = 2_000
    recent_bytes_max: int = 32 * 1024 * 1024
    cache_bytes_max: int = 64 * 1024 * 1024
    copy_wait_seconds_max: float = 1.0
    commit_wait_seconds_max: float = 0.02
    batch_events: int = 500
    poll_seconds: float = 1.0
    progress_seconds: float = 10.0
    compaction: CompactionPolicy = field(default_factory=CompactionPolicy)

    def __post_init__(self) -> None:
        require_positive(self)


def require_positive(settings: object) -> None:
    """Raise `ConfigurationError` naming every number of a settings dataclass that is not above zero."""
    wrong = [
        f"{item.name}={value}"
        for item in fields(settings)  # type: ignore[arg-type] # any dataclass instance
        if type(value := getattr(settings, item.name)) in {int, float} and value <= 0
    ]
    if wrong:
        raise ConfigurationError(f"{type(settings).__name__}: must be above zero: {', '.join(wrong)}")
