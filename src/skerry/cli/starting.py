"""`skerry init`: a folder with a function to begin with. What is in it stands under `templates/`, as it is written.

Invariant: a file that exists is never touched.
"""

import re
from pathlib import Path
from typing import Annotated

import typer

from skerry.cli.printing import out
from skerry.kit.errors import ConfigurationError

LANGUAGES = ("ts", "js", "rust", "go", "python")
_TEMPLATES = Path(__file__).with_name("templates")
_SUFFIX = ".template"
#: Also the name of a Cargo package, and a label of DNS.
_NAME_CHARACTERS_MAX = 63
_NEXT = {"ts": "skerry dev", "js": "skerry dev"}


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to begin; made where it is absent.")] = Path(),
    ts: Annotated[bool, typer.Option("--ts", help="TypeScript; the default.")] = False,
    js: Annotated[bool, typer.Option("--js", help="JavaScript.")] = False,
    rust: Annotated[bool, typer.Option("--rust", help="Rust, for WASI preview 1.")] = False,
    go: Annotated[bool, typer.Option("--go", help="Go, for WASI preview 1.")] = False,
    python: Annotated[bool, typer.Option("--python", help="Python, as a component.")] = False,
) -> None:
    """Write a function to begin with: source, edgefunction.yaml, and a README.md that says how it is built.

    Files that exist are left as they are.
    """
    given = [name for name, flag in zip(LANGUAGES, (ts, js, rust, go, python), strict=True) if flag]
    if len(given) > 1:
        raise ConfigurationError(f"give one of {', '.join(f'--{name}' for name in LANGUAGES)}")
    language = given[0] if given else "ts"
    for path, written in write_template(language, folder):
        out.print(f"{'wrote' if written else 'kept '} {path}")
    out.print(f"next: {'' if folder == Path() else f'cd {folder} && '}{_NEXT.get(language, 'see README.md')}")


def write_template(language: str, folder: Path) -> list[tuple[Path, bool]]:
    """Write the files of a language; return each one's path, and whether it was written or had been there.

    Raises:
        ConfigurationError: the folder can't be written.
    """
    name = function_name(folder.resolve().name)
    done = []
    for template in sorted((_TEMPLATES / language).rglob(f"*{_SUFFIX}")):
        path = folder / template.relative_to(_TEMPLATES / language).with_suffix("")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            done.append((path, _write_new(path, template.read_text().replace("{{name}}", name))))
        except OSError as error:
            raise ConfigurationError(f"{path} can't be written: {error.strerror}") from error
    return done


def _write_new(path: Path, text: str) -> bool:
    """Write a file that is not there; returns whether it was not."""
    try:
        with path.open("x") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True


def function_name(text: str) -> str:
    """Make a name of a folder's: lower-case letters, digits and dashes, a letter first."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:_NAME_CHARACTERS_MAX].strip("-")
    return name if name[:1].isalpha() else f"fn-{name}".strip("-")[:_NAME_CHARACTERS_MAX].strip("-")
