"""WebAssembly components as functions: their values, their imports, and the two worlds that are served."""
