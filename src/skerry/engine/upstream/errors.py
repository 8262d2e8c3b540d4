"""What ends a subrequest. Each message is what the function reads in its TypeError.

Exception
├── FetchRefusedError    it is not sent: it is over a limit, or no HTTP
│   └── EgressDeniedError    the function may not connect there
└── UpstreamError        the upstream can't be reached, or what it sends is not HTTP
    └── GoneError            a kept connection had ended before anything was answered: another may do
"""


class FetchRefusedError(Exception):
    """A subrequest that is not sent: the sentence says why."""


class EgressDeniedError(FetchRefusedError):
    """A function may not connect there."""


class UpstreamError(Exception):
    """The upstream can't be reached, or what it answers can't be taken."""


class GoneError(UpstreamError):
    """A connection ended before the first byte of an answer."""
