"""Why a log is not moved.

SkerryError
└── MovingError
    ├── InUseError          a control plane uses the database, or another one is moved into it
    ├── NotEmptyError       the target holds something else than a part of this source
    ├── BackupDamagedError  a file is no backup, is cut off, or is not as it was written
    ├── DigestError         what arrived is not what was sent
    └── ArtifactGoneError   an artifact was removed since it was listed: nothing names it any more
"""

from skerry.kit.errors import SkerryError


class MovingError(SkerryError):
    """A log can't be moved as asked; what is there stays as it is, unless the message says otherwise."""


class InUseError(MovingError):
    """A control plane uses the database, or something is being moved into it."""


class NotEmptyError(MovingError):
    """The target holds something else than a part of this source."""


class BackupDamagedError(MovingError):
    """A file is no backup, is cut off, or is not as it was written."""


class DigestError(MovingError):
    """What arrived is not what was sent."""


class ArtifactGoneError(MovingError):
    """An artifact was removed since it was listed: nothing names it any more."""
