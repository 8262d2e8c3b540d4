"""Activation: which devices become nodes, and what is made of them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from skerry.api.baetyl_registration import (
    Callback,
    CallbackSpec,
    Product,
    ProductSpec,
)
from skerry.api.baetyl_v1alpha1 import NODE, Node
from skerry.api.model import ObjectMeta, Resource, from_document, to_document
from skerry.api.registry import kind_of
from skerry.artifacts.fetching.settings import FetchSettings
from skerry.fleet.record_counts import RecordCounts
from skerry.fleet.registration import new_record
from skerry.kit.clock import SystemClock
from skerry.server.baetyl import callbacks as callbacks_module
from skerry.server.baetyl.activation import Activation, ActivationRequest
from skerry.server.baetyl.callbacks import TRIES_MAX, Callbacks
from skerry.server.baetyl.errors import BaetylError
from skerry.server.baetyl.registrar import Registrar
from skerry.server.tls import open_authority
from skerry.server.verbs.requests import DeleteOptions, Target, WriteOptions
from skerry.server.verbs.verbs import Verbs
from skerry.testing.api_server import open_verbs
from skerry.testing.scripted_server import reply, scripted_server
from skerry.testing.waiting import SECONDS_MAX

WRITE = WriteOptions()


@dataclass(frozen=True)
class Plant:
    """A control plane that devices may join."""

    verbs: Verbs
    registrar: Registrar
    activation: Activation

    async def create(self, obj: Resource) -> Any:
        kind = kind_of(type(obj))
        obj.api_version, obj.kind, obj.metadata.namespace = kind.api_version, kind.kind, "default"
        stored = await self.verbs.create(Target(kind, "default"), to_document(obj), WRITE)
        return from_document(type(obj), stored.object.document)

    async def product(self, **spec: Any) -> Product:
        given = ProductSpec.model_validate({"security_key": "key", **spec})
        meta = ObjectMeta(name="factory", labels={"site": "lyon"})
        product: Product = await self.create(Product(metadata=meta, spec=given))
        return product

    async def join(self, fingerprint: str = "SN001", **more: Any) -> dict[str, Any]:
        asked = {"batch_name": "factory", "security_type": "Token", "security_value": "key", **more}
        return await self.activation.activate(ActivationRequest(fingerprint_value=fingerprint, **asked), "10.0.0.7")

    async def node(self, name: str) -> Node:
        return from_document(Node, (await self.verbs.get(Target(NODE, "default", name))).document)

    async def count(self) -> int:
        return (await self.registrar.product("default", "factory")).status.records


@pytest.fixture
async def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Plant]:
    monkeypatch.setattr(callbacks_module, "TRY_SECONDS_MAX", SECONDS_MAX)
    monkeypatch.setattr(callbacks_module, "CALLBACK_SECONDS_MAX", SECONDS_MAX)
    clock = SystemClock()
    async with open_verbs() as (verbs, _), Callbacks(FetchSettings()) as callbacks:
        registrar = Registrar(verbs, RecordCounts())
        authority = open_authority(tmp_path / "pki", clock)
        yield Plant(verbs, registrar, Activation(verbs, registrar, authority, callbacks, clock))


def refused(word: str, message: str = "") -> Any:
    return pytest.raises(BaetylError, match=message, check=lambda error: error.word == word)


async def test_a_registered_device_becomes_a_node_with_the_labels_of_its_product(plant: Plant):
    product = await plant.product()
    await plant.registrar.add(product, [new_record(product, "SN001", node_name="press-7")])
    answer = await plant.join()
    assert (answer["nodeName"], answer["namespace"]) == ("press-7", "default")
    labels = (await plant.node("press-7")).metadata.labels or {}
    assert labels.items() >= {"site": "lyon", "baetyl-batch": "factory", "baetyl-node-name": "press-7"}.items()
    record = await plant.registrar.by_fingerprint(product, "sn001")
    assert record is not None
    assert (record.status.active, record.status.active_ip) == (True, "10.0.0.7")


async def test_the_certificate_names_the_node_and_is_signed_by_the_authority_beside_it(plant: Plant):
    product = await plant.product(enable_whitelist=0)
    given = (await plant.join())["certificate"]
    (certificate,) = x509.load_pem_x509_certificates(given["cert"].encode())
    authority = x509.load_pem_x509_certificate(given["ca"].encode())
    certificate.verify_directly_issued_by(authority)
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "default.sn001"
    assert (given["name"], given["passphrase"], given["insecureSkipVerify"]) == ("", "", False)
    assert product.name == "factory"


async def test_who_joins_again_is_the_same_node_with_another_certificate(plant: Plant):
    await plant.product(enable_whitelist=0, quota_num=1)
    first, second = await plant.join(), await plant.join()
    assert first["nodeName"] == second["nodeName"] == "sn001"
    assert first["certificate"]["cert"] != second["certificate"]["cert"]
    assert await plant.count() == 1


async def test_with_a_whitelist_a_device_without_a_record_is_refused_and_nothing_is_made(plant: Plant):
    product = await plant.product()
    with refused("ErrResourceNotFound", r"record.*sn001"):
        await plant.join()
    assert await plant.registrar.records(product) == []


async def test_an_unknown_product_is_not_found(plant: Plant):
    with refused("ErrResourceNotFound", "batch.*factory"):
        await plant.join()


@pytest.mark.parametrize(
    ("shown", "message"),
    [
        ({"security_type": "None"}, "SecurityType error"),
        ({"security_value": "KEY"}, "SecurityValue error"),
        ({"security_value": ""}, "SecurityValue error"),
    ],
)
async def test_who_does_not_show_the_key_is_refused(plant: Plant, shown: dict[str, str], message: str):
    await plant.product(enable_whitelist=0)
    with refused("ErrRequestParamInvalid", message):
        await plant.join(**shown)


async def test_a_product_without_security_asks_for_no_key(plant: Plant):
    await plant.product(enable_whitelist=0, security_type="None")
    assert (await plant.join(security_type="None", security_value=""))["nodeName"] == "sn001"


@pytest.mark.parametrize("fingerprint", ["", "-", "a b", "x" * 64, "é"])
async def test_what_is_no_fingerprint_is_refused(plant: Plant, fingerprint: str):
    await plant.product(enable_whitelist=0)
    with refused("ErrRequestParamInvalid", "fingerprintValue"):
        await plant.join(fingerprint)


async def test_devices_that_join_at_once_never_outnumber_the_quota_and_fill_it(plant: Plant):
    product = await plant.product(enable_whitelist=0, quota_num=10)
    outcomes = await joined_at_once(plant, [f"sn{number}" for number in range(30)])
    assert sorted(outcomes) == ["ErrRegisterQuotaNumOut"] * 20 + ["joined"] * 10
    assert len(await plant.registrar.records(product)) == await plant.count() == 10


async def test_replicas_together_never_outnumber_the_quota(plant: Plant):
    product = await plant.product(enable_whitelist=0, quota_num=5)
    outcomes: list[str] = []

    async def register(registrar: Registrar, fingerprint: str) -> None:
        try:
            await registrar.add(product, [new_record(product, fingerprint)])
        except BaetylError as error:
            outcomes.append(error.word)

    async with asyncio.TaskGroup() as group:
        for number in range(12):  # a registrar of its own is what another process has
            group.create_task(register(Registrar(plant.verbs, RecordCounts()), f"sn{number}"))
    assert outcomes == ["ErrRegisterQuotaNumOut"] * 7
    assert len(await plant.registrar.records(product)) == await plant.count() == 5


async def joined_at_once(plant: Plant, fingerprints: list[str]) -> list[str]:
    outcomes = []

    async def join(fingerprint: str) -> None:
        try:
            await plant.join(fingerprint)
        except BaetylError as error:
            outcomes.append(error.word)
        else:
            outcomes.append("joined")

    async with asyncio.TaskGroup() as group:
        for each in fingerprints:
            group.create_task(join(each))
    return outcomes


async def test_a_device_that_asks_many_times_at_once_takes_one_place(plant: Plant):
    await plant.product(enable_whitelist=0, quota_num=20)
    assert await joined_at_once(plant, ["SN001"] * 10) == ["joined"] * 10
    assert await plant.count() == 1


async def test_a_device_that_nobody_registered_gets_no_node_that_was_there_before_it(plant: Plant):
    await plant.product(enable_whitelist=0)
    await plant.create(Node(metadata=ObjectMeta(name="sn001")))
    with refused("ErrRequestParamInvalid", "there is a node sn001 already"):
        await plant.join()


async def test_a_registered_device_may_become_a_node_that_was_there_before_it(plant: Plant):
    product = await plant.product()
    await plant.create(Node(metadata=ObjectMeta(name="press-7")))
    await plant.registrar.add(product, [new_record(product, "SN001", node_name="press-7")])
    assert (await plant.join())["nodeName"] == "press-7"


async def test_a_node_that_was_deleted_is_made_again_when_its_device_joins_again(plant: Plant):
    await plant.product(enable_whitelist=0)
    await plant.join()
    first = await plant.node("sn001")
    await plant.verbs.delete(Target(NODE, "default", "sn001"), DeleteOptions())
    await plant.join()
    assert (await plant.node("sn001")).uid != first.uid


async def test_a_name_that_does_not_fit_into_a_certificate_is_refused(plant: Plant):
    await plant.product(enable_whitelist=0)
    with refused("ErrRequestParamInvalid", "at most 56 characters"):
        await plant.join("x" * 57)


def calls(path: str, port: int, **spec: Any) -> Callback:
    return Callback(metadata=ObjectMeta(name="erp"), spec=CallbackSpec(url=f"http://127.0.0.1:{port}{path}", **spec))


async def test_others_are_told_of_each_activation_with_what_the_device_sends_along(plant: Plant):
    async with scripted_server({"/joined": [reply(200)]}) as erp:
        await plant.create(calls("/joined", erp.port, body={"by": "skerry", "batch": "?"}, header={"x-key": "k"}))
        await plant.product(enable_whitelist=0, callback_name="erp")
        await plant.join(penetrate_data={"batch": "factory"})
    (seen,) = erp.seen
    assert (seen.method, seen.headers["x-key"]) == ("POST", "k")
    assert orjson.loads(seen.body) == {"by": "skerry", "batch": "factory"}


async def test_a_callback_that_fails_for_a_while_is_tried_again(plant: Plant):
    async with scripted_server({"/joined": [reply(500), reply(204)]}) as erp:
        await plant.create(calls("/joined", erp.port))
        await plant.product(enable_whitelist=0, callback_name="erp")
        assert (await plant.join())["nodeName"] == "sn001"


@pytest.mark.parametrize(("status", "tries"), [(500, TRIES_MAX), (403, 1)])
async def test_a_device_whose_callback_fails_gets_no_certificate_and_may_ask_again(
    plant: Plant, status: int, tries: int
):
    async with scripted_server({"/joined": [*[reply(status)] * tries, reply(200)]}) as erp:
        await plant.create(calls("/joined", erp.port))
        await plant.product(enable_whitelist=0, callback_name="erp")
        with refused("ErrThirdServer", f"answered {status}"):
            await plant.join()
        assert len(erp.seen) == tries
        assert (await plant.join())["nodeName"] == "sn001"
    assert await plant.count() == 1


async def test_a_callback_reaches_no_metadata_service(plant: Plant):
    await plant.create(Callback(metadata=ObjectMeta(name="erp"), spec=CallbackSpec(url="http://169.254.169.254/")))
    await plant.product(enable_whitelist=0, callback_name="erp")
    with refused("ErrThirdServer", "no address"):
        await plant.join()


async def test_a_product_whose_callback_is_gone_lets_nobody_join(plant: Plant):
    await plant.product(enable_whitelist=0, callback_name="erp")
    with refused("ErrResourceNotFound", "callback"):
        await plant.join()
