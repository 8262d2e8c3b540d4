"""Images with packages, on this machine: shared by functions, and installed once."""

import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from skerry.functions import (
    Exec,
    Function,
    FunctionError,
    FunctionExecution,
    Runner,
    SystemError,  # noqa: A004
)
from skerry.functions.images import Recipe
from skerry.functions.local.driver import LocalDriver
from skerry.functions.local.images import LocalImages

SOURCE = b"from sigil import NAME\ndef handle(context, payload): return NAME"


@pytest.fixture
def images(tmp_path: Path) -> LocalImages:
    return LocalImages(tmp_path / "images")


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[LocalDriver]:
    async with LocalDriver(tmp_path / "functions", environments=tmp_path / "images") as driver:
        yield driver


def wheel(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(f"{name}.py", text)
        packed.writestr(f"{name}-1.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        packed.writestr(f"{name}-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        packed.writestr(f"{name}-1.dist-info/RECORD", f"{name}.py,,\n")
    return path


async def run(driver: LocalDriver, source: bytes, image: str, handler: str = "") -> Any:
    await driver.create(Function("f", faas_id="f"), Exec(source, handler, image, "f"))
    return await Runner(driver).run(FunctionExecution(faas_id="f"), None)


async def test_python_packages_of_an_image_are_there_for_its_functions_and_go_with_it(
    tmp_path: Path, images: LocalImages, driver: LocalDriver
) -> None:
    base = await images.base("r/python3-base:1", "python3")
    recipe = Recipe(base, "python3", f"{wheel(tmp_path, 'sigil', 'NAME = 1')}\n")
    image = await images.build(recipe)
    assert await images.build(recipe) == image
    assert await images.built() == {image}
    assert await images.has(image)
    assert await run(driver, SOURCE, image) == 1
    await images.remove(image)
    assert (await images.built(), await images.has(image)) == (set(), False)
    with pytest.raises(SystemError, match="is not there"):
        await run(driver, SOURCE, image)


async def test_a_function_sees_its_own_packages_before_those_of_its_image(
    tmp_path: Path, images: LocalImages, driver: LocalDriver
) -> None:
    both = f"{wheel(tmp_path, 'sigil', 'NAME = 1')}\n{wheel(tmp_path, 'motto', 'TEXT = 2')}\n"
    image = await images.build(Recipe("python3", "python3", both))
    own = wheel(tmp_path, "sigil", "NAME = 10")
    source = b"from sigil import NAME\nfrom motto import TEXT\ndef handle(context, payload): return NAME + TEXT"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in {"f.py": source, "requirements.txt": str(own).encode()}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    assert await run(driver, packed.getvalue(), image, "f.handle") == 12


async def test_node_packages_are_installed_and_their_scripts_never_run(
    tmp_path: Path, images: LocalImages, driver: LocalDriver
) -> None:
    if not shutil.which("npm"):
        pytest.skip("there is no npm on PATH: `make setup` brings one")
    package, trace = tmp_path / "sigil", tmp_path / "it-ran"
    package.mkdir()
    manifest = {"name": "sigil", "version": "1.0.0", "scripts": {"install": f"touch {trace}"}}
    (package / "package.json").write_text(json.dumps(manifest))
    (package / "index.js").write_text("module.exports = 'direwolf'")
    asked = json.dumps({"dependencies": {"sigil": f"file:{package}"}})
    image = await images.build(Recipe("nodejs", "nodejs", asked))
    assert await run(driver, b"module.exports = () => require('sigil')", image) == "direwolf"
    assert not trace.exists()


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        (Recipe("python3", "python3", "./missing.whl"), "requirements.txt could not be installed"),
        (Recipe("nodejs", "nodejs", "flask==1"), "package.json must be a JSON object"),
        (Recipe("python3", "python3", "", (("libpq5", ""),)), "systemDependencies can't be installed"),
    ],
    ids=["python3", "nodejs", "system"],
)
async def test_packages_that_cannot_be_had_are_told_and_leave_nothing(
    tmp_path: Path, images: LocalImages, recipe: Recipe, told: str
) -> None:
    with pytest.raises(FunctionError, match=told):
        await images.build(recipe)
    assert list((tmp_path / "images").iterdir()) == []


async def test_a_language_that_does_not_run_here_is_refused(images: LocalImages) -> None:
    with pytest.raises(FunctionError, match="'cobol' is none of those that run on this machine: nodejs, python3"):
        await images.base("r/cobol:1", "cobol")
    assert (images.built_in("python3"), images.built_in("cobol")) == ("python3", None)


async def test_half_of_an_image_that_is_being_removed_is_taken_for_none(
    tmp_path: Path, images: LocalImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe("python3", "python3", f"{wheel(tmp_path, 'sigil', 'NAME = 1')}\n")
    image = await images.build(recipe)
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)  # as a process that ends before it is through
    await images.remove(image)
    monkeypatch.undo()
    assert not await images.has(image)
    again = LocalImages(tmp_path / "images")
    assert await again.built() == set()
    assert list((tmp_path / "images").iterdir()) == []
    assert await again.build(recipe) == image
