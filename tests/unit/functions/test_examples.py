"""The examples in the docstrings of `skerry.functions`."""

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize("module", ["", ".runner", ".validation", ".injection", ".local.driver"])
def test_the_examples_do_what_they_say(module: str) -> None:
    result = doctest.testmod(import_module(f"skerry.functions{module}"))
    assert result.attempted > 0
    assert result.failed == 0
