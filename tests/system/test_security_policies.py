"""RequestAuthentication and AuthorizationPolicy: `kubectl apply`, conditions, and what requests meet."""

from pathlib import Path

from skerry.testing.skerry_process import SkerryProcess
from skerry.testing.waiting import until

URL = "http://hello.functions.localhost/world"
KINDS = "requestauthentication,authorizationpolicy"


def test_the_example_closes_the_gateway_to_requests_without_a_token(skerry: SkerryProcess, repository: Path) -> None:
    example = str(repository / "examples/security-policies/tokens.yaml")
    skerry.kubectl("apply", "-f", str(repository / "examples/hello/function.yaml"))
    skerry.until_ready("edgefunction/hello")
    skerry.kubectl("apply", "-f", example)
    skerry.kubectl("wait", "--for=condition=Ready", "--all", KINDS, "--timeout=30s")
    refused = skerry.get(URL, headers={"connection": "close"})
    assert (refused.status_code, refused.text) == (403, "RBAC: access denied")
    bad = skerry.get(URL, headers={"connection": "close", "authorization": "Bearer x.y.z"})
    assert bad.status_code == 401
    skerry.kubectl("delete", "-f", example)
    until(lambda: skerry.get(URL, headers={"connection": "close"}).status_code == 200, "the gateway is open")
