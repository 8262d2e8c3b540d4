"""Calls into a WebAssembly instance and out of it, with integers only, as fast as ctypes allows.

`wasmtime.Func.__call__` asks for the function's type and builds a value object for each argument on every call
(12 µs); a request makes three calls. Here the addresses of the context, the function and the argument buffer are
taken once. Likewise a call of a host function (12 µs, of which a `fetch` makes several): here it reads its arguments
where they lie; and what is set or looked at with every call. This is the one module that touches the private side of
wasmtime-py.

An instance and its functions belong to one thread at a time. The foreign call releases Python's lock.
"""

import ctypes
from collections.abc import Callable

from wasmtime import Func, FuncType, Instance, Linker, Memory, Store, Trap, ValType, WasmtimeError
from wasmtime import _ffi as ffi

#: A raw value takes 16 bytes; the first four are an i32.
_WORD_BYTES = 4
_WORDS_PER_VALUE = ctypes.sizeof(ffi.wasmtime_val_raw_t) // _WORD_BYTES

#: For functions that take less time than it takes to release Python's lock and to have it again.
_briefly = ctypes.PyDLL(ffi.dll._name, handle=ffi.dll._handle)  # noqa: SLF001 - the library is loaded already

#: `wasmtime_func_call_unchecked` with plain addresses: indexing the library gives a function object of our own,
#: so the types that wasmtime-py set on its one stay as they are.
_call_unchecked = ffi.dll["wasmtime_func_call_unchecked"]
_call_unchecked.restype = ctypes.c_void_p
_call_unchecked.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]


#: `wasmtime_func_unchecked_callback_t` with plain addresses: of the arguments, over which the result is written.
_HostCallback = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_define_unchecked = ffi.dll["wasmtime_linker_define_func_unchecked"]
_define_unchecked.restype = ctypes.c_void_p
_define_unchecked.argtypes = [
    *(ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p),
    *(_HostCallback, ctypes.c_void_p, ctypes.c_void_p),
]
_I32_MASK = 0xFFFFFFFF


def define_host_function(
    linker: Linker,
    name: tuple[str, str],
    signature: FuncType,
    function: Callable[..., int | None],
    refuse: Callable[[Exception], None],
) -> object:
    """Let modules of this linker import a function.

    Args:
        linker: that defines it.
        name: of the import: module and name.
        signature: integers only, and at most one result.
        function: takes its arguments (i32 unsigned, i64 signed) and returns its result.
        refuse: takes what it raised, where it did: its result is 0 then. It must not raise.

    Returns:
        What must live as long as anything that the linker made.
    """
    masks = [_I32_MASK if kind == ValType.i32() else -1 for kind in signature.params]
    slots = ctypes.c_int64 * (2 * max(len(masks), 1))  # a raw value takes 16 bytes
    has_result = bool(signature.results)
    places = tuple((2 * index, mask) for index, mask in enumerate(masks))

    def call(_environment: int, _caller: int, values_at: int, _count: int) -> int:
        values = slots.from_address(values_at)
        try:
            result = function(*[values[place] & mask for place, mask in places])
        except Exception as error:  # noqa: BLE001 - the edge to foreign code: the call ends, the worker does not
            refuse(error)
            result = 0
        if has_result:
            values[0] = result or 0
        return 0

    callback = _HostCallback(call)
    module, field = name[0].encode(), name[1].encode()
    linker_at, signature_at = (ctypes.cast(each.ptr(), ctypes.c_void_p) for each in (linker, signature))
    error_at = _define_unchecked(linker_at, module, len(module), field, len(field), signature_at, callback, None, None)
    if error_at:
        raise WasmtimeError._from_ptr(ctypes.cast(error_at, ctypes.POINTER(ffi.wasmtime_error_t)))  # noqa: SLF001 - see above
    return callback


class RawFunction:
    """An exported function of i32 parameters and at most one i32 result."""

    def __init__(self, store: Store, function: Func, parameters: int) -> None:
        self._store = store  # keeps the context alive
        self._function = function._func  # noqa: SLF001 - the public call path is what this class replaces
        self._context_at = ctypes.cast(store._context(), ctypes.c_void_p).value  # noqa: SLF001 - likewise
        self._function_at = ctypes.addressof(self._function)
        self._slots = max(parameters, 1)
        self._values = (ffi.wasmtime_val_raw_t * self._slots)()
        self._values_at = ctypes.addressof(self._values)
        self._words = memoryview(self._values).cast("B").cast("I")  # indexing ctypes makes an object each time
        self._trap = ctypes.c_void_p()
        self._trap_at = ctypes.addressof(self._trap)

    def __call__(self, *arguments: int) -> int:
        """Call; return the i32 result as an unsigned number (meaningless where there is none).

        Raises:
            Trap: the code trapped.
            WasmtimeError: the call could not be made or was ended by the host.
        """
        words = self._words
        at = 0
        for argument in arguments:
            words[at] = argument
            at += _WORDS_PER_VALUE
        error_at = _call_unchecked(self._context_at, self._function_at, self._values_at, self._slots, self._trap_at)
        if error_at or self._trap.value:
            self._raise(error_at)
        return words[0]

    def _raise(self, error_at: int | None) -> None:
        trap_at = self._trap.value or 0
        self._trap.value = None
        # wasmtime-py's own way to wrap a pointer, which then frees it
        if error_at:
            raise WasmtimeError._from_ptr(ctypes.cast(error_at, ctypes.POINTER(ffi.wasmtime_error_t)))  # noqa: SLF001 - see above
        raise Trap._from_ptr(ctypes.cast(trap_at, ctypes.POINTER(ffi.wasm_trap_t)))  # noqa: SLF001 - see above


#: Asked on the guest's thread at a store's epoch deadline, with a number of the asker's choice: returns for how many
#: ticks the guest may go on, or None to end the call. It must not raise.
Asked = Callable[[int], int | None]

_DeadlineCallback = ctypes.CFUNCTYPE(
    *(ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p)
)
_set_deadline = _briefly["wasmtime_context_set_epoch_deadline"]
_set_deadline.restype = None
_set_deadline.argtypes = [ctypes.c_void_p, ctypes.c_uint64]
_set_deadline_callback = ffi.dll["wasmtime_store_epoch_deadline_callback"]
_set_deadline_callback.restype = None
_set_deadline_callback.argtypes = [ctypes.c_void_p, _DeadlineCallback, ctypes.c_size_t, ctypes.c_void_p]
_new_error = ffi.dll["wasmtime_error_new"]
_new_error.restype = ctypes.c_void_p
_new_error.argtypes = [ctypes.c_char_p]
_CONTINUE = 0  # WASMTIME_UPDATE_DEADLINE_CONTINUE


def deadline_callback(asked: Asked) -> object:
    """Return what `EpochDeadline` takes; it must live as long as any store that has it."""

    def call(_context: int, number: int, ticks_at: int, kind_at: int) -> int:
        ticks = asked(number)
        if ticks is None:
            return int(_new_error(b"stopped by the host"))
        ctypes.c_uint64.from_address(ticks_at).value = ticks
        ctypes.c_uint8.from_address(kind_at).value = _CONTINUE
        return 0

    return _DeadlineCallback(call)


class EpochDeadline:
    """When a store's guest is interrupted, in ticks from now; call it to set that."""

    def __init__(self, store: Store, callback: object, number: int) -> None:
        _set_deadline_callback(ctypes.cast(store.ptr(), ctypes.c_void_p), callback, number, None)
        self._store = store  # keeps the context alive
        self._context_at = ctypes.cast(store._context(), ctypes.c_void_p).value  # noqa: SLF001 - see above

    def __call__(self, ticks: int) -> None:
        """Set the deadline."""
        _set_deadline(self._context_at, ticks)


_data_size = _briefly["wasmtime_memory_data_size"]
_data_size.restype = ctypes.c_size_t
_data_size.argtypes = [ctypes.c_void_p, ctypes.c_void_p]


class GuestMemory:
    """Bounded reads and writes of an instance's linear memory.

    The memory never moves (`compiled.new_engine` asks for that) and never shrinks, so its address and the last
    size that was seen stay true.
    """

    def __init__(self, store: Store, memory: Memory) -> None:
        self._store = store  # keeps the context alive
        self._memory = memory._memory  # noqa: SLF001 - see above
        self._context_at = ctypes.cast(store._context(), ctypes.c_void_p).value  # noqa: SLF001 - likewise
        self._memory_at = ctypes.addressof(self._memory)
        self._base = ctypes.cast(memory.data_ptr(store), ctypes.c_void_p).value or 0
        self._size = 0
        self._view = memoryview(b"")

    def words(self, address: int, count: int) -> memoryview:
        """Return so many aligned u32, as they are at each look; no longer than this lives."""
        length = count * _WORD_BYTES
        self._check(address, length)
        return self._view[address : address + length].cast("I")

    @property
    def size_bytes(self) -> int:
        """The present size; on the guest's thread."""
        size: int = _data_size(self._context_at, self._memory_at)
        if size != self._size:
            self._size = size
            # Plain bytes, where ctypes' own functions would be a foreign call for each copy.
            self._view = memoryview((ctypes.c_char * size).from_address(self._base)).cast("B")
        return size

    def read(self, address: int, length: int) -> bytes:
        """Copy bytes out; raises IndexError outside of the memory."""
        if address + length > self._size or address < 0 or length < 0:
            self._check(address, length)
        return bytes(self._view[address : address + length])

    def write(self, address: int, data: bytes) -> None:
        """Copy bytes in; raises IndexError outside of the memory."""
        if address + len(data) > self._size or address < 0:
            self._check(address, len(data))
        self._view[address : address + len(data)] = data

    def _check(self, address: int, length: int) -> None:
        if address < 0 or length < 0 or address + length > self.size_bytes:
            raise IndexError(f"{length} bytes at {address} are outside of the guest's memory")


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
