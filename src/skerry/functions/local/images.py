"""Images where functions run as processes of this machine: a language's runtime, and a folder of packages if any.

An image is called `python3`, or `python3@sha256:<hex>` by what its packages were made from: so the same packages are
installed once, whoever asks for them, and an image that is changed is another folder.
"""

import asyncio
import hashlib
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from skerry.functions.errors import FunctionError
from skerry.functions.images import Recipe
from skerry.functions.local.runtimes import Runtime, default_runtimes
from skerry.kit.files import make_private_directory
from skerry.kit.tasks import SharedCalls

_BUILT = re.compile(r"([a-z0-9.+-]+)@sha256:([0-9a-f]{64})")
_FOLDER = re.compile(r"([a-z0-9.+-]+)-([0-9a-f]{64})")
_UNFINISHED, _LEAVING = ".new", ".old"


def language_of(image: str) -> str:
    """Return the language of an image."""
    return image.partition("@")[0]


def folder_of(directory: Path, image: str) -> Path | None:
    """Return the folder of an image's packages; None where the image has none."""
    found = _BUILT.fullmatch(image)
    return directory / f"{found[1]}-{found[2]}" if found else None


class LocalImages:
    """Installs packages for the functions of `LocalDriver`; an `ImageStore`.

    Args:
        directory: one folder an image; made if it is not there.
        runtimes: language to runtime; those of `LocalDriver` by default.
    """

    def __init__(self, directory: Path, runtimes: Mapping[str, Runtime] | None = None) -> None:
        self._directory = directory
        self._runtimes = runtimes or default_runtimes()
        self._installs = SharedCalls[str, None]("local-images")
        make_private_directory(directory)
        for suffix in (_UNFINISHED, _LEAVING):
            for left in directory.glob(f"*{suffix}"):
                shutil.rmtree(left)

    def built_in(self, name: str) -> str | None:
        """Return the runtime of that name: an image without packages."""
        return name if name in self._runtimes else None

    async def base(self, docker_url: str, language: str) -> str:  # noqa: ARG002 - there is nothing to pull
        """Return the runtime of a language, whatever container image is named for it.

        Raises:
            FunctionError: there is none for it.
        """
        if language not in self._runtimes:
            known = ", ".join(sorted(self._runtimes))
            raise FunctionError(f"language {language!r} is none of those that run on this machine: {known}")
        return language

    async def build(self, recipe: Recipe) -> str:
        """Install the packages of the language.

        Raises:
            FunctionError: they can't be installed; packages of the operating system are asked for.
            SystemError: there is no installer.
        """
        if recipe.system_packages:
            raise FunctionError(
                "systemDependencies can't be installed where functions run as processes of this machine: install them"
                " on it, or have functions run in containers (faas = docker)"
            )
        if not recipe.manifest.strip():
            return recipe.base
        digest = hashlib.sha256(f"{recipe.base}\0{recipe.manifest}".encode()).hexdigest()
        folder = self._directory / f"{recipe.base}-{digest}"
        if not folder.is_dir():
            await self._installs.run(digest, lambda: self._install(recipe, folder))
        return f"{recipe.base}@sha256:{digest}"

    async def _install(self, recipe: Recipe, folder: Path) -> None:
        new = folder.with_name(folder.name + _UNFINISHED)
        new.mkdir()
        try:
            await self._runtimes[recipe.base].install(new, recipe.manifest)
            new.rename(folder)
        finally:
            await asyncio.to_thread(shutil.rmtree, new, ignore_errors=True)

    async def has(self, image: str) -> bool:
        """Tell whether the language is known, and the packages are there."""
        folder = folder_of(self._directory, image)
        return language_of(image) in self._runtimes and (folder is None or folder.is_dir())

    async def built(self) -> set[str]:
        """Return the images with packages."""
        found = (_FOLDER.fullmatch(folder.name) for folder in self._directory.iterdir())
        return {f"{match[1]}@sha256:{match[2]}" for match in found if match}

    async def remove(self, image: str) -> None:
        """Remove an image's packages: all of them at once, so that half of an image is never taken for one."""
        if folder := folder_of(self._directory, image):
            await asyncio.to_thread(_remove, folder)


def _remove(folder: Path) -> None:
    leaving = folder.with_name(folder.name + _LEAVING)
    shutil.rmtree(leaving, ignore_errors=True)
    with suppress(FileNotFoundError):
        folder.rename(leaving)
    shutil.rmtree(leaving, ignore_errors=True)
