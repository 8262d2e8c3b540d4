"""How code runs: the Wasmtime host, the JavaScript engine component, instance pools, the worker process.

See README.md in this folder. Only this room imports wasmtime.
"""
