"""Install tokens."""

import datetime as dt

import pytest

from skerry.fleet.install_tokens import CHARACTERS_MAX, InstallToken, TokenRefused, read, written

KEY = b"k" * 32
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
TOKEN = InstallToken("node", "default", "n1", "uid-1", int(NOW.timestamp()) + 3600, once="x1")


def test_a_token_says_what_was_written_into_it():
    assert read(written(TOKEN, KEY), KEY, NOW) == TOKEN


def test_a_token_passes_through_a_shell_unquoted():
    assert written(TOKEN, KEY).isalnum()


def test_a_token_is_refused_from_its_end_on():
    text = written(TOKEN, KEY)
    read(text, KEY, NOW + dt.timedelta(seconds=3599))
    with pytest.raises(TokenRefused, match="expired"):
        read(text, KEY, NOW + dt.timedelta(seconds=3600))


@pytest.mark.parametrize("at", range(0, len(written(TOKEN, KEY)), 7))
def test_a_token_that_was_changed_anywhere_is_refused(at: int):
    text = written(TOKEN, KEY)
    other = "0" if text[at] != "0" else "1"
    with pytest.raises(TokenRefused):
        read(text[:at] + other + text[at + 1 :], KEY, NOW)


@pytest.mark.parametrize("text", ["", "x", "0" * 32, "0" * 31 + "zz", "é" * 40, "0" * (CHARACTERS_MAX + 1)])
def test_what_is_no_token_is_refused(text: str):
    with pytest.raises(TokenRefused, match="not one of this control plane"):
        read(text, KEY, NOW)


def test_a_token_of_another_key_is_refused():
    with pytest.raises(TokenRefused):
        read(written(TOKEN, b"o" * 32), KEY, NOW)
