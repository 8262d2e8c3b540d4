"""Installing nodes: the command for the device, the script that it fetches, and what the script fetches.

    GET /v1/nodes/{name}/init            {"cmd": ...}, for one node
    GET /v1/register/{name}/init         {"cmd": ...}, for any device of a product
    GET /v1/init/setup.sh                the script (also as baetyl-install.sh, and below /v1/active as upstream has it)
    GET /v1/init/skerry-runtime.tar.gz   the program
    GET /v1/init/agent.json              what the agent is to know: addresses, authority, and its credentials

Owns these. Who holds an install token may fetch them, for an hour; one that is good for a single use is spent by
agent.json, which alone is worth anything. Upstream's command believes whoever answers (`curl -k`), and so does ours,
but only if that is the server whose key the command names.
"""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from skerry.api.baetyl_registration import PRODUCT, Product
from skerry.api.baetyl_v1alpha1 import NODE, Node
from skerry.api.coordination_v1 import LEASE, Lease, LeaseSpec
from skerry.api.errors import AlreadyExists, NotFound
from skerry.api.kinds import Kind
from skerry.api.model import Document, ObjectMeta, OwnerReference, Resource, from_document, to_document
from skerry.artifacts.runtime_package import RuntimePackage
from skerry.fleet.install_tokens import LIFE_SECONDS, InstallKind, InstallToken, TokenRefused, read, written
from skerry.fleet.registration import proofs_of
from skerry.kit.clock import Clock, rfc3339, rfc3339_micro
from skerry.kit.ids import Ids
from skerry.server.baetyl import errors
from skerry.server.baetyl.activation import Activation
from skerry.server.baetyl.door import Asked, Described, Operation, host_of, success
from skerry.server.http import Answer, Request, Response, Streaming
from skerry.server.operations import json
from skerry.server.verbs.patches.merge_patch import MergePatch
from skerry.server.verbs.requests import Target, WriteOptions
from skerry.server.verbs.verbs import Verbs

#: How long a device may take to fetch the program: 100 MB over a line of 1 Mbit/s.
PROGRAM_SECONDS_MAX = 1200.0
#: How often a device asks for the script again, after 1, 2, 4 s and so on, where the control plane is not ready: it may
#: still pack the program, whose digest the script names.
FETCH_RETRIES = 5
_MODES = ("", "kube", "native")
_SCRIPT_NAMES = ("setup.sh", "baetyl-install.sh")
_OPTIONS = WriteOptions(field_validation="Strict", manager="baetyl-install")


@dataclass(frozen=True, slots=True)
class Installing:
    """What installing needs to know.

    Attributes:
        key: signs tokens.
        addresses: URLs under which devices reach this API; () for that under which the command was asked for.
        authority_pem: who signed this server's certificate.
        pin: returns the SHA-256 of this server's public key, in base64.
        clock: tells which tokens hold.
    """

    key: bytes
    addresses: Sequence[str]
    authority_pem: str
    pin: Callable[[], str]
    clock: Clock


class Install:
    """The handlers of installing.

    Args:
        verbs: reads nodes and products, and writes down which tokens are used.
        activation: makes certificates.
        installing: what else there is to know.
        runtime: packs the program.
        ids: for tokens that are good for one use.
    """

    def __init__(
        self, verbs: Verbs, activation: Activation, installing: Installing, runtime: RuntimePackage, ids: Ids
    ) -> None:
        self._verbs = verbs
        self._activation = activation
        self._installing = installing
        self._runtime = runtime
        self._clock = installing.clock
        self._ids = ids

    def operations(self) -> list[Operation]:
        """Return what may be asked by people."""
        described = Described("Command", query=("mode", "once"))
        return [
            # Whoever has the command can be the node, so that to see it takes the right to change the node.
            Operation("GET", "/v1/nodes/{name}/init", "update", NODE, self.node_command, described),
            Operation("POST", "/v1/nodes/{name}/revoke", "update", NODE, self.revoke),
            Operation("GET", "/v1/register/{name}/init", "get", PRODUCT, self.product_command, described),
        ]

    async def node_command(self, asked: Asked) -> Response:
        """Return the command that installs a node."""
        return self._command(asked, "node", await self._named(Node, NODE, asked.namespace, asked.name))

    async def product_command(self, asked: Asked) -> Response:
        """Return the command that installs any device of a product."""
        return self._command(asked, "batch", await self._named(Product, PRODUCT, asked.namespace, asked.name))

    def _command(self, asked: Asked, kind: InstallKind, obj: Resource) -> Response:
        if asked.query("mode") not in _MODES:
            raise errors.invalid(f"mode must be kube or native, not {asked.query('mode')}")
        once = self._ids.uid() if asked.query("once") == "true" else ""
        expires = int(self._clock.now().timestamp()) + LIFE_SECONDS
        token = InstallToken(kind, obj.namespace, obj.name, obj.uid, expires, once)
        url = f"{self._addresses(asked.request)[0]}/v1/active/setup.sh?token={written(token, self._installing.key)}"
        pinned = f"--pinnedpubkey 'sha256//{self._installing.pin()}'"
        return json({"cmd": f"curl -skSfL --retry {FETCH_RETRIES} {pinned} '{url}' -osetup.sh && sh setup.sh"})

    async def revoke(self, asked: Asked) -> Response:
        """Void every certificate that a node has."""
        status = {"certificatesAfter": rfc3339(self._clock.now())}
        target = Target(NODE, asked.namespace, asked.name, "status")
        await self._verbs.patch(target, MergePatch({"status": status}), _OPTIONS)
        return success()

    async def resource(self, request: Request, name: str) -> Answer:
        """Answer a device that holds a token.

        Raises:
            BaetylError: the token is not good.
            NotFound: there is no such resource, or what the token was made for is gone.
        """
        try:
            token = read(request.query.get("token", ""), self._installing.key, self._clock.now())
        except TokenRefused as error:
            raise errors.BaetylError("ErrInvalidToken", f"The token is invalid ({error.public})") from error
        node, product = await self._of_token(token)
        if name in _SCRIPT_NAMES:
            return await self._script(request)
        if name == "skerry-runtime.tar.gz":
            return Streaming(self._runtime.content(), PROGRAM_SECONDS_MAX, "application/octet-stream")
        if name == "agent.json":
            await self._spend(token, node or product, request.client_host)
            return json(self._agent_configuration(request, node, product))
        raise errors.not_found("resource", name)

    async def _of_token(self, token: InstallToken) -> tuple[Node | None, Product | None]:
        """Return the node or the product that a token was made for, and not another of its name."""
        is_node = token.kind == "node"
        model, kind = (Node, NODE) if is_node else (Product, PRODUCT)
        obj = await self._named(model, kind, token.namespace, token.name)
        if obj.uid != token.uid or obj.metadata.deletion_timestamp:
            raise errors.not_found(token.kind, token.name, token.namespace)
        return (obj, None) if is_node else (None, obj)

    async def _named(self, model: type[Any], kind: Kind[Any], namespace: str, name: str) -> Any:
        try:
            return from_document(model, (await self._verbs.get(Target(kind, namespace, name))).document)
        except NotFound as error:
            raise errors.not_found("batch" if kind is PRODUCT else kind.singular, name) from error

    async def _spend(self, token: InstallToken, obj: Resource | None, address: str) -> None:
        """Write down that a token is used, where it is good for one use; raises BaetylError where it was before."""
        if not token.once or obj is None:
            return
        owner = OwnerReference(api_version=obj.api_version, kind=obj.kind, name=obj.name, uid=obj.uid)
        meta = ObjectMeta(name=f"install-{token.once}", namespace=token.namespace, owner_references=[owner])
        spec = LeaseSpec(holder_identity=address or "unknown", acquire_time=rfc3339_micro(self._clock.now()))
        lease = Lease(api_version=LEASE.api_version, kind=LEASE.kind, metadata=meta, spec=spec)
        try:
            await self._verbs.create(Target(LEASE, token.namespace), to_document(lease), _OPTIONS)
        except AlreadyExists as error:
            raise errors.BaetylError("ErrInvalidToken", "The token is invalid (it is used already)") from error

    async def _script(self, request: Request) -> Response:
        runtime = await self._runtime.packed()
        values = {
            "ADDRESSES": " ".join(self._addresses(request)),
            "TOKEN": request.query["token"],
            "SHA256": runtime.sha256,
            "PYTHON": runtime.python,
            "MACHINE": runtime.machine,
        }
        text = setup_script(values, self._installing.authority_pem)
        return Response(text.encode(), content_type="application/octet-stream")

    def _agent_configuration(self, request: Request, node: Node | None, product: Product | None) -> Document:
        """Return what an agent is to know: of one node its certificate, of any device how to get one."""
        shared = {"addresses": list(self._addresses(request)), "ca": self._installing.authority_pem}
        if node is not None:
            certificate = self._activation.certificate(node)
            return {**shared, "node": {"namespace": node.namespace, "name": node.name, "certificate": certificate}}
        assert product is not None  # noqa: S101 - a token is for the one or the other
        spec = product.spec
        batch = {
            "namespace": product.namespace,
            "name": product.name,
            "securityType": spec.security_type,
            "securityKey": spec.security_key,
            "snPath": spec.fingerprint.sn_path,
            "fingerprints": [{"proof": each.proof, "value": each.value} for each in proofs_of(spec.fingerprint)],
        }
        return {**shared, "batch": batch}

    def _addresses(self, request: Request) -> Sequence[str]:
        """Return the URLs under which devices reach this API; raises BaetylError where nobody says any."""
        if self._installing.addresses:
            return self._installing.addresses
        return (f"https://{host_of(request)}",)


def setup_script(values: Mapping[str, str], authority_pem: str) -> str:
    """Return the script for a device."""
    text = files(__package__).joinpath("setup.sh").read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", shlex.quote(value))
    return text.replace("@AUTHORITY@", authority_pem.strip())
