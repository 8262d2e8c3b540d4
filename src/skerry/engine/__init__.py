"""How code runs: the Wasmtime host, the JavaScript engine component, instance pools, the worker process.

See README.md in this folder. Only this room imports wasmtime.
"""

from skerry.kit.compiled_modules import look_there_first

look_there_first(__name__, __path__)
