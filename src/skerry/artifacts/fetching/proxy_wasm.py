"""Whether bytes are a module of the Proxy-Wasm ABI: looked at before any proxy loads them.

Reads the sections of a core module and the names that it exports, as
https://webassembly.github.io/spec/core/binary/modules.html has them. Pure. Does not own the validity of its code: a
proxy compiles it, and says so.
"""

from collections.abc import Iterator

from skerry.artifacts.errors import FetchError

#: The versions of https://github.com/proxy-wasm/spec that Envoy runs.
ABI_EXPORTS = ("proxy_abi_version_0_1_0", "proxy_abi_version_0_2_0", "proxy_abi_version_0_2_1")

_HEADER = b"\0asm\x01\0\0\0"
_COMPONENT = b"\0asm\x0d\0\x01\0"
_EXPORT_SECTION = 7
_LEB_BYTES_MAX = 5


def require_proxy_wasm(module: bytes) -> None:
    """Check a module; raises FetchError that says why a proxy could not run it."""
    if module.startswith(_COMPONENT):
        raise FetchError("NotProxyWasm", "the code is a Wasm component; a plugin must be a core module")
    if not module.startswith(_HEADER):
        raise FetchError("NotWasm", "the code is no Wasm module of version 1")
    try:
        names = set(exported_names(module))
    except (IndexError, ValueError) as error:
        raise FetchError("NotWasm", f"the code is a Wasm module that is damaged or cut short: {error}") from error
    if names.isdisjoint(ABI_EXPORTS):
        raise FetchError(
            "NotProxyWasm", f"the code exports none of {', '.join(ABI_EXPORTS)}: it is no Proxy-Wasm plugin"
        )


def is_proxy_wasm(module: bytes) -> bool:
    """Tell whether a module, which may be anything, is one of the Proxy-Wasm ABI."""
    try:
        require_proxy_wasm(module)
    except FetchError:
        return False
    return True


def exported_names(module: bytes) -> Iterator[str]:
    """Yield what a core module exports; raises ValueError or IndexError where its sections do not add up."""
    position = len(_HEADER)
    while position < len(module):
        kind = module[position]
        size, start = _unsigned(module, position + 1)
        position = start + size
        if position > len(module):
            raise ValueError("a section is longer than the file")
        if kind == _EXPORT_SECTION:
            yield from _names(module[start:position])


def _names(section: bytes) -> Iterator[str]:
    count, position = _unsigned(section, 0)
    for _ in range(count):
        length, start = _unsigned(section, position)
        if start + length >= len(section):
            raise ValueError("an export is longer than its section")
        yield section[start : start + length].decode()
        _, position = _unsigned(section, start + length + 1)  # a byte tells what kind of thing the index is of


def _unsigned(content: bytes, position: int) -> tuple[int, int]:
    """Decode an unsigned LEB128 of 32 bits; returns it and the position behind it."""
    number = 0
    for index in range(_LEB_BYTES_MAX):
        byte = content[position + index]
        number |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return number, position + index + 1
    raise ValueError("a number is longer than 32 bits")
