"""Where a bucket is, and how it is reached; beside `s3`, whose library only those load who have a bucket."""

from dataclasses import dataclass, field

from skerry.artifacts.keep import KEEP_BYTES_MAX

REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class S3Settings:
    """Where artifacts are, and how they are reached.

    Attributes:
        bucket: must exist.
        prefix: of all names; "" for none.
        endpoint: a URL; "" for AWS's own of the region.
        region: that requests are signed for.
        credentials: access key and secret; None for what the environment and the machine's role say, by AWS's rules.
        ca_pem: an authority of the endpoint's certificate, besides the system's.
        bytes_max: all artifacts together; what others put in the meantime is not counted.
    """

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = REGION
    credentials: tuple[str, str] | None = field(default=None, repr=False)
    ca_pem: str = ""
    bytes_max: int = KEEP_BYTES_MAX
