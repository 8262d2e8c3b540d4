"""Messages of functions: what an answer is read as."""

import pytest

from skerry.functions.errors import FunctionError
from skerry.functions.local.frames import parsed


@pytest.mark.parametrize("digits", [1, 18, 19, 20, 300])
def test_an_integer_of_an_answer_keeps_every_digit(digits: int) -> None:
    number = int("9" * digits)
    assert parsed(bytearray(b'{"number":%d,"others":[-%d,1]}' % (number, number))) == {
        "number": number,
        "others": [-number, 1],
    }


def test_digits_in_texts_of_other_languages_are_no_numbers() -> None:
    assert parsed(bytearray('{"text":"٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣"}'.encode())) == {"text": "٣" * 21}


@pytest.mark.parametrize(
    "answer", [b"", b"{", b"nothing", b'{"a":1}}', b"\xff", b'"\xff' + b"9" * 19 + b'"', b"[" * 100_000]
)
def test_an_answer_that_is_no_json_is_the_functions_error(answer: bytes) -> None:
    with pytest.raises(FunctionError, match="no JSON"):
        parsed(bytearray(answer))
