"""Compile the modules of the engine's host that each request goes through.

    python scripts/compile_host.py

mypyc makes C of them, and a C compiler a shared library (docs/adr/0048-the-host-is-compiled-ahead-of-time.md). They are
put where `skerry.kit.compiled_modules` looks. Without a C compiler or Python's headers nothing is done: the host is
interpreted then, and each request takes a fifth more processor time.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from skerry.kit.compiled_modules import FOLDER, LIST, digests

#: Within `src/skerry`. Without those that hold what can't be compiled: subclasses of `threading.local` and of ctypes'
#: structures, weak references.
MODULES = (
    *("engine/answers", "engine/call_time", "engine/connection", "engine/exchange", "engine/fetching", "engine/http1"),
    *(
        "engine/concurrent_instance",
        "engine/interruption",
        "engine/invocation",
        "engine/javascript",
        "engine/javascript_guest",
    ),
    *("engine/leadership", "engine/leases", "engine/loop", "engine/measures", "engine/open_calls"),
    *("engine/platform_calls", "engine/pool", "engine/readiness", "engine/serving", "engine/thread_fetching"),
    *("engine/upstream/carriers", "engine/upstream/connections", "engine/upstream/decoding"),
    *("engine/upstream/dialing", "engine/upstream/errors", "engine/upstream/exchange", "engine/upstream/http2"),
    *("engine/upstream/limits", "engine/upstream/pool", "engine/upstream/requests", "engine/upstream/resolving"),
    *("engine/upstream/responses", "engine/upstream/waits"),
)
#: The one library that they are all in is a module of this name.
LIBRARY = "skerry.engine.compiled_host"
#: Of the C compiler: -O2 takes nearly twice the time, and -O3 gave code that was no faster.
FLAGS = ("-shared", "-fPIC", "-O1", "-fwrapv", "-DNDEBUG", "-w")
SETTINGS = """[mypy]
mypy_path = {source}
namespace_packages = True
explicit_package_bases = True
ignore_missing_imports = True
cache_dir = {cache}
"""


def imported_by(sources: list[Path]) -> set[Path]:
    """Return our modules that these import: the compiler writes their constants out."""
    trees = [ast.parse(source.read_text()) for source in sources]
    names = {
        node.module for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module
    }
    places = {FOLDER.parent.parent.joinpath(*name.split(".")).with_suffix(".py") for name in names}
    return {place for place in places if place.is_relative_to(FOLDER.parent) and place.exists()}


def c_sources(sources: list[Path], work: Path) -> dict[str, list[str]]:
    """Have C made of Python modules; return its files and the compiler's arguments for them, by module."""
    from mypyc.build import mypycify

    settings = work / "mypy.ini"
    settings.write_text(SETTINGS.format(source=FOLDER.parent.parent, cache=work / "mypy"))
    made = mypycify(
        ["--config-file", str(settings), *map(str, sources)], group_name=LIBRARY, target_dir=str(work / "c")
    )
    return {each.name: [*each.sources, *(f"-I{folder}" for folder in each.include_dirs)] for each in made}


def build(compiler: str, module: str, arguments: list[str], folder: Path) -> None:
    """Make one module's library, in a folder that has its package's folders then; raises CalledProcessError."""
    library = folder.joinpath(*module.split(".")[1:]).with_suffix(sysconfig.get_config_var("EXT_SUFFIX"))
    library.parent.mkdir(parents=True, exist_ok=True)
    headers = f"-I{sysconfig.get_path('include')}"
    subprocess.run([compiler, *FLAGS, headers, *arguments, "-o", str(library)], check=True)


def main() -> int:
    """Compile them where that can be done; says so where it can't."""
    compiler = shutil.which((sysconfig.get_config_var("CC") or "cc").split()[0])
    headers = Path(sysconfig.get_path("include"), "Python.h")
    if compiler is None or not headers.exists():
        what = "C compiler" if compiler is None else str(headers)
        sys.stderr.write(f"No {what}: the host is interpreted, which takes a fifth more processor time a request.\n")
        return 0
    sources = [FOLDER.parent / f"{module}.py" for module in MODULES]
    made_of = digests({*sources, *imported_by(sources)})
    with tempfile.TemporaryDirectory(prefix="skerry-host-") as name, ThreadPoolExecutor(os.cpu_count()) as threads:
        work = Path(name)
        made = c_sources(sources, work)
        list(threads.map(lambda module: build(compiler, module, made[module], work / "made"), made))
        # The list goes first and comes last: a process that starts meanwhile interprets all of them, and never a part.
        (FOLDER / LIST).unlink(missing_ok=True)
        shutil.rmtree(FOLDER, ignore_errors=True)
        shutil.move(work / "made", FOLDER)
        (work / LIST).write_text(json.dumps(made_of, indent=1))
        shutil.move(work / LIST, FOLDER / LIST)
    return 0


if __name__ == "__main__":
    sys.exit(main())
