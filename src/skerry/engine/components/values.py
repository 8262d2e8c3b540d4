"""Values that cross between a component and Python, compiled once from the component's own types.

wasmtime-py looks at the type of every value of every call, and makes a Python object of every byte of a list (2 µs
each). Here a type becomes two functions, one that reads a value out of wasmtime's C structures and one that writes it,
and a list of bytes is one strided copy.

In Python: integers, bool, str; list<u8> is bytes; other lists are lists; tuples and records are tuples in the order of
their fields; a variant is (case, payload or None); an enum its case; an option None or the value; a result Ok or Err; a
resource the object that the guest's `ResourceTable` has for it.

The guest's side is checked by wasmtime: a value has the type that the component declares. What the host gives is
checked here by nothing but the type's shape: host functions are ours. A defect in one may leak what was allocated.
"""

import ctypes
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from wasmtime import _ffi as ffi
from wasmtime.component import _types as types

#: `wasmtime_component_val_t`, and the same with a name before it, as records have.
VALUE_BYTES = ctypes.sizeof(ffi.wasmtime_component_val_t)
_ENTRY_BYTES = ctypes.sizeof(ffi.wasmtime_component_valrecord_entry)
#: Of what one component may declare: lists of lists of lists ...
TYPE_DEPTH_MAX = 32

_PAYLOAD = 8  # a value's kind is its first byte, what it holds begins here
_ADDRESS = struct.Struct("<Q")
_SPAN = struct.Struct("<QQ")  # length, address
_CASE = struct.Struct("<QQQ")  # length and address of the name, address of the payload
_NUMBERS = {
    types.U8: "B",
    types.S8: "b",
    types.U16: "H",
    types.S16: "h",
    types.U32: "I",
    types.S32: "i",
    types.U64: "Q",
    types.S64: "q",
    types.F32: "f",
    types.F64: "d",
    types.Bool: "?",
}
_KINDS = {
    types.U8: ffi.WASMTIME_COMPONENT_U8.value,
    types.S8: ffi.WASMTIME_COMPONENT_S8.value,
    types.U16: ffi.WASMTIME_COMPONENT_U16.value,
    types.S16: ffi.WASMTIME_COMPONENT_S16.value,
    types.U32: ffi.WASMTIME_COMPONENT_U32.value,
    types.S32: ffi.WASMTIME_COMPONENT_S32.value,
    types.U64: ffi.WASMTIME_COMPONENT_U64.value,
    types.S64: ffi.WASMTIME_COMPONENT_S64.value,
    types.F32: ffi.WASMTIME_COMPONENT_F32.value,
    types.F64: ffi.WASMTIME_COMPONENT_F64.value,
    types.Bool: ffi.WASMTIME_COMPONENT_BOOL.value,
}


def _function(name: str, result: type | None, *arguments: type) -> Any:
    """Return a function of wasmtime's C API, with plain addresses; wasmtime-py's own stays as it is."""
    function = ffi.dll[name]
    function.restype = result
    function.argtypes = list(arguments)
    return function


_AT = ctypes.c_void_p
_SIZE = ctypes.c_size_t
_bytes_new = _function("wasm_byte_vec_new", None, _AT, _SIZE, ctypes.c_char_p)
_list_new = _function("wasmtime_component_vallist_new_uninit", None, _AT, _SIZE)
_tuple_new = _function("wasmtime_component_valtuple_new_uninit", None, _AT, _SIZE)
_record_new = _function("wasmtime_component_valrecord_new_uninit", None, _AT, _SIZE)
_boxed = _function("wasmtime_component_val_new", _AT, _AT)
_any_to_host = _function("wasmtime_component_resource_any_to_host", _AT, _AT, _AT, _AT)
_host_new = _function("wasmtime_component_resource_host_new", _AT, ctypes.c_bool, ctypes.c_uint32, ctypes.c_uint32)
_host_number = _function("wasmtime_component_resource_host_rep", ctypes.c_uint32, _AT)
_host_delete = _function("wasmtime_component_resource_host_delete", None, _AT)
_host_to_any = _function("wasmtime_component_resource_host_to_any", _AT, _AT, _AT, _AT)
_error_delete = _function("wasmtime_error_delete", None, _AT)


class Ok(NamedTuple):
    """A result that is one."""

    value: Any = None


class Err(NamedTuple):
    """A result that is an error."""

    value: Any = None


class CrossingError(Exception):
    """A value or a type that can't cross."""


class ResourceTable(Protocol):
    """What the resources of a guest stand for."""

    context_at: int

    def add(self, thing: object) -> int:
        """Keep an object; returns its number."""
        ...

    def get(self, number: int) -> Any:
        """Return an object."""
        ...

    def remove(self, number: int) -> Any:
        """Return an object that the guest has no more."""
        ...


#: Reads the value at an offset of a copy of wasmtime's structures.
Lift = Callable[[bytes, int, ResourceTable], Any]
#: Returns a value as wasmtime's structure, which owns what it points to.
Lower = Callable[[Any, ResourceTable], bytes]


class Converter(NamedTuple):
    """Of one type."""

    lift: Lift
    lower: Lower


class ResourceNumbers(Protocol):
    """Tells the number that a resource type has with the host."""

    def __call__(self, resource: Any) -> int:
        """Return it; raises CrossingError for one that the host does not have."""
        ...


def compile_type(declared: Any, numbers: ResourceNumbers, depth: int = 0) -> Converter:
    """Return how values of a type cross.

    Args:
        declared: a type of `wasmtime.component`; None for a result's missing payload.
        numbers: of resource types.
        depth: of the type in another one.

    Raises:
        CrossingError: no value of this type can cross.
    """
    if depth > TYPE_DEPTH_MAX:
        raise CrossingError(f"a type is nested more than {TYPE_DEPTH_MAX} deep")
    kind = type(declared)
    if kind in _NUMBERS:
        return _number(_NUMBERS[kind], _KINDS[kind])
    if kind is types.OwnType:
        return _own(numbers(declared.ty))
    if kind in _FIXED:
        return _FIXED[kind]
    if kind not in _COMPOUND:
        raise CrossingError(f"values of the type {kind.__name__} can't be given to a host")

    def inner(part: Any) -> Converter:
        return compile_type(part, numbers, depth + 1)

    return _COMPOUND[kind](declared, inner)


def _number(letter: str, kind: int) -> Converter:
    read = struct.Struct(f"<{letter}").unpack_from
    write = struct.Struct(f"<B7x{letter}{VALUE_BYTES - _PAYLOAD - struct.calcsize(letter)}x").pack
    return Converter(lambda raw, at, _: read(raw, at + _PAYLOAD)[0], lambda value, _: write(kind, value))


_SPAN_VALUE = struct.Struct(f"<B7xQQ{VALUE_BYTES - 24}x")
_ADDRESS_VALUE = struct.Struct(f"<B7xQ{VALUE_BYTES - 16}x")
_CASE_VALUE = struct.Struct("<B7xQQQ")
_RESULT_VALUE = struct.Struct(f"<B7x?7xQ{VALUE_BYTES - 24}x")
_TUPLE = ffi.WASMTIME_COMPONENT_TUPLE.value


def _new_span(make: Any, size: int, *more: Any) -> tuple[int, int]:
    out = ctypes.create_string_buffer(_SPAN.size)
    make(out, size, *more)
    size, address = _SPAN.unpack(out.raw)
    return size, address


def _text(raw: bytes, at: int) -> str:
    size, address = _SPAN.unpack_from(raw, at)
    return ctypes.string_at(address, size).decode()


def _new_text(text: str) -> tuple[int, int]:
    data = text.encode()
    return _new_span(_bytes_new, len(data), data)


def _text_like(kind: int) -> Converter:
    return Converter(
        lambda raw, at, _: _text(raw, at + _PAYLOAD), lambda value, _: _SPAN_VALUE.pack(kind, *_new_text(value))
    )


_STRING = _text_like(ffi.WASMTIME_COMPONENT_STRING.value)
_ENUM = _text_like(ffi.WASMTIME_COMPONENT_ENUM.value)


def _filled(make: Any, parts: bytes, size: int) -> tuple[int, int]:
    span = _new_span(make, size)
    ctypes.memmove(span[1], parts, len(parts))
    return span


_LIST = ffi.WASMTIME_COMPONENT_LIST.value
_BYTE_KIND = bytes((ffi.WASMTIME_COMPONENT_U8.value,))


def _lift_bytes(raw: bytes, at: int, _: ResourceTable) -> bytes:
    size, address = _SPAN.unpack_from(raw, at + _PAYLOAD)
    return ctypes.string_at(address, size * VALUE_BYTES)[_PAYLOAD::VALUE_BYTES]


def _lower_bytes(data: bytes, _: ResourceTable) -> bytes:
    values = bytearray(len(data) * VALUE_BYTES)
    values[::VALUE_BYTES] = _BYTE_KIND * len(data)
    values[_PAYLOAD::VALUE_BYTES] = data
    return _SPAN_VALUE.pack(_LIST, *_filled(_list_new, bytes(values), len(data)))


_BYTES = Converter(_lift_bytes, _lower_bytes)


def _list(element: Converter) -> Converter:
    def lift(raw: bytes, at: int, table: ResourceTable) -> list[Any]:
        size, address = _SPAN.unpack_from(raw, at + _PAYLOAD)
        values = ctypes.string_at(address, size * VALUE_BYTES)
        return [element.lift(values, place, table) for place in range(0, len(values), VALUE_BYTES)]

    def lower(items: Sequence[Any], table: ResourceTable) -> bytes:
        values = b"".join([element.lower(item, table) for item in items])
        return _SPAN_VALUE.pack(_LIST, *_filled(_list_new, values, len(items)))

    return Converter(lift, lower)


def _tuple(parts: list[Converter]) -> Converter:
    def lift(raw: bytes, at: int, table: ResourceTable) -> tuple[Any, ...]:
        size, address = _SPAN.unpack_from(raw, at + _PAYLOAD)
        values = ctypes.string_at(address, size * VALUE_BYTES)
        return tuple([part.lift(values, index * VALUE_BYTES, table) for index, part in enumerate(parts)])

    def lower(items: Sequence[Any], table: ResourceTable) -> bytes:
        values = b"".join([part.lower(item, table) for part, item in zip(parts, items, strict=True)])
        return _SPAN_VALUE.pack(_TUPLE, *_filled(_tuple_new, values, len(parts)))

    return Converter(lift, lower)


def _record(fields: list[tuple[str, Converter]]) -> Converter:
    value_at = _ENTRY_BYTES - VALUE_BYTES

    def lift(raw: bytes, at: int, table: ResourceTable) -> tuple[Any, ...]:
        size, address = _SPAN.unpack_from(raw, at + _PAYLOAD)
        entries = ctypes.string_at(address, size * _ENTRY_BYTES)
        places = range(value_at, len(entries), _ENTRY_BYTES)
        return tuple([field.lift(entries, place, table) for (_, field), place in zip(fields, places, strict=True)])

    def lower(items: Sequence[Any], table: ResourceTable) -> bytes:
        pairs = zip(fields, items, strict=True)
        entries = b"".join([_SPAN.pack(*_new_text(name)) + field.lower(item, table) for (name, field), item in pairs])
        kind = ffi.WASMTIME_COMPONENT_RECORD.value
        return _SPAN_VALUE.pack(kind, *_filled(_record_new, entries, len(fields)))

    return Converter(lift, lower)


def _lift_at(address: int, part: Converter | None, table: ResourceTable) -> Any:
    return part.lift(ctypes.string_at(address, VALUE_BYTES), 0, table) if part is not None else None


def _lower_to(value: Any, part: Converter | None, table: ResourceTable) -> int:
    """Return the address of a value of its own; 0 where there is no payload."""
    if part is None:
        return 0
    address: int = _boxed(ctypes.create_string_buffer(part.lower(value, table), VALUE_BYTES))
    return address


def _variant(cases: dict[str, Converter | None]) -> Converter:
    kind = ffi.WASMTIME_COMPONENT_VARIANT.value

    def lift(raw: bytes, at: int, table: ResourceTable) -> tuple[str, Any]:
        size, name_at, payload_at = _CASE.unpack_from(raw, at + _PAYLOAD)
        name = ctypes.string_at(name_at, size).decode()
        return name, _lift_at(payload_at, cases[name], table)

    def lower(value: tuple[str, Any], table: ResourceTable) -> bytes:
        name, payload = value
        payload_at = _lower_to(payload, cases[name], table)
        return _CASE_VALUE.pack(kind, *_new_text(name), payload_at)

    return Converter(lift, lower)


def _option(part: Converter) -> Converter:
    kind = ffi.WASMTIME_COMPONENT_OPTION.value

    def lift(raw: bytes, at: int, table: ResourceTable) -> Any:
        (address,) = _ADDRESS.unpack_from(raw, at + _PAYLOAD)
        return _lift_at(address, part, table) if address else None

    def lower(value: Any, table: ResourceTable) -> bytes:
        return _ADDRESS_VALUE.pack(kind, _lower_to(value, part, table) if value is not None else 0)

    return Converter(lift, lower)


def _result(ok: Converter | None, err: Converter | None) -> Converter:
    kind = ffi.WASMTIME_COMPONENT_RESULT.value
    read = struct.Struct("<?7xQ").unpack_from

    def lift(raw: bytes, at: int, table: ResourceTable) -> Ok | Err:
        is_ok, address = read(raw, at + _PAYLOAD)
        return Ok(_lift_at(address, ok, table)) if is_ok else Err(_lift_at(address, err, table))

    def lower(value: Ok | Err, table: ResourceTable) -> bytes:
        is_ok = isinstance(value, Ok)
        return _RESULT_VALUE.pack(kind, is_ok, _lower_to(value.value, ok if is_ok else err, table))

    return Converter(lift, lower)


def _lift_flags(raw: bytes, at: int, _: ResourceTable) -> frozenset[str]:
    size, address = _SPAN.unpack_from(raw, at + _PAYLOAD)
    names = ctypes.string_at(address, size * _SPAN.size)
    return frozenset(_text(names, place) for place in range(0, len(names), _SPAN.size))


def _refuse(_value: Any, _table: ResourceTable) -> bytes:
    raise CrossingError("the host gives no values of this type")


_FLAGS = Converter(_lift_flags, _refuse)


def _number_of(raw: bytes, at: int, table: ResourceTable) -> int:
    (any_at,) = _ADDRESS.unpack_from(raw, at + _PAYLOAD)
    host = ctypes.c_void_p()
    error = _any_to_host(table.context_at, any_at, ctypes.byref(host))
    if error:
        _error_delete(error)
        raise CrossingError("a resource is not the host's")
    number: int = _host_number(host)
    _host_delete(host)
    return number


_BORROW = Converter(lambda raw, at, table: table.get(_number_of(raw, at, table)), _refuse)


def _own(kind_number: int) -> Converter:
    kind = ffi.WASMTIME_COMPONENT_RESOURCE.value

    def lift(raw: bytes, at: int, table: ResourceTable) -> Any:
        return table.remove(_number_of(raw, at, table))

    def lower(thing: object, table: ResourceTable) -> bytes:
        host = _host_new(True, table.add(thing), kind_number)
        given = ctypes.c_void_p()
        error = _host_to_any(table.context_at, host, ctypes.byref(given))
        _host_delete(host)
        if error:
            _error_delete(error)
            raise CrossingError("too many resources")
        return _ADDRESS_VALUE.pack(kind, given.value or 0)

    return Converter(lift, lower)


Compile = Callable[[Any], Converter]


def _or_none(part: Any, inner: Compile) -> Converter | None:
    return inner(part) if part is not None else None


def _compile_list(declared: types.ListType, inner: Compile) -> Converter:
    element = declared.element
    return _BYTES if isinstance(element, types.U8) else _list(inner(element))


_FIXED: Mapping[type, Converter] = {
    types.String: _STRING,
    types.EnumType: _ENUM,
    types.FlagsType: _FLAGS,
    types.BorrowType: _BORROW,
}
_COMPOUND: Mapping[type, Callable[[Any, Compile], Converter]] = {
    types.ListType: _compile_list,
    types.TupleType: lambda declared, inner: _tuple([inner(part) for part in declared.elements]),
    types.RecordType: lambda declared, inner: _record([(name, inner(part)) for name, part in declared.fields]),
    types.VariantType: lambda declared, inner: _variant({name: _or_none(part, inner) for name, part in declared.cases}),
    types.OptionType: lambda declared, inner: _option(inner(declared.payload)),
    types.ResultType: lambda declared, inner: _result(_or_none(declared.ok, inner), _or_none(declared.err, inner)),
}
