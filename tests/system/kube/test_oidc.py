"""Signing in with a token of an OpenID issuer, with the real kubectl over TLS."""

from pathlib import Path
from typing import Any

import pytest

from skerry.kit.clock import SystemClock
from skerry.server.issuer_keys import IssuerKeys
from skerry.server.oidc import OidcSettings, OidcTokens
from skerry.testing.api_server import ApiServerParts, run_api_server
from skerry.testing.oidc_issuer import CLIENT_ID, oidc_issuer, rsa_key

pytestmark = pytest.mark.system


async def test_a_group_of_the_issuer_may_what_a_role_binding_gives_it(kubectl: Any, tmp_path: Path) -> None:
    clock = SystemClock()
    async with oidc_issuer(clock) as issuer, IssuerKeys(issuer.url, None, clock).running() as keys:
        settings = OidcSettings(issuer.url, CLIENT_ID, oidc_groups_claim="groups", oidc_groups_prefix="sso:")
        parts = ApiServerParts(authenticators=(OidcTokens(settings, keys, clock),))
        async with run_api_server(tmp_path / "trusting", parts) as server:
            admin = kubectl.shown(server.kubeconfig)
            nobody = tmp_path / "nobody.kubeconfig"
            nobody.write_text(server.kubeconfig.read_text().replace(server.token, "none"))
            alice, token = kubectl.shown(nobody), f"--token={issuer.token(groups=['dev'])}"
            who = (await alice.json("auth", "whoami", token))["status"]["userInfo"]
            assert who["username"] == f"{issuer.url}#alice"
            assert who["groups"] == ["sso:dev", "system:authenticated"]
            assert f'User "{issuer.url}#alice" cannot list' in await alice.fails("get", "configmaps", token)

            await admin.ok("create", "rolebinding", "dev", "--clusterrole=edit", "--group=sso:dev")
            await alice.ok("create", "configmap", "c", token)
            assert await alice.ok("get", "configmaps", "-o", "name", token) == "configmap/c\n"
            forged = f"--token={issuer.token(key=rsa_key('first'), groups=['dev'])}"
            assert "You must be logged in" in await alice.fails("get", "configmaps", forged)
