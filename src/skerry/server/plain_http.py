"""TLS that answers a client which speaks HTTP without it, as Go's servers do, where it would only hang up.

OpenSSL finds it out in the handshake, and says so in its error. The answer goes out in place of the handshake's next
part; the client's end of the connection, or the handshake's time limit, ends it.
"""

import ssl

_SAID = b"Client sent an HTTP request to an HTTPS server.\n"
_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(_SAID), _SAID)
)


class _Handshake(ssl.SSLObject):
    outgoing: ssl.MemoryBIO
    _answered: ssl.SSLError | None = None

    def do_handshake(self) -> None:
        """Go on with the handshake; see `ssl.SSLObject`."""
        if self._answered is not None:
            raise self._answered  # that was all: OpenSSL would wait for more
        try:
            super().do_handshake()
        except ssl.SSLError as error:
            if error.reason != "HTTP_REQUEST":
                raise
            self._answered = error
            self.outgoing.write(_ANSWER)
            raise ssl.SSLWantReadError from error  # which has what is outgoing sent


class AnsweringContext(ssl.SSLContext):
    """A server's context; see the module."""

    sslobject_class = _Handshake

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002 - the signature is `ssl.SSLContext`'s
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Make a connection's TLS; see `ssl.SSLContext`."""
        made = super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        assert isinstance(made, _Handshake)  # noqa: S101 - by `sslobject_class`
        made.outgoing = outgoing
        return made
