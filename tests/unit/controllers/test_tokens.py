"""Expired tokens are removed, others stay."""

import datetime as dt

from skerry.api.authentication_v1alpha1 import Token, TokenSpec, token_sha256
from skerry.api.model import ObjectMeta
from skerry.client.informers import Informers
from skerry.controllers.tokens import TokenCollector
from skerry.kit.clock import rfc3339
from skerry.testing.clock import START, FakeClock
from skerry.testing.control_plane import memory_control_plane


def token(name: str, seconds: float) -> Token:
    ends = rfc3339(START + dt.timedelta(seconds=seconds))
    spec = TokenSpec(username="a", expiration_timestamp=ends, sha256=token_sha256(name))
    return Token(metadata=ObjectMeta(name=name), spec=spec)


async def test_expired_tokens_are_removed_and_others_stay() -> None:
    clock = FakeClock()
    async with memory_control_plane() as client:
        for name, seconds in (("old", 10), ("edge", 60), ("new", 61)):
            await client.create(token(name, seconds))
        informers = Informers(client)
        collector = TokenCollector(client, informers, clock)
        async with informers.running():
            clock.advance(60)
            await collector.reconcile()
        assert [found.name async for found in client.list(Token)] == ["new"]
