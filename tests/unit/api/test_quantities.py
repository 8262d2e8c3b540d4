import pytest

from skerry.api.quantities import parse_bytes, write_bytes


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("128Mi", 128 << 20),
        ("1.5Gi", 3 << 29),
        ("10M", 10_000_000),
        ("1e6", 1_000_000),
        (".5k", 500),
        ("1048576", 1 << 20),
    ],
)
def test_a_quantity_is_read_as_kubernetes_does(text: str, number: int):
    assert parse_bytes(text) == number


@pytest.mark.parametrize("text", ["", "Mi", "12 Mi", "-1", "1mi", "1KB", "0x10", "1e999", "9" * 30, "1.5", "100m"])
def test_what_is_no_number_of_bytes_is_refused(text: str):
    with pytest.raises(ValueError, match="must be a"):
        parse_bytes(text)


@pytest.mark.parametrize("text", ["0", "32Mi", "1Gi", "1000", "3Ki"])
def test_a_number_is_written_as_short_as_it_is_exact(text: str):
    assert write_bytes(parse_bytes(text)) == text
