"""An OpenID issuer on loopback: its documents over HTTP, and tokens of its keys."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from skerry.kit.clock import Clock
from skerry.server.issuer_keys import DISCOVERY_PATH
from skerry.testing.scripted_server import Script, ScriptedServer, reply, scripted_server

CLIENT_ID = "skerry"
KEYS_PATH = "/keys"
Key = RSAKey | ECKey


def rsa_key(kid: str) -> RSAKey:
    """Return a new key for RS256 and PS256."""
    return RSAKey.generate_key(2048, {"kid": kid})


@cache
def _first_key() -> RSAKey:
    """Return the key that issuers begin with: to make one takes longer than most of what is asked of an issuer."""
    return rsa_key("first")


class OidcIssuer:
    """A running issuer.

    Attributes:
        server: which tells what was asked, and can be told to answer otherwise.
        key: signs, unless another is named.
    """

    def __init__(self, server: ScriptedServer, clock: Clock) -> None:
        self.server = server
        self.url = f"http://127.0.0.1:{server.port}"
        self.key = _first_key()
        self._clock = clock
        about = {"issuer": self.url, "jwks_uri": self.url + KEYS_PATH}
        server.scripts[DISCOVERY_PATH] = [reply(200, json.dumps(about).encode())]
        self.publish(self.key)

    def publish(self, *keys: Key) -> None:
        """Let the key set be these keys."""
        listed = {"keys": [key.as_dict(private=False) for key in keys]}
        self.answer_keys(reply(200, json.dumps(listed).encode()))

    def answer_keys(self, script: Script) -> None:
        """Answer so where the key set is asked for."""
        self.server.scripts[KEYS_PATH] = [script]
        self.server.served.pop(KEYS_PATH, None)

    def fetches(self) -> int:
        """Return how often the keys were looked for."""
        return self.server.paths().count(DISCOVERY_PATH)

    def token(self, algorithm: str = "RS256", key: Key | None = None, **claims: Any) -> str:
        """Return a token for alice, good for a minute; a claim that is None is left out."""
        key, now = key or self.key, int(self._clock.now().timestamp())
        said = {"iss": self.url, "aud": CLIENT_ID, "sub": "alice", "iat": now, "exp": now + 60, **claims}
        header = {"alg": algorithm, "kid": key.kid}
        return jwt.encode(header, {k: v for k, v in said.items() if v is not None}, key, [algorithm])


@asynccontextmanager
async def oidc_issuer(clock: Clock) -> AsyncIterator[OidcIssuer]:
    """Run an issuer for the length of the block."""
    async with scripted_server({}) as server:
        yield OidcIssuer(server, clock)
