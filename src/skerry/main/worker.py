"""The process of an engine worker: the engine's loop, and the gateway's knowledge of what Envoy shows to filters.

    python -m skerry.main.worker --listen-fd 3 --functions-dir D ...

Owns the wiring alone; see `skerry.engine.worker`. Imports are few on purpose: a killed worker must be back soon.
"""

from skerry.engine.worker import main
from skerry.gateway import ext_proc

if __name__ == "__main__":
    main(ext_proc)
