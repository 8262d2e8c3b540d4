"""Which calls ended because of `limits.memory`, though they ended by something else.

An engine that is given no more memory has the guest's own runtime hear of it, and what that makes of it is a trap, an
exit or an answer without an end. Owns the words by which runtimes tell. Does not own where they are looked for.
"""

from skerry.engine.errors import CallError, FailureKind
from skerry.engine.manifest import FunctionManifest

#: A memory so close to its limit could not be given what it asked for.
MARGIN_BYTES = 2 * 1024 * 1024
#: In order: Go, TinyGo and SpiderMonkey; SpiderMonkey, of one large piece; Rust; Python; C++.
_WORDS = (b"out of memory", b"Unable to realloc", b"memory allocation of", b"MemoryError", b"std::bad_alloc")
#: What the lack of memory looks like from outside.
_LOOKS = frozenset((FailureKind.TRAP, FailureKind.EXCEPTION, FailureKind.BAD_RESPONSE))


def tells_of_memory(said: bytes | bytearray) -> bool:
    """Tell whether a runtime says that it was given no memory."""
    return any(words in said for words in _WORDS)


def is_nearly_full(size_bytes: int, manifest: FunctionManifest) -> bool:
    """Tell whether a memory of this size may have been refused more."""
    return size_bytes + MARGIN_BYTES > manifest.memory_bytes_max


def memory_failure(manifest: FunctionManifest, stack: str = "") -> CallError:
    """Return what a call ends with that is over the limit of the instance's memory."""
    limit = f"{manifest.memory_bytes_max >> 20} MiB (runtime.limits.memory)"
    return CallError(FailureKind.MEMORY, f"the function needs more memory than its limit of {limit}", stack=stack)


def by_its_cause(failure: CallError, manifest: FunctionManifest) -> CallError:
    """Return what a call really failed of whose runtime, or whose size, tells of the lack of memory."""
    return memory_failure(manifest, failure.stack) if failure.kind in _LOOKS else failure
