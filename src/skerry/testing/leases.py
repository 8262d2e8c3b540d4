"""Who leads: the holder of the lease of the controllers."""

import httpx
import orjson

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
LEASE = "skerry-controllers"


def holder_of(client: httpx.Client, *, other_than: str = "") -> str:
    """Wait until the lease has a holder, and another one where that is asked; return it."""
    with client.stream("GET", LEASES, params={"watch": "1"}) as answer:
        for line in answer.iter_lines():
            lease = orjson.loads(line)["object"]
            holder = lease["spec"].get("holderIdentity", "") if lease["metadata"].get("name") == LEASE else ""
            if holder not in {"", other_than}:
                return str(holder)
    raise AssertionError("nobody else holds the lease")
