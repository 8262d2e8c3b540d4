"""Calls into a WebAssembly instance with integers only, as fast as ctypes allows.

`wasmtime.Func.__call__` asks for the function's type and builds a value object for each argument on every call
(12 µs); a request makes three calls. This module prepares the raw argument buffer once for a function. It is the
one place that touches the private side of wasmtime-py, pinned by `tests/unit/engine/test_calls.py`.

An instance and its functions belong to one thread at a time. The foreign call releases Python's lock.
"""

import ctypes

from wasmtime import Func, Instance, Memory, Store, Trap, WasmtimeError
from wasmtime import _ffi as ffi

_MASK = 0xFFFFFFFF


class RawFunction:
    """An exported function of i32 parameters and at most one i32 result."""

    def __init__(self, store: Store, function: Func, parameters: int) -> None:
        self._store = store  # keeps the context alive
        self._context = store._context()  # noqa: SLF001 - the public call path is what this class replaces
        self._function = ctypes.pointer(function._func)  # noqa: SLF001 - likewise
        self._slots = max(parameters, 1)
        self._values = (ffi.wasmtime_val_raw_t * self._slots)()

    def __call__(self, *arguments: int) -> int:
        """Call; return the i32 result as an unsigned number (meaningless where there is none).

        Raises:
            Trap: the code trapped.
            WasmtimeError: the call could not be made or was ended by the host.
        """
        values = self._values
        for slot, argument in enumerate(arguments):
            values[slot].i32 = argument
        trap = ctypes.POINTER(ffi.wasm_trap_t)()
        error = ffi.wasmtime_func_call_unchecked(
            self._context, self._function, values, self._slots, ctypes.byref(trap)
        )
        if error:
            raise WasmtimeError._from_ptr(error)  # noqa: SLF001 - wasmtime-py's own way to wrap a pointer
        if trap:
            raise Trap._from_ptr(trap)  # noqa: SLF001 - likewise
        return int(values[0].i32) & _MASK


class GuestMemory:
    """Bounded reads and writes of an instance's linear memory."""

    def __init__(self, store: Store, memory: Memory) -> None:
        self._store = store
        self._memory = memory

    @property
    def size_bytes(self) -> int:
        """The present size."""
        return self._memory.data_len(self._store)

    def read(self, address: int, length: int) -> bytes:
        """Copy bytes out; raises IndexError outside of the memory."""
        return ctypes.string_at(self._locate(address, length), length)

    def write(self, address: int, data: bytes) -> None:
        """Copy bytes in; raises IndexError outside of the memory."""
        ctypes.memmove(self._locate(address, len(data)), data, len(data))

    def _locate(self, address: int, length: int) -> int:
        if address < 0 or length < 0 or address + length > self.size_bytes:
            raise IndexError(f"{length} bytes at {address} are outside of the guest's memory")
        base = ctypes.cast(self._memory.data_ptr(self._store), ctypes.c_void_p).value
        return (base or 0) + address


def exported_function(store: Store, instance: Instance, name: str, parameters: int) -> RawFunction:
    """Return an export by name; raises TypeError where the instance has no such function."""
    export = instance.exports(store).get(name)
    if not isinstance(export, Func):
        raise TypeError(f"the module exports no function {name!r}")
    return RawFunction(store, export, parameters)


def exported_memory(store: Store, instance: Instance) -> GuestMemory:
    """Return the export "memory"; raises TypeError where there is none."""
    export = instance.exports(store).get("memory")
    if not isinstance(export, Memory):
        raise TypeError('the module exports no memory named "memory"')
    return GuestMemory(store, export)
