"""`skerry plugin test`: runs a module of a file on a sample request, without any Skerry running."""

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path

from skerry.artifacts.fetching.proxy_wasm import require_proxy_wasm
from skerry.gateway import ir
from skerry.gateway.rehearsal import LOG_LEVELS, Exchange, LogLine, Rehearsal, Sample, rehearse
from skerry.gateway.sample_upstream import Message
from skerry.kit.errors import ConfigurationError
from skerry.kit.logs import configure

#: As much as `skerry up` fetches by default.
MODULE_BYTES_MAX = 256 * 1024 * 1024


def rehearse_file(layer: ir.PluginLayer, module: ir.Wasm, sample: Sample, *, log_level: str) -> Rehearsal:
    """Run the module of the file `module.code`; for the arguments see `rehearse`.

    Raises:
        ConfigurationError: the file can't be read or is too big.
        FetchError: it is no module that a proxy could run.
        StartError: the private Envoy did not start.
    """
    path = Path(module.code).resolve()
    try:
        if path.stat().st_size > MODULE_BYTES_MAX:
            raise ConfigurationError(f"{module.code} is bigger than {MODULE_BYTES_MAX} bytes")
        require_proxy_wasm(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{module.code} can't be read: {error.strerror}") from error
    configure(style="text", level="ERROR")  # what goes wrong is in the rehearsal
    with tempfile.TemporaryDirectory(prefix="skerry-") as directory:
        ready = replace(module, code=str(path))
        return asyncio.run(rehearse(layer, ready, sample, Path(directory), log_level=log_level))


__all__ = ["LOG_LEVELS", "Exchange", "LogLine", "Message", "Rehearsal", "Sample", "ir", "rehearse_file"]
