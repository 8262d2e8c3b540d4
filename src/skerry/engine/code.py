"""What a function's Wasm binary is, and how it is made to run.

Tells by the binary itself, so a worker needs to be told nothing: a module that imports the JavaScript engine carries a
bundle; one that imports WASI preview 1 and exports `_start` is a program of its own; a component is told by the handler
that it exports. Anything else is refused with what was found and what is accepted.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from wasmtime import Engine as WasmEngine
from wasmtime import FuncType, MemoryType, Module
from wasmtime.component import Component

from skerry.engine.compiled import load_function
from skerry.engine.components.command_component import COMMAND, COMMAND_VERSIONS, CommandComponent
from skerry.engine.components.function_component import (
    FUNCTION_FILTERING,
    FUNCTION_HANDLER,
    FUNCTION_VERSIONS,
    FunctionComponent,
)
from skerry.engine.components.http_component import HTTP_HANDLER, HTTP_VERSIONS, HttpComponent
from skerry.engine.errors import LoadError
from skerry.engine.host import JavaScriptEngine
from skerry.engine.instances import RevisionInstance, Surroundings
from skerry.engine.javascript import Instance
from skerry.engine.linking import ENGINE_IMPORT, linked_bundle
from skerry.engine.manifest import FunctionManifest
from skerry.engine.source_frames import SourceFrames
from skerry.engine.wasi_command import WASI, WasiCommand

_COMPONENT = b"\0asm\x0d\0\x01\0"
_MODULE = b"\0asm\x01\0\0\0"
#: Exports of a component that are named in its refusal.
_NAMED_MAX = 10
_PROXY_EXPORT = "proxy_abi_version_"
ANSWERS_ACCEPTED = (
    "a WASI preview 1 command (it imports wasi_snapshot_preview1 alone and exports _start and memory), "
    f"a component that exports {HTTP_HANDLER}@0.2, {COMMAND}@0.2 or {FUNCTION_HANDLER}@0.1, "
    "or what `jsSource` is built into"
)
FILTERS_ACCEPTED = f"a component that exports {FUNCTION_FILTERING}@0.1, a Proxy-Wasm module, or JavaScript"
ACCEPTED = f"{ANSWERS_ACCEPTED}; in mode filter {FILTERS_ACCEPTED}"


class Code(Protocol):
    """A revision's code, read and linked.

    Attributes:
        streams: its instances are `StreamingInstance`s.
        answers: they answer requests, as functions in mode backend do.
        filters: they see the requests to a backend, as functions in mode filter do.
        what: it is, in words.
    """

    streams: bool
    answers: bool
    filters: bool
    what: str

    def start(self, manifest: FunctionManifest, surroundings: Surroundings) -> RevisionInstance:
        """Return an instance that is ready for requests; raises LoadError."""
        ...


class JavaScriptCode:
    """A bundle for the JavaScript engine."""

    streams = False
    answers = True
    filters = True
    what = "JavaScript"

    def __init__(self, engine: JavaScriptEngine, bundle: bytes) -> None:
        self._engine = engine
        self._bundle = bundle
        self._frames: SourceFrames | None = None

    def start(self, manifest: FunctionManifest, surroundings: Surroundings) -> Instance:
        """Return an instance that has loaded the bundle; see `Code`."""
        frames = self._frames = self._frames or SourceFrames(manifest.artifact)

        def log(level: int, message: bytes) -> None:
            surroundings.log(level, frames.in_source_bytes(message))

        told = replace(surroundings, log=log, frames=frames.in_source)
        return self._engine.start(self._bundle, manifest, told)


def read_code(engine: JavaScriptEngine, wasm: bytes, cache_dir: Path) -> Code:
    """Return what a function's Wasm binary is.

    Args:
        engine: for JavaScript, and for its Wasmtime.
        wasm: the binary.
        cache_dir: for the machine code of large modules.

    Raises:
        LoadError: it can't be run; the message says what it is and what is accepted.
    """
    if wasm.startswith(_COMPONENT):
        return _read_component(engine.wasm_engine, load_function(engine.wasm_engine, wasm, cache_dir, Component))
    if not wasm.startswith(_MODULE):
        raise LoadError(f"the function's binary is no WebAssembly; accepted is {ACCEPTED}")
    module = load_function(engine.wasm_engine, wasm, cache_dir, Module)
    imports = {(each.module, each.name or "") for each in module.imports}
    if ENGINE_IMPORT in imports:
        return JavaScriptCode(engine, linked_bundle(engine.wasm_engine, module))
    exports = {each.name: each.type for each in module.exports}
    if _is_command(exports) and {origin for origin, _ in imports} <= {WASI}:
        return WasiCommand(engine.wasm_engine, module)
    raise LoadError(f"the function's binary {_described(imports, set(exports))}; accepted is {ACCEPTED}")


def check_mode(code: Code, *, is_filter: bool) -> None:
    """Raise LoadError where a function of this mode can't have this code; it says what is accepted."""
    if is_filter and not code.filters:
        mode, accepted = "filter", FILTERS_ACCEPTED
    elif not is_filter and not code.answers:
        mode, accepted = "backend", ANSWERS_ACCEPTED
    else:
        return
    raise LoadError(f"the function's binary is {code.what}, which can't run in mode {mode}; accepted is {accepted}")


def _read_component(engine: WasmEngine, component: Component) -> Code:
    exports = list(component.type.exports(engine))
    ours = [name for name in exports if _is_ours(*name.partition("@")[::2])]
    if ours:
        return FunctionComponent(engine, component, ours)
    for name in exports:
        handler, _, version = name.partition("@")
        if handler == HTTP_HANDLER and HTTP_VERSIONS.fullmatch(version):
            return HttpComponent(engine, component, name)
    for name in exports:
        interface, _, version = name.partition("@")
        if interface == COMMAND and COMMAND_VERSIONS.fullmatch(version):
            return CommandComponent(engine, component, name)
    found = f"exports {', '.join(exports[:_NAMED_MAX])}" if exports else "exports nothing"
    raise LoadError(f"the function's binary is a component that {found}; accepted is {ACCEPTED}")


def _is_ours(interface: str, version: str) -> bool:
    return interface in (FUNCTION_HANDLER, FUNCTION_FILTERING) and FUNCTION_VERSIONS.fullmatch(version) is not None


def _is_command(exports: Mapping[str, object]) -> bool:
    """Tell by the exports with their types: calls are made without a look at a signature."""
    start, memory = exports.get("_start"), exports.get("memory")
    return isinstance(start, FuncType) and not start.params and not start.results and isinstance(memory, MemoryType)


def _described(imports: set[tuple[str, str]], exports: set[str]) -> str:
    if any(name.startswith(_PROXY_EXPORT) for name in exports):
        return "is a Proxy-Wasm module, which Envoy runs: set mode filter, or apply it as a WasmPlugin"
    origins = ", ".join(sorted({origin for origin, _ in imports})) or "nothing"
    missing = " and ".join(name for name in ("_start", "memory") if name not in exports)
    return f"imports {origins}" + (f" and does not export {missing}" if missing else "")
