"""The file of the JavaScript engine component: is it the one that this code runs?

Owns the number of the contract. Light to import, so that whoever starts workers asks before it starts anything.
"""

import os
from pathlib import Path

from skerry.kit.errors import StartError

#: What the host and the engine component say to each other, as the component's last section has it: the start of the
#: sha256 of world.wit, bindings.js, stop_checks.mjs and rejections.mjs. One of other sources is refused, since it would
#: fail in ways that tell nothing.
ENGINE_CONTRACT = "f17ac43c2091d58c"
_MARK = f"skerry:contract{ENGINE_CONTRACT}".encode()


def check_component(component: Path) -> None:
    """Look whether a component keeps the contract of this code.

    Raises:
        StartError: it can't be read, or keeps another; the error names the file and what to do.
    """
    try:
        with component.open("rb") as file:
            file.seek(-min(len(_MARK), os.fstat(file.fileno()).st_size), os.SEEK_END)
            end = file.read(len(_MARK))
    except OSError as error:
        raise StartError(
            f"the JavaScript engine component cannot be read from {component}: run `make setup` to build it",
            detail=str(error),
        ) from error
    if end != _MARK:
        raise StartError(
            f"the JavaScript engine component {component} is older or newer than this code: run `make js-engine` to "
            "build it again"
        )
