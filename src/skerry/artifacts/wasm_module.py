"""A JavaScript function's Wasm binary: a small core module that links the shared engine at load.

    (module
      (import "skerry:js-engine/v1" "init" (func $init (param i32 i32)))   ;; pointer and bytes of UTF-8 source
      (memory (export "memory") <pages> <pages>)                           ;; just big enough
      (func (export "start") (call $init (i32.const 0) (i32.const <bytes>)))
      (data (i32.const 0) "<the bundled script>"))

This is the shape of Shopify Javy's dynamic mode: the engine, megabytes of code, is compiled once a machine,
and a function costs its source and some 200 bytes. Pure: the same source gives the same bytes, so the same
digest. The encoding follows https://webassembly.github.io/spec/core/binary/modules.html.
"""

from collections.abc import Iterable

#: The import that the host answers with the shared engine; the version is that of the contract above.
ENGINE_MODULE = "skerry:js-engine/v1"

#: A custom section with the source map (JSON) of the bundle, for stack traces in the author's own lines.
SOURCE_MAP_SECTION = "skerry:source-map"

#: Bytes of source in one module: far below the 4 GiB that i32 can address, far above any sane bundle.
SOURCE_BYTES_MAX = 64 * 1024 * 1024

_MAGIC_AND_VERSION = b"\0asm\x01\0\0\0"
_PAGE_BYTES = 65536
_I32, _FUNCTION_TYPE = b"\x7f", b"\x60"
_CALL, _I32_CONST, _END = b"\x10", b"\x41", b"\x0b"
_KIND_FUNCTION, _KIND_MEMORY = b"\x00", b"\x02"
_LIMITS_MIN_AND_MAX = b"\x01"
_SECTION = {"custom": 0, "type": 1, "import": 2, "function": 3, "memory": 5, "export": 7, "code": 10, "data": 11}
_INIT_INDEX, _START_INDEX = 0, 1


def javascript_module(source: str, *, source_map: str = "") -> bytes:
    """Encode the module of one function.

    Args:
        source: the bundled script.
        source_map: its source map as JSON; left out of the module where empty.

    Raises:
        ValueError: the source exceeds `SOURCE_BYTES_MAX`, or holds lone surrogates (no UTF-8 exists for them).
    """
    script = source.encode()
    if len(script) > SOURCE_BYTES_MAX:
        raise ValueError(f"{len(script)} bytes of source exceed the limit of {SOURCE_BYTES_MAX} bytes")
    pages = _unsigned(-(-len(script) // _PAGE_BYTES))
    body = b"\0" + _I32_CONST + _signed(0) + _I32_CONST + _signed(len(script)) + _CALL + _unsigned(_INIT_INDEX) + _END
    sections = [
        _section("type", _vector([_FUNCTION_TYPE + _vector([_I32, _I32]) + _vector([]), _FUNCTION_TYPE + b"\0\0"])),
        _section("import", _vector([_name(ENGINE_MODULE) + _name("init") + _KIND_FUNCTION + _unsigned(0)])),
        _section("function", _vector([_unsigned(1)])),
        _section("memory", _vector([_LIMITS_MIN_AND_MAX + pages + pages])),
        _section("export", _vector([
            _name("memory") + _KIND_MEMORY + _unsigned(0),
            _name("start") + _KIND_FUNCTION + _unsigned(_START_INDEX),
        ])),
        _section("code", _vector([_sized(body)])),
        _section("data", _vector([_unsigned(0) + _I32_CONST + _signed(0) + _END + _sized(script)])),
        _section("custom", _name("producers") + _producers()),
    ]  # fmt: skip
    if source_map:
        sections.append(_section("custom", _name(SOURCE_MAP_SECTION) + source_map.encode()))
    return _MAGIC_AND_VERSION + b"".join(sections)


def _producers() -> bytes:
    """Encode who made the module, as the tool conventions have it; the ABI's version, never the program's.

    A program's version would change every digest, and so every revision's artifact, at each upgrade.
    https://github.com/WebAssembly/tool-conventions/blob/main/ProducersSection.md
    """
    return _vector([
        _name("language") + _vector([_name("JavaScript") + _name("")]),
        _name("processed-by") + _vector([_name("skerry") + _name(ENGINE_MODULE)]),
    ])  # fmt: skip


def _section(kind: str, content: bytes) -> bytes:
    return bytes([_SECTION[kind]]) + _sized(content)


def _vector(items: Iterable[bytes]) -> bytes:
    items = list(items)
    return _unsigned(len(items)) + b"".join(items)


def _name(text: str) -> bytes:
    return _sized(text.encode())


def _sized(content: bytes) -> bytes:
    return _unsigned(len(content)) + content


def _unsigned(number: int) -> bytes:
    """Encode as unsigned LEB128."""
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _signed(number: int) -> bytes:
    """Encode a number >= 0 as signed LEB128: unsigned, plus a byte where bit 6 would read as a minus sign."""
    encoded = bytearray(_unsigned(number))
    if encoded[-1] & 0x40:
        encoded[-1] |= 0x80
        encoded.append(0)
    return bytes(encoded)
