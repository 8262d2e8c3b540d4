"""wasmtime's C structures of values: where their parts lie, and memory for what they point to.

Owns the layout and the functions of wasmtime's C API that allocate. Does not know types (`values` does). What is
allocated here belongs to the structure that holds its address; wasmtime frees it with that.
"""

import ctypes
import struct
from typing import Any

from wasmtime import _ffi as ffi

#: `wasmtime_component_val_t`, and the same with a name before it, as records have.
VALUE_BYTES = ctypes.sizeof(ffi.wasmtime_component_val_t)
ENTRY_BYTES = ctypes.sizeof(ffi.wasmtime_component_valrecord_entry)
PAYLOAD = 8  # a value's kind is its first byte, what it holds begins here
ADDRESS = struct.Struct("<Q")
SPAN = struct.Struct("<QQ")  # length, address
CASE = struct.Struct("<QQQ")  # length and address of the name, address of the payload
SPAN_VALUE = struct.Struct(f"<B7xQQ{VALUE_BYTES - 24}x")
ADDRESS_VALUE = struct.Struct(f"<B7xQ{VALUE_BYTES - 16}x")
CASE_VALUE = struct.Struct("<B7xQQQ")
RESULT_VALUE = struct.Struct(f"<B7x?7xQ{VALUE_BYTES - 24}x")


def _function(name: str, result: type | None, *arguments: type) -> Any:
    """Return a function of wasmtime's C API, with plain addresses; wasmtime-py's own stays as it is."""
    function = ffi.dll[name]
    function.restype = result
    function.argtypes = list(arguments)
    return function


_AT = ctypes.c_void_p
_SIZE = ctypes.c_size_t
_bytes_new = _function("wasm_byte_vec_new", None, _AT, _SIZE, ctypes.c_char_p)
list_new = _function("wasmtime_component_vallist_new_uninit", None, _AT, _SIZE)
tuple_new = _function("wasmtime_component_valtuple_new_uninit", None, _AT, _SIZE)
record_new = _function("wasmtime_component_valrecord_new_uninit", None, _AT, _SIZE)
boxed = _function("wasmtime_component_val_new", _AT, _AT)
_any_to_host = _function("wasmtime_component_resource_any_to_host", _AT, _AT, _AT, _AT)
_host_new = _function("wasmtime_component_resource_host_new", _AT, ctypes.c_bool, ctypes.c_uint32, ctypes.c_uint32)
_host_number = _function("wasmtime_component_resource_host_rep", ctypes.c_uint32, _AT)
_host_delete = _function("wasmtime_component_resource_host_delete", None, _AT)
_host_to_any = _function("wasmtime_component_resource_host_to_any", _AT, _AT, _AT, _AT)
_error_delete = _function("wasmtime_error_delete", None, _AT)


def _new_span(make: Any, size: int, *more: Any) -> tuple[int, int]:
    out = ctypes.create_string_buffer(SPAN.size)
    make(out, size, *more)
    size, address = SPAN.unpack(out.raw)
    return size, address


def text_at(raw: bytes, at: int) -> str:
    """Return the text whose span lies there."""
    size, address = SPAN.unpack_from(raw, at)
    return ctypes.string_at(address, size).decode()


def new_text(text: str) -> tuple[int, int]:
    """Allocate a text; returns its span."""
    data = text.encode()
    return _new_span(_bytes_new, len(data), data)


def filled(make: Any, parts: bytes, size: int) -> tuple[int, int]:
    """Allocate room for parts and copy them there; returns its span.

    Args:
        make: `list_new`, `tuple_new` or `record_new`.
        parts: one after the other.
        size: how many there are.
    """
    span = _new_span(make, size)
    ctypes.memmove(span[1], parts, len(parts))
    return span


def resource_number(context_at: int, any_at: int) -> int | None:
    """Return the number that the host gave a resource; None for one that is not the host's."""
    host = ctypes.c_void_p()
    error = _any_to_host(context_at, any_at, ctypes.byref(host))
    if error:
        _error_delete(error)
        return None
    number: int = _host_number(host)
    _host_delete(host)
    return number


def new_resource(context_at: int, number: int, kind_number: int) -> int | None:
    """Return the address of a resource that the guest is to own; None where it can have no more."""
    host = _host_new(True, number, kind_number)
    given = ctypes.c_void_p()
    error = _host_to_any(context_at, host, ctypes.byref(given))
    _host_delete(host)
    if error:
        _error_delete(error)
        return None
    return given.value or 0
