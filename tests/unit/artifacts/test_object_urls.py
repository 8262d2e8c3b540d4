"""URLs under which nodes fetch files that lie elsewhere."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from skerry.api.baetyl_configurations import ConfigurationObject
from skerry.artifacts.errors import ObjectUrlError
from skerry.artifacts.object_urls import URL_SECONDS, object_url

KEYS = {"ak": "AK", "sk": "SK"}
PLACE = {"source": "minio", "bucket": "models", "object": "a/b c.zip"}


def url_of(**item: Any) -> str:
    return object_url(ConfigurationObject.model_validate(item, by_name=True))


def test_an_object_with_a_url_is_there():
    assert url_of(source="http", url="https://x/a.zip") == "https://x/a.zip"


@pytest.mark.parametrize(
    ("more", "begin"),
    [
        (
            {"endpoint": "http://10.0.0.1:9000", "address_format": "pathStyle"},
            "http://10.0.0.1:9000/models/a/b%20c.zip",
        ),
        ({"endpoint": "http://10.0.0.1:9000/"}, "http://10.0.0.1:9000/models/a/b%20c.zip"),
        ({"endpoint": "https://s3.example"}, "https://models.s3.example/a/b%20c.zip"),
        ({"region": "eu-west-3"}, "https://models.s3.eu-west-3.amazonaws.com/a/b%20c.zip"),
    ],
)
def test_an_object_in_a_bucket_is_opened_by_a_signature_and_no_key(more: dict[str, str], begin: str):
    url = url_of(**PLACE, **KEYS, **more)
    signed = parse_qs(urlsplit(url).query)
    assert url.partition("?")[0] == begin
    assert signed["X-Amz-Expires"] == [str(URL_SECONDS)]
    assert signed["X-Amz-Credential"][0].startswith("AK/")
    assert "SK" not in url.replace("X-Amz-SignedHeaders", "")


def test_an_object_in_a_public_bucket_has_a_plain_url():
    assert url_of(**PLACE, endpoint="https://s3.example") == "https://models.s3.example/a/b%20c.zip"


@pytest.mark.parametrize("item", [{"source": "minio"}, PLACE, {**PLACE, **KEYS, "endpoint": "nonsense"}])
def test_an_object_that_lies_nowhere_has_no_url(item: dict[str, str]):
    with pytest.raises(ObjectUrlError):
        url_of(**item)
