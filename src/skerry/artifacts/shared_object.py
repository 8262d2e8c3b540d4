"""Whether bytes are a shared object that Envoy can load as a filter: looked at before any process loads them.

Reads the header and the dynamic symbols of an ELF file (https://refspecs.linuxfoundation.org/elf/gabi4+/contents.html),
64 bit and little-endian as Linux has it on the machines that Envoy is built for. Pure. Does not own whether its code is
sound: that is what a trial tells.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from skerry.artifacts.errors import FetchError

Loader = Literal["DynamicModule", "GoFilter"]

#: The machines that Envoy is built for: ELF's number of each, by the name that OCI has for it.
MACHINES = {"amd64": 62, "arm64": 183}
#: What a loader asks for first, and that nothing else exports.
_MARKS: dict[str, Loader] = {
    "envoy_dynamic_module_on_program_init": "DynamicModule",
    "envoyGoFilterNewHttpPluginConfig": "GoFilter",
}
#: What each loader asks for besides; Envoy tells of the others in a trial.
_NEEDED: dict[Loader, tuple[str, ...]] = {
    "DynamicModule": (
        "envoy_dynamic_module_on_http_filter_config_new",
        "envoy_dynamic_module_on_http_filter_config_destroy",
        "envoy_dynamic_module_on_http_filter_new",
        "envoy_dynamic_module_on_http_filter_destroy",
    ),
    "GoFilter": (
        "envoyGoFilterDestroyHttpPluginConfig",
        "envoyGoFilterMergeHttpPluginConfig",
        "envoyGoFilterOnHttpHeader",
        "envoyGoFilterOnHttpData",
        "envoyGoFilterOnHttpLog",
        "envoyGoFilterOnHttpDestroy",
    ),
}

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_IDENTITY = b"\x7fELF\x02\x01\x01"
_SHARED = 3
_DYNAMIC_SYMBOLS = 11
_UNDEFINED = 0
#: Far above any module; a large one in C++ has some ten thousand.
SYMBOLS_MAX = 500_000
_NAME_BYTES_MAX = 4096


@dataclass(frozen=True, slots=True)
class _Section:
    kind: int
    offset: int
    size: int
    link: int


def filter_loader(content: bytes, architecture: str) -> Loader:
    """Return what of Envoy can load a shared object.

    Args:
        content: the file.
        architecture: of the machine that it is for, as OCI calls it.

    Raises:
        FetchError: NotSharedObject: it is none, is damaged, is for another machine, or lacks what Envoy asks for.
    """
    try:
        _check_header(content, architecture)
        exports = frozenset(exported_names(content))
    except (struct.error, ValueError) as error:
        raise FetchError("NotSharedObject", f"the code is no shared object that can be loaded: {error}") from error
    for mark, loader in _MARKS.items():
        if mark not in exports:
            continue
        if missing := [name for name in _NEEDED[loader] if name not in exports]:
            raise FetchError("NotSharedObject", f"the code does not export {', '.join(missing)}, which Envoy calls")
        return loader
    raise FetchError(
        "NotSharedObject",
        f"the code exports neither of {' and '.join(_MARKS)}: it is no dynamic module of Envoy, nor a Go plugin of it",
    )


def _check_header(content: bytes, architecture: str) -> None:
    if not content.startswith(_IDENTITY):
        raise ValueError("it is no ELF file of 64 bit, little-endian")
    _, kind, machine, *_ = _HEADER.unpack_from(content)
    if kind != _SHARED:
        raise ValueError("it is an ELF file, but no shared object: link it with -shared")
    if machine != MACHINES[architecture]:
        names = {number: name for name, number in MACHINES.items()}
        raise ValueError(f"it is for {names.get(machine, f'machine {machine}')}, and this node is {architecture}")


def exported_names(content: bytes) -> Iterator[str]:
    """Yield the names that a shared object defines; raises ValueError or struct.error where it is damaged."""
    sections = _sections(content)
    symbols = next((section for section in sections if section.kind == _DYNAMIC_SYMBOLS), None)
    if symbols is None or symbols.link >= len(sections):
        raise ValueError("it has no table of dynamic symbols")
    strings = sections[symbols.link]
    if symbols.size > SYMBOLS_MAX * _SYMBOL.size:
        raise ValueError(f"it has more than {SYMBOLS_MAX} dynamic symbols")
    names = _part(content, strings)
    for name_at, _, _, section, *_ in _SYMBOL.iter_unpack(_part(content, symbols)):
        if section != _UNDEFINED:
            end = names.find(b"\0", name_at, name_at + _NAME_BYTES_MAX)
            if end < 0:
                raise ValueError("the name of a symbol is cut short")
            yield names[name_at:end].decode(errors="replace")


def _sections(content: bytes) -> list[_Section]:
    *_, at, _, _, _, _, size, count, _ = _HEADER.unpack_from(content)
    if size != _SECTION.size or not count or at + count * size > len(content):
        raise ValueError("its table of sections is missing or cut short")
    rows = _SECTION.iter_unpack(content[at : at + count * size])
    return [_Section(kind, offset, length, link) for _, kind, _, _, offset, length, link, *_ in rows]


def _part(content: bytes, section: _Section) -> bytes:
    if section.offset + section.size > len(content):
        raise ValueError("a section is cut short")
    return content[section.offset : section.offset + section.size]


__all__ = ["MACHINES", "Loader", "exported_names", "filter_loader"]
