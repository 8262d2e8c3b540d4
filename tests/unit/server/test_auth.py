"""Bearer tokens, and who a request is from."""

from typing import Any

import pytest

from skerry.api.errors import Unauthorized
from skerry.server.auth import (
    AUTHENTICATED,
    CREDENTIALS_READ,
    Credentials,
    StaticTokens,
    TokenRecord,
    User,
    credentials_of,
    digest_of,
    require_user,
)

TOKENS = StaticTokens(
    [
        TokenRecord(digest_of("one"), User("a", groups=("g",))),
        TokenRecord(digest_of("two"), User("b")),
    ]
)


def shown(value: str) -> Credentials:
    return credentials_of({b"accept": b"*/*", b"authorization": value.encode()}, {})


async def test_the_tokens_user_is_one_of_the_authenticated() -> None:
    assert await require_user([TOKENS], shown("Bearer one")) == User("a", groups=("g", AUTHENTICATED))
    assert (await require_user([StaticTokens([]), TOKENS], shown("bearer two"))).name == "b"


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer ", "Bearer three", "Basic one", "one", f"Bearer {'1' * 10_000}", "Bearer \xe9"]
)
async def test_anything_else_is_unauthorized(value: str) -> None:
    with pytest.raises(Unauthorized, match="^Unauthorized$"):
        await require_user([TOKENS], shown(value))
    with pytest.raises(Unauthorized):
        await require_user([], shown("Bearer one"))


def test_who_asks_next_over_a_connection_is_known_by_what_they_show():
    connection: dict[str, Any] = {CREDENTIALS_READ: {}}
    one, other = ({b"authorization": b"Bearer " + token} for token in (b"one", b"two"))
    first = credentials_of(one, connection)
    assert credentials_of(one, connection) is first
    assert credentials_of(other, connection).bearer == "two"
    assert credentials_of({}, connection).bearer == ""
    assert credentials_of(one, connection).bearer == "one"
    assert len(connection[CREDENTIALS_READ]) == 1
