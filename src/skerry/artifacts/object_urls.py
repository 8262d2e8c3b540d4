"""URLs under which nodes fetch files that lie elsewhere: in a bucket of S3 or what speaks its API, or on the web.

Owns the addressing and the signature, which obstore computes without asking anybody. The keys stay here: a URL opens
one object, to read it, for an hour.
"""

from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from skerry.api.baetyl_configurations import ConfigurationObject
from skerry.artifacts.errors import ObjectUrlError

if TYPE_CHECKING:
    from obstore.store import S3Config

#: How long a URL opens its object.
URL_SECONDS = 3600
_REGION = "us-east-1"
_PATH_STYLE = "pathStyle"


def object_url(item: ConfigurationObject) -> str:
    """Return the URL of an object; raises ObjectUrlError where it has none."""
    if item.url:
        return item.url
    if not (item.bucket and item.object):
        raise ObjectUrlError(f"an object of the source {item.source} needs a bucket and an object, or a url")
    if not (item.ak and item.sk):
        if not item.endpoint:
            raise ObjectUrlError(f"an object of the source {item.source} needs an endpoint, or ak and sk")
        return f"{_bucket_url(item)}/{quote(item.object)}"
    try:
        return obstore.sign(_store(item), "GET", item.object, timedelta(seconds=URL_SECONDS))
    except (BaseError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ObjectUrlError(f"no URL can be signed for the object {item.object}: {reason}") from error


def _store(item: ConfigurationObject) -> S3Store:
    config: S3Config = {
        "bucket": item.bucket or "",
        "region": item.region or _REGION,
        "access_key_id": item.ak or "",
        "secret_access_key": item.sk or "",
        "virtual_hosted_style_request": not _is_path_style(item),
    }
    if item.endpoint:
        config["endpoint"] = item.endpoint.rstrip("/") if _is_path_style(item) else _bucket_url(item)
    return S3Store(config=config, client_options={"allow_http": True})


def _bucket_url(item: ConfigurationObject) -> str:
    """Return where a bucket's objects begin."""
    parts = urlsplit((item.endpoint or "").rstrip("/"))
    if _is_path_style(item):
        return urlunsplit(parts._replace(path=f"{parts.path}/{item.bucket}"))
    return urlunsplit(parts._replace(netloc=f"{item.bucket}.{parts.netloc}"))


def _is_path_style(item: ConfigurationObject) -> bool:
    """Tell whether the bucket stands in the path; it can't be a part of an address."""
    host = urlsplit(item.endpoint or "").hostname or ""
    return item.address_format == _PATH_STYLE or host.replace(".", "").isdigit() or ":" in host
