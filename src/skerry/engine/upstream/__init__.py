"""HTTP requests that functions send: connections, TLS, HTTP/1.1, HTTP/2, content codings. `fetching` uses them."""

from skerry.kit.compiled_modules import look_there_first

look_there_first(__name__, __path__)
