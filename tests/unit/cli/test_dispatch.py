"""Commands of functions, where the server does not say all that they ask."""

import pytest

from skerry.api.errors import Forbidden
from skerry.cli import dispatch
from skerry.kit.errors import SkerryError


@pytest.mark.parametrize("error", [Forbidden("functions are not for you"), SkerryError("the server has gone")])
def test_a_note_that_can_not_be_made_does_not_fail_what_is_done(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def listed(*_: object) -> list[object]:
        raise error

    monkeypatch.setattr(dispatch, "listed", listed)
    dispatch.note_missing(None, None, "default", "hello")
    assert capsys.readouterr() == ("", "")
