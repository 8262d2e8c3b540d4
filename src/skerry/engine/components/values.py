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

from skerry.engine.components.structures import (
    ADDRESS,
    ADDRESS_VALUE,
    CASE,
    CASE_VALUE,
    ENTRY_BYTES,
    PAYLOAD,
    RESULT_VALUE,
    SPAN,
    SPAN_VALUE,
    VALUE_BYTES,
    boxed,
    filled,
    list_new,
    new_resource,
    new_text,
    record_new,
    resource_number,
    text_at,
    tuple_new,
)

#: Of what one component may declare: lists of lists of lists ...
TYPE_DEPTH_MAX = 32

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
    write = struct.Struct(f"<B7x{letter}{VALUE_BYTES - PAYLOAD - struct.calcsize(letter)}x").pack
    return Converter(lambda raw, at, _: read(raw, at + PAYLOAD)[0], lambda value, _: write(kind, value))


_TUPLE = ffi.WASMTIME_COMPONENT_TUPLE.value


def _text_like(kind: int) -> Converter:
    return Converter(
        lambda raw, at, _: text_at(raw, at + PAYLOAD), lambda value, _: SPAN_VALUE.pack(kind, *new_text(value))
    )


_STRING = _text_like(ffi.WASMTIME_COMPONENT_STRING.value)
_ENUM = _text_like(ffi.WASMTIME_COMPONENT_ENUM.value)


_LIST = ffi.WASMTIME_COMPONENT_LIST.value
_BYTE_KIND = bytes((ffi.WASMTIME_COMPONENT_U8.value,))


def _lift_bytes(raw: bytes, at: int, _: ResourceTable) -> bytes:
    size, address = SPAN.unpack_from(raw, at + PAYLOAD)
    return ctypes.string_at(address, size * VALUE_BYTES)[PAYLOAD::VALUE_BYTES]


def _lower_bytes(data: bytes, _: ResourceTable) -> bytes:
    values = bytearray(len(data) * VALUE_BYTES)
    values[::VALUE_BYTES] = _BYTE_KIND * len(data)
    values[PAYLOAD::VALUE_BYTES] = data
    return SPAN_VALUE.pack(_LIST, *filled(list_new, bytes(values), len(data)))


_BYTES = Converter(_lift_bytes, _lower_bytes)


def _list(element: Converter) -> Converter:
    def lift(raw: bytes, at: int, table: ResourceTable) -> list[Any]:
        size, address = SPAN.unpack_from(raw, at + PAYLOAD)
        values = ctypes.string_at(address, size * VALUE_BYTES)
        return [element.lift(values, place, table) for place in range(0, len(values), VALUE_BYTES)]

    def lower(items: Sequence[Any], table: ResourceTable) -> bytes:
        values = b"".join([element.lower(item, table) for item in items])
        return SPAN_VALUE.pack(_LIST, *filled(list_new, values, len(items)))

    return Converter(lift, lower)


def _tuple(parts: list[Converter]) -> Converter:
    def lift(raw: bytes, at: int, table: ResourceTable) -> tuple[Any, ...]:
        size, address = SPAN.unpack_from(raw, at + PAYLOAD)
        values = ctypes.string_at(address, size * VALUE_BYTES)
        return tuple([part.lift(values, index * VALUE_BYTES, table) for index, part in enumerate(parts)])

    def lower(items: Sequence[Any], table: ResourceTable) -> bytes:
        values = b"".join([part.lower(item, table) for part, item in zip(parts, items, strict=True)])
        return SPAN_VALUE.pack(_TUPLE, *filled(tuple_new, values, len(parts)))

    return Converter(lift, lower)


def _record(fields: list[tuple[str, Converter]]) -> Converter:
    value_at = ENTRY_BYTES - VALUE_BYTES

    def lift(raw: bytes, at: int, table: ResourceTable) -> tuple[Any, ...]:
        size, address = SPAN.unpack_from(raw, at + PAYLOAD)
        entries = ctypes.string_at(address, size * ENTRY_BYTES)
        places = range(value_at, len(entries), ENTRY_BYTES)
        return tuple([field.lift(entries, place, table) for (_, field), place in zip(fields, places, strict=True)])

    def lower(items: Sequence[Any], table: ResourceTable) -> bytes:
        pairs = zip(fields, items, strict=True)
        entries = b"".join([SPAN.pack(*new_text(name)) + field.lower(item, table) for (name, field), item in pairs])
        kind = ffi.WASMTIME_COMPONENT_RECORD.value
        return SPAN_VALUE.pack(kind, *filled(record_new, entries, len(fields)))

    return Converter(lift, lower)


def _lift_at(address: int, part: Converter | None, table: ResourceTable) -> Any:
    return part.lift(ctypes.string_at(address, VALUE_BYTES), 0, table) if part is not None else None


def _lower_to(value: Any, part: Converter | None, table: ResourceTable) -> int:
    """Return the address of a value of its own; 0 where there is no payload."""
    if part is None:
        return 0
    address: int = boxed(ctypes.create_string_buffer(part.lower(value, table), VALUE_BYTES))
    return address


def _variant(cases: dict[str, Converter | None]) -> Converter:
    kind = ffi.WASMTIME_COMPONENT_VARIANT.value

    def lift(raw: bytes, at: int, table: ResourceTable) -> tuple[str, Any]:
        size, name_at, payload_at = CASE.unpack_from(raw, at + PAYLOAD)
        name = ctypes.string_at(name_at, size).decode()
        return name, _lift_at(payload_at, cases[name], table)

    def lower(value: tuple[str, Any], table: ResourceTable) -> bytes:
        name, payload = value
        payload_at = _lower_to(payload, cases[name], table)
        return CASE_VALUE.pack(kind, *new_text(name), payload_at)

    return Converter(lift, lower)


def _option(part: Converter) -> Converter:
    kind = ffi.WASMTIME_COMPONENT_OPTION.value

    def lift(raw: bytes, at: int, table: ResourceTable) -> Any:
        (address,) = ADDRESS.unpack_from(raw, at + PAYLOAD)
        return _lift_at(address, part, table) if address else None

    def lower(value: Any, table: ResourceTable) -> bytes:
        return ADDRESS_VALUE.pack(kind, _lower_to(value, part, table) if value is not None else 0)

    return Converter(lift, lower)


def _result(ok: Converter | None, err: Converter | None) -> Converter:
    kind = ffi.WASMTIME_COMPONENT_RESULT.value
    read = struct.Struct("<?7xQ").unpack_from

    def lift(raw: bytes, at: int, table: ResourceTable) -> Ok | Err:
        is_ok, address = read(raw, at + PAYLOAD)
        return Ok(_lift_at(address, ok, table)) if is_ok else Err(_lift_at(address, err, table))

    def lower(value: Ok | Err, table: ResourceTable) -> bytes:
        is_ok = isinstance(value, Ok)
        return RESULT_VALUE.pack(kind, is_ok, _lower_to(value.value, ok if is_ok else err, table))

    return Converter(lift, lower)


def _lift_flags(raw: bytes, at: int, _: ResourceTable) -> frozenset[str]:
    size, address = SPAN.unpack_from(raw, at + PAYLOAD)
    names = ctypes.string_at(address, size * SPAN.size)
    return frozenset(text_at(names, place) for place in range(0, len(names), SPAN.size))


def _refuse(_value: Any, _table: ResourceTable) -> bytes:
    raise CrossingError("the host gives no values of this type")


_FLAGS = Converter(_lift_flags, _refuse)


def _number_of(raw: bytes, at: int, table: ResourceTable) -> int:
    (any_at,) = ADDRESS.unpack_from(raw, at + PAYLOAD)
    number = resource_number(table.context_at, any_at)
    if number is None:
        raise CrossingError("a resource is not the host's")
    return number


_BORROW = Converter(lambda raw, at, table: table.get(_number_of(raw, at, table)), _refuse)


def _own(kind_number: int) -> Converter:
    kind = ffi.WASMTIME_COMPONENT_RESOURCE.value

    def lift(raw: bytes, at: int, table: ResourceTable) -> Any:
        return table.remove(_number_of(raw, at, table))

    def lower(thing: object, table: ResourceTable) -> bytes:
        address = new_resource(table.context_at, table.add(thing), kind_number)
        if address is None:
            raise CrossingError("too many resources")
        return ADDRESS_VALUE.pack(kind, address)

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
