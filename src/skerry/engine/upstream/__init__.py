"""HTTP requests that functions send: connections, TLS, HTTP/1.1, HTTP/2, content codings. `fetching` uses them."""
