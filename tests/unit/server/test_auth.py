"""Bearer tokens, and who a request is from."""

import pytest

from skerry.api.errors import Unauthorized
from skerry.server.auth import AUTHENTICATED, StaticTokens, TokenRecord, User, digest_of, require_user

TOKENS = StaticTokens(
    [
        TokenRecord(digest_of("one"), User("a", groups=("g",))),
        TokenRecord(digest_of("two"), User("b")),
    ]
)


def headers(value: str) -> list[tuple[bytes, bytes]]:
    return [(b"accept", b"*/*"), (b"authorization", value.encode())]


def test_the_tokens_user_is_one_of_the_authenticated() -> None:
    assert require_user([TOKENS], headers("Bearer one")) == User("a", groups=("g", AUTHENTICATED))
    assert require_user([StaticTokens([]), TOKENS], headers("bearer two")).name == "b"


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer ", "Bearer three", "Basic one", "one", f"Bearer {'1' * 10_000}"]
)
def test_anything_else_is_unauthorized(value: str) -> None:
    with pytest.raises(Unauthorized, match="^Unauthorized$"):
        require_user([TOKENS], headers(value))
    with pytest.raises(Unauthorized):
        require_user([], headers("Bearer one"))
