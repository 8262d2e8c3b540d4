"""The engine component as machine code: compiled once a machine, then mapped from a file.

Owns the cache of `.cwasm` files. An entry's name is made of all that its content depends on: the version of
wasmtime, the processor, the component's sha256 and a hash of the compiler's settings. It is written beside and
renamed into place, so that several processes may do it at once and a crash leaves no half of one; an entry that
wasmtime refuses is compiled again. Whoever adds an entry removes those that were not used for the longest, so that the
rest is within a size and an age; an engine component that a process has loaded stays for as long as it does.

The directory must not be writable for others: wasmtime runs what it finds there.
"""

import fcntl
import hashlib
import os
import platform
import weakref
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from wasmtime import Config, Engine, Module, WasmtimeError
from wasmtime import _ffi as ffi
from wasmtime.component import Component

from skerry.engine.component import check_component
from skerry.engine.errors import LoadError
from skerry.kit.errors import StartError
from skerry.kit.records import Records

records = Records(__name__)

#: Room for deep JavaScript recursion; wasmtime refuses more than its 2 MiB for asynchronous stacks, used or not.
#: The thread's own stack (`worker.THREAD_STACK_BYTES`) must be larger.
WASM_STACK_BYTES_MAX = 3 * 512 * 1024

#: What machine code is made of.
Compiled = TypeVar("Compiled", Module, Component)

#: A module up to this size is compiled each time, within milliseconds.
UNCACHED_BYTES_MAX = 256 * 1024
#: Machine code of functions that is kept.
CACHED_FUNCTIONS_BYTES_MAX = 2 * 1024 * 1024 * 1024
#: Machine code of engine components that is kept: each version of one takes 37 MB.
CACHED_ENGINES_BYTES_MAX = 1024 * 1024 * 1024
#: What is not used for so long goes, whatever the size of the rest.
UNUSED_DAYS_MAX = 30


def _settings(*, epochs: bool) -> str:
    """Return everything that changes the compiled code, spelled as text: part of the cache key."""
    return f"epochs={epochs} opt-level=speed wasm-stack={WASM_STACK_BYTES_MAX} memory-may-move=0 concurrency=0"


def new_engine(*, epochs: bool) -> Engine:
    """Return a Wasmtime engine with the settings that every module of ours is compiled with.

    Args:
        epochs: whether its code is interrupted by Wasmtime. The JavaScript engine's has checks of its own.
    """
    config = Config()
    config.epoch_interruption = epochs
    config.cranelift_opt_level = "speed"
    config.max_wasm_stack = WASM_STACK_BYTES_MAX
    config.memory_may_move = False  # `calls.GuestMemory` keeps the address
    # What WASI 0.3 needs and nothing here uses: with it, a host function that is given two borrowed resources traps.
    ffi.wasmtime_config_concurrency_support_set(config.ptr(), False)
    return Engine(config)


def load_component(engine: Engine, component: Path, cache_dir: Path) -> Module:
    """Return the compiled module of the component file, from the cache where it is there.

    Its entry stays in the cache for as long as the module is referred to.

    Args:
        engine: one without epochs.
        component: the file.
        cache_dir: of machine code.

    Raises:
        StartError: the file is missing, of another contract, or not a module that wasmtime takes.
    """
    check_component(component)
    wasm = component.read_bytes()
    try:
        entry = cache_dir / _entry_name(wasm, epochs=False)
        module = _cached(engine, wasm, Place(entry, CACHED_ENGINES_BYTES_MAX), Module)
    except WasmtimeError as error:
        raise StartError("the JavaScript engine component is not a valid module", detail=str(error)) from error
    _hold(entry, module)
    return module


def load_function(engine: Engine, wasm: bytes, cache_dir: Path, binary: type[Compiled]) -> Compiled:
    """Return a function's module or component, compiled; a large one from the cache where it is there.

    Raises:
        LoadError: it is not valid, or its machine code can't be kept.
    """
    try:
        if len(wasm) <= UNCACHED_BYTES_MAX:
            return binary(engine, wasm)
        entry = cache_dir / "functions" / _entry_name(wasm, epochs=True)
        return _cached(engine, wasm, Place(entry, CACHED_FUNCTIONS_BYTES_MAX), binary)
    except WasmtimeError as error:
        message = f"the function's binary is not a valid WebAssembly {binary.__name__.lower()}"
        raise LoadError(message, stack=str(error)) from error
    except OSError as error:
        raise LoadError("the function's machine code can't be kept", stack=str(error)) from error


@dataclass(frozen=True, slots=True)
class Place:
    """Where compiled code is kept: a file, and what all files beside it may take together."""

    entry: Path
    bytes_max: int


def _cached(engine: Engine, wasm: bytes, place: Place, binary: type[Compiled]) -> Compiled:
    found = _deserialize(engine, place.entry, binary)
    if found is not None:
        return found
    directory = place.entry.parent
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (directory / "compile.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # workers that start together compile once; the others wait here
        compiled = _deserialize(engine, place.entry, binary) or _compile(engine, wasm, place.entry, binary)
        _prune(directory, place.bytes_max)
    return compiled


def _prune(directory: Path, bytes_max: int) -> None:
    """Remove what nobody needs any more; with the lock of who compiles.

    The entries not used for the longest go until the others fit and none is too old, but for the newest and those that
    are held. Code that is mapped stays mapped, wherever its file is.
    """
    for part in directory.glob("*.part"):  # of a process that ended while it compiled
        part.unlink(missing_ok=True)
    entries = sorted((entry.stat().st_mtime, entry.stat().st_size, entry) for entry in directory.glob("*.cwasm"))
    excess = sum(size for _, size, _ in entries) - bytes_max
    for used, size, entry in entries[:-1]:
        if (excess > 0 or entries[-1][0] - used > UNUSED_DAYS_MAX * 86400) and _remove_unheld(entry):
            excess -= size


def _remove_unheld(entry: Path) -> bool:
    with entry.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        entry.unlink()
    return True


def _hold(entry: Path, module: Module) -> None:
    """Keep others from removing an entry for as long as the module is referred to; one that is gone is no error."""
    with suppress(FileNotFoundError):
        file = entry.open("rb")
        fcntl.flock(file, fcntl.LOCK_SH)
        weakref.finalize(module, file.close)


def _deserialize(engine: Engine, cached: Path, binary: type[Compiled]) -> Compiled | None:
    if not cached.exists():
        return None
    try:
        os.utime(cached)  # it is used: see `_prune`
        return binary.deserialize_file(engine, str(cached))
    except FileNotFoundError:  # removed between the two looks
        return None
    except WasmtimeError as error:
        records.warning("compiled code is unusable, compiling again", path=str(cached), error=str(error))
        return None


def _entry_name(wasm: bytes, *, epochs: bool) -> str:
    key = " ".join((version("wasmtime"), platform.system(), platform.machine(), _settings(epochs=epochs)))
    return f"{hashlib.sha256(wasm).hexdigest()[:32]}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.cwasm"


def _compile(engine: Engine, wasm: bytes, cached: Path, binary: type[Compiled]) -> Compiled:
    records.info("compiling for this machine, once (about 1 s a megabyte)", megabytes=round(len(wasm) / 1e6, 1))
    compiled = binary(engine, wasm)
    part = cached.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as file:
        file.write(compiled.serialize())
        file.flush()
        os.fsync(file.fileno())  # a name must never stand for half a file, which wasmtime might run
    part.replace(cached)
    # The file's pages are shared by every process that maps it; those of the fresh one are this one's alone.
    return binary.deserialize_file(engine, str(cached))
