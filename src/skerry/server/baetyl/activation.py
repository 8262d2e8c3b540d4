"""Activation: a device shows its product's token and its fingerprint, and becomes a node with a certificate.

Owns the order of the steps. Each can be done again, so a device whose answer was lost asks again and gets another
certificate for the same node, and nothing is made twice. Beside upstream: labels of the product become those of the
node, as the document says; and a device that nobody registered gets no node that was there before it, or whoever knows
a product's token could take any node over by its name.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from skerry.api.baetyl_registration import PRODUCT_LABEL, RECORD, Product, Record, is_fingerprint
from skerry.api.baetyl_v1alpha1 import NODE, Node, NodeMode, NodeSpec
from skerry.api.errors import AlreadyExists, NotFound
from skerry.api.model import Document, ObjectMeta, from_document, to_document
from skerry.fleet.registration import ProofRefused, callback_request, new_record, require_proof
from skerry.kit.clock import Clock, rfc3339
from skerry.server.baetyl import errors
from skerry.server.baetyl.callbacks import Callbacks, read_callback
from skerry.server.baetyl.registrar import Registrar
from skerry.server.node_certificates import COMMON_NAME_CHARACTERS_MAX, Place, common_name, issue_node_certificate
from skerry.server.tls import Authority
from skerry.server.verbs.patches.merge_patch import MergePatch
from skerry.server.verbs.requests import Target, WriteOptions
from skerry.server.verbs.verbs import Verbs

#: On a node: the uid of the record that it was made for.
RECORD_ANNOTATION = "cloud.baetyl.io/record"
_OPTIONS = WriteOptions(field_validation="Strict", manager="baetyl-activation")
Text = Annotated[str, Field(max_length=1024)]


class ActivationRequest(BaseModel):
    """What a device shows."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, extra="ignore", hide_input_in_errors=True
    )

    batch_name: Text
    namespace: Text = "default"
    fingerprint_value: Text
    security_type: Text = "None"
    security_value: Text = ""
    mode: NodeMode | Literal[""] = "kube"
    penetrate_data: dict[str, Text] | None = None


class Activation:
    """Lets devices join.

    Args:
        verbs: reads and writes.
        registrar: makes the records of devices that nobody registered.
        authority: signs certificates.
        callbacks: tell others.
        clock: stamps what happens.
    """

    def __init__(
        self, verbs: Verbs, registrar: Registrar, authority: Authority, callbacks: Callbacks, clock: Clock
    ) -> None:
        self._verbs = verbs
        self._registrar = registrar
        self._authority = authority
        self._callbacks = callbacks
        self._clock = clock

    async def activate(self, asked: ActivationRequest, address: str) -> Document:
        """Let a device join, or join again; return what it is answered.

        Raises:
            NotFound: there is no such product, or no record where one is needed.
            BaetylError: it may not, or its callback failed; what was done so far is done again by the next try.
        """
        product = await self._registrar.product(asked.namespace, asked.batch_name)
        try:
            require_proof(product, asked.security_type, asked.security_value)
        except ProofRefused as error:
            raise errors.invalid(error.public) from error
        record = await self._record(product, asked.fingerprint_value)
        node = await self._node(product, record, asked.mode or "kube")
        await self._mark_active(record, node, address)
        await self._tell(product, asked.penetrate_data or {})
        return {
            "nodeName": node.name,
            "namespace": node.namespace,
            "certificate": self.certificate(node),
        }

    async def renewed(self, place: Place) -> Document:
        """Make another certificate for a node that showed one which holds; that holds until its own end.

        Raises:
            NotFound: the node is gone by now.
        """
        return self.certificate(from_document(Node, (await self._verbs.get(Target(NODE, *place))).document))

    def certificate(self, node: Node) -> Document:
        """Make a certificate for a node, in the form in which agents take it."""
        certificate, key = issue_node_certificate(self._authority, node, self._clock.now())
        return {
            "ca": self._authority.pem.decode(),
            "key": key.decode(),
            "cert": certificate.decode(),
            "name": "",
            "passphrase": "",
            "insecureSkipVerify": False,
        }

    async def _record(self, product: Product, fingerprint: str) -> Record:
        """Return the record of a device; of one that nobody registered, a new one where the product lets it in."""
        if not is_fingerprint(fingerprint):
            raise errors.invalid("the field fingerprintValue is no fingerprint")
        if (found := await self._registrar.by_fingerprint(product, fingerprint)) is not None:
            return found
        if product.spec.enable_whitelist:
            raise errors.not_found("record", fingerprint.lower(), product.namespace)
        record = new_record(product, fingerprint, name=fingerprint.lower(), self_registered=True)
        _require_short(record)
        if not (has_node := await self._has_node(record)):  # else it would take a place of the quota for nothing
            with suppress(AlreadyExists):
                return (await self._registrar.add(product, [record]))[0]
        # The same device asked twice at once; the other request was quicker.
        if (found := await self._registrar.by_fingerprint(product, fingerprint)) is not None:
            return found
        raise _taken(record) if has_node else errors.not_found("record", fingerprint.lower(), product.namespace)

    async def _has_node(self, record: Record) -> bool:
        try:
            await self._verbs.get(Target(NODE, record.namespace, record.spec.node_name))
        except NotFound:
            return False
        return True

    async def _node(self, product: Product, record: Record, mode: NodeMode) -> Node:
        """Return the node that a device is; make it where it is missing."""
        name = record.spec.node_name
        _require_short(record)
        target = Target(NODE, product.namespace, name)
        labels = {**(product.metadata.labels or {}), PRODUCT_LABEL: product.name}
        wanted = Node(
            api_version=NODE.api_version,
            kind=NODE.kind,
            metadata=ObjectMeta(
                name=name,
                namespace=product.namespace,
                labels=labels,
                annotations={RECORD_ANNOTATION: record.uid},
            ),
            spec=NodeSpec(node_mode=mode),
        )
        try:
            return from_document(
                Node, (await self._verbs.create(target, to_document(wanted), _OPTIONS)).object.document
            )
        except AlreadyExists:
            node = from_document(Node, (await self._verbs.get(target)).document)
        if node.metadata.deletion_timestamp:
            raise errors.BaetylError("ErrNodeNotReady", f"The node ({name}) is being deleted, please retry later.")
        made_for = (node.metadata.annotations or {}).get(RECORD_ANNOTATION)
        if record.spec.self_registered and record.status.node_uid != node.uid and made_for != record.uid:
            raise _taken(record)
        return node

    async def _mark_active(self, record: Record, node: Node, address: str) -> None:
        now = rfc3339(self._clock.now())
        status = {"active": True, "activeIp": address, "activeTime": now, "nodeUid": node.uid}
        target = Target(RECORD, record.namespace, record.name, "status")
        await self._verbs.patch(target, MergePatch({"status": status}), _OPTIONS)

    async def _tell(self, product: Product, sent_along: Mapping[str, str]) -> None:
        if name := product.spec.callback_name:
            callback = await read_callback(self._verbs, product.namespace, name)
            await self._callbacks.send(callback_request(callback, sent_along))


def _require_short(record: Record) -> None:
    """Refuse a node whose name does not fit into a certificate."""
    name = record.spec.node_name
    if len(common_name(record.namespace, name)) > COMMON_NAME_CHARACTERS_MAX:
        longest = COMMON_NAME_CHARACTERS_MAX - len(common_name(record.namespace, ""))
        raise errors.invalid(f"the node name {name} is too long for a certificate: at most {longest} characters")


def _taken(record: Record) -> errors.BaetylError:
    return errors.invalid(f"there is a node {record.spec.node_name} already: register the device before it joins")
