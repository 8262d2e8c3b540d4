"""What the end of an Envoy that only looks at a filter means."""

import signal

import pytest

from skerry.gateway.filter_trial import verdict_on
from skerry.gateway.verdicts import PASSED


@pytest.mark.parametrize(
    ("code", "words", "told"),
    [
        (None, "", "did not come back"),
        (-signal.SIGSEGV, "", "SIGSEGV"),
        (-(signal.SIGRTMIN + 1), "", f"signal {signal.SIGRTMIN + 1}"),
        (1, "", "exit code 1"),
        (0, "nothing said", "exit code 0"),
        (1, "error initializing configuration 'x': Didn't find a registered implementation", "no Go filter"),
        (1, "error initializing configuration 'x': it is\n no module", "it is no module"),
        (0, "Dynamic module ABI version v0.1.0 matched\nconfiguration 'x' OK", PASSED),
        (0, "Dynamic module ABI version v9.1.0 is deprecated\nconfiguration 'x' OK", "version v9.1.0"),
        (0, "configuration 'x' OK", PASSED),
    ],
)
def test_whatever_ends_it_is_a_verdict(code: int | None, words: str, told: str) -> None:
    verdict = verdict_on(code, words)
    assert told in verdict
    assert bool(told) == bool(verdict)
