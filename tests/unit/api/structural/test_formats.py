"""The formats that are checked."""

import pytest

from skerry.api.structural.formats import FORMATS

SOUND = {
    "bsonobjectid": "507f1f77bcf86cd799439011",
    "byte": "aGVsbG8=",
    "cidr": "10.0.0.0/8",
    "creditcard": "4111 1111 1111 1111",
    "date": "2026-02-28",
    "date-time": "2026-02-28T23:59:60.123+01:00",
    "datetime": "2026-02-28T00:00:00Z",
    "duration": "1h30m",
    "email": "a.b+c@example.com",
    "hexcolor": "#a0FF00",
    "hostname": "www.example.com",
    "ipv4": "127.0.0.1",
    "ipv6": "fe80::1",
    "isbn": "0-306-40615-2",
    "isbn10": "080442957X",
    "isbn13": "978-0-306-40615-7",
    "mac": "00:1b:44:11:3a:b7",
    "rgbcolor": "rgb(0, 128, 255)",
    "ssn": "123-45-6789",
    "uri": "https://example.com/a?b=c",
    "uuid": "123e4567-e89b-12d3-a456-426614174000",
    "uuid3": "6fa459ea-ee8a-3ca4-894e-db77e160355e",
    "uuid4": "9f0a4c1e-7f6b-4b1a-9c5e-2d3f4a5b6c7d",
    "uuid5": "886313e1-3b8a-5372-9b90-0c9aee199e5d",
}
BROKEN = {
    "bsonobjectid": "507f1f77bcf86cd79943901",
    "byte": "a",
    "cidr": "10.0.0.0",
    "creditcard": "4111 1111 1111 1112",
    "date": "2026-02-30",
    "date-time": "2026-02-28 00:00:00Z",
    "datetime": "2026-13-01T00:00:00Z",
    "duration": "soon",
    "email": "a@b@c",
    "hexcolor": "#12345",
    "hostname": "-a.example.com",
    "ipv4": "256.0.0.1",
    "ipv6": "127.0.0.1",
    "isbn": "0-306-40615-3",
    "isbn10": "0804429570",
    "isbn13": "978-0-306-40615-8",
    "mac": "00:1b:44:11:3a",
    "rgbcolor": "rgb(0, 128, 256)",
    "ssn": "123-456-789",
    "uri": "not a uri",
    "uuid": "123e4567",
    "uuid3": "9f0a4c1e-7f6b-4b1a-9c5e-2d3f4a5b6c7d",
    "uuid4": "6fa459ea-ee8a-3ca4-894e-db77e160355e",
    "uuid5": "9f0a4c1e-7f6b-4b1a-9c5e-2d3f4a5b6c7d",
}


def test_every_format_is_tried():
    assert SOUND.keys() == BROKEN.keys() == FORMATS.keys()


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_tells_sound_from_broken(name: str):
    assert FORMATS[name](SOUND[name])
    assert not FORMATS[name](BROKEN[name])
    assert FORMATS[name]("") == (name == "byte"), "no bytes are bytes, too"
    assert not FORMATS[name](SOUND[name] + "\n")
