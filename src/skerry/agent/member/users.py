"""Users of this machine that programs run as: one for each application, from a range that nobody else has.

    users.json          {"<application>": <user id>}

Owns that file. Only an agent of root's gives users; of another's, programs run as the agent does. All programs are in
one group, so that they can share folders of the machine.

Invariant: two applications never have one user, and one keeps its own for as long as this node has it.
"""

import stat
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

import orjson

from skerry.agent.member.errors import ApplicationError
from skerry.kit.errors import ConfigurationError, StartError
from skerry.kit.files import write_private

_FILE = "users.json"

User = tuple[int, int]
"""The ids of a user and of its group."""


@dataclass(frozen=True, slots=True)
class UserRange:
    """Ids of users that programs may have; the first is that of their group, too.

    Attributes:
        first: of them.
        count: how many there are.
    """

    first: int
    count: int


class ProgramUsers:
    """Gives users to applications.

    Args:
        data_dir: of this node; where there is a range, others may pass through it.
        users: that there are; None where programs run as this process does.

    Raises:
        ConfigurationError: other users can't come to the data directory.
        StartError: what was given before can't be read.
    """

    def __init__(self, data_dir: Path, users: UserRange | None) -> None:
        self._path = data_dir / _FILE
        self._users = users
        self._given: dict[str, int] = {}
        if users is not None:
            _require_passage(data_dir)
            self._given = self._read()

    def _read(self) -> dict[str, int]:
        try:
            return {str(name): int(user) for name, user in orjson.loads(self._path.read_bytes()).items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError) as error:
            raise StartError(f"{self._path} can't be read: remove it, and programs get other users") from error

    def of(self, application: str) -> User | None:
        """Return the ids of user and group of an application; None for those of this process.

        Raises:
            ApplicationError: all are taken.
            OSError: it can't be written down who has which.
        """
        if self._users is None:
            return None
        if application not in self._given:
            free = set(range(self._users.first, self._users.first + self._users.count)) - set(self._given.values())
            if not free:
                raise ApplicationError(f"all {self._users.count} users for programs are taken (programUsers)")
            self._keep({**self._given, application: min(free)})
        return self._given[application], self._users.first

    def forget(self, application: str) -> None:
        """Take back the user of an application that is gone; raises OSError."""
        self.forget_all_but(self._given.keys() - {application})

    def forget_all_but(self, names: AbstractSet[str]) -> None:
        """Take back the users of applications that are gone; raises OSError."""
        kept = {name: user for name, user in self._given.items() if name in names}
        if kept != self._given:
            self._keep(kept)

    def _keep(self, given: dict[str, int]) -> None:
        write_private(self._path, orjson.dumps(given))
        self._given = given


def _require_passage(data_dir: Path) -> None:
    """Let others pass through the data directory, which they can't list; all above it they must pass, too."""
    data_dir.chmod(data_dir.stat().st_mode | stat.S_IXGRP | stat.S_IXOTH)
    for folder in data_dir.resolve().parents:
        if not folder.stat().st_mode & stat.S_IXOTH:
            raise ConfigurationError(
                f"programUsers: the users of programs can't come to {data_dir}, since {folder} is for its owner alone: "
                f"move dataDir, let others pass (chmod o+x), or set programUsers to null, and programs run as root"
            )


def can_read(path: Path) -> bool:
    """Tell whether a user that this machine knows nothing of can read a file."""
    real = path.resolve()
    readable = real.stat().st_mode & stat.S_IROTH
    return bool(readable) and all(folder.stat().st_mode & stat.S_IXOTH for folder in real.parents)
