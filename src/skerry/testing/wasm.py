"""Wasm modules for tests, made of bytes: the least that counts as a plugin of the Proxy-Wasm ABI."""

_HEADER = b"\0asm\x01\0\0\0"
ABI = "proxy_abi_version_0_2_0"


def proxy_wasm_module(payload: bytes = b"", *, export: str = ABI) -> bytes:
    """Return a valid module that exports one function; `payload` tells one from another."""
    name = export.encode()
    return b"".join([
        _HEADER,
        b"\x01\x04\x01\x60\x00\x00",  # one type: () -> ()
        b"\x03\x02\x01\x00",  # one function of it
        _section(7, b"\x01" + _sized(name) + b"\x00\x00"),
        b"\x0a\x04\x01\x02\x00\x0b",  # its body: end
        _section(0, _sized(b"payload") + payload),
    ])  # fmt: skip


def _section(kind: int, content: bytes) -> bytes:
    return bytes([kind]) + _sized(content)


def _sized(content: bytes) -> bytes:
    size, encoded = len(content), bytearray()
    while size >= 0x80:
        encoded.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*encoded, size]) + content
