"""Python's `tarfile`, whose filters refuse what leads out of a folder.

They came with 3.12 and 3.11.4; Debian 12, which many devices run, has 3.11.2: there it is the same code, from PyPI.

    from skerry.kit.tar import tarfile
"""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING or sys.version_info >= (3, 12):  # the same types
    import tarfile
else:
    from backports import tarfile

__all__ = ["tarfile"]
