"""The chain of a gateway as `skerry plugin ls` prints it."""

from typing import Any

from skerry.cli.chain import Objects, steps

HERE = {"namespace": "default", "name": "edge"}
READY = [{"type": "Ready", "status": "True", "message": "in force"}]


def plugin(name: str, phase: str, priority: int = 0, **state: str) -> dict[str, Any]:
    entry = HERE | {"node": "local", "programmed": "True"} | state
    return {
        "metadata": {"namespace": "default", "name": name},
        "spec": {"type": "HTTP", "phase": phase, "priority": priority},
        "status": {"gateways": [entry]},
    }


def policy(name: str, gateway: str = "edge", **spec: str) -> dict[str, Any]:
    status = {"conditions": READY, "gateways": [HERE | {"name": gateway}]}
    return {"metadata": {"namespace": "default", "name": name}, "spec": spec, "status": status}


def test_tokens_stand_behind_authn_and_policies_behind_authz_in_the_order_in_which_they_decide() -> None:
    objects = Objects(
        plugins=[plugin("late", "UNSPECIFIED_PHASE"), plugin("authz", "AUTHZ"), plugin("authn", "AUTHN")],
        authentications=[policy("jwt"), policy("elsewhere", gateway="other")],
        policies=[policy("allow", action="ALLOW"), policy("audit", action="AUDIT"), policy("deny", action="DENY")],
    )
    assert list(steps("default", "edge", objects)) == [
        ("default/authn", "HTTP", "AUTHN", "0", "True", ""),
        ("default/jwt", "RequestAuthentication", "", "", "True", ""),
        ("default/authz", "HTTP", "AUTHZ", "0", "True", ""),
        ("default/audit", "AuthorizationPolicy", "AUDIT", "", "True", ""),
        ("default/deny", "AuthorizationPolicy", "DENY", "", "True", ""),
        ("default/allow", "AuthorizationPolicy", "ALLOW", "", "True", ""),
        ("default/late", "HTTP", "UNSPECIFIED_PHASE", "0", "True", ""),
    ]


def test_what_a_node_did_not_take_is_told_with_its_words() -> None:
    objects = Objects(plugins=[plugin("bad", "AUTHN", programmed="False", message="refused: no key")])
    assert list(steps("default", "edge", objects)) == [
        ("default/bad", "HTTP", "AUTHN", "0", "False", "refused: no key")
    ]
