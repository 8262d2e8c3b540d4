"""Products, which upstream calls batches, and their records: who may join, registered before it does."""

import uuid
from collections.abc import Callable, Sequence
from typing import TypeVar

from pydantic import Field, ValidationError
from pydantic.alias_generators import to_camel

from skerry.api.baetyl_registration import (
    CALLBACK,
    INPUT_FIELD,
    PRODUCT,
    RECORD,
    SN_PATH,
    Callback,
    Product,
    ProductSpec,
    Record,
    fingerprint_error,
)
from skerry.api.errors import AlreadyExists, NotFound
from skerry.api.model import Document, ObjectMeta, Resource
from skerry.fleet.registration import new_record
from skerry.server.baetyl import errors
from skerry.server.baetyl.bodies import Body, Texts
from skerry.server.baetyl.door import Asked, Described, Operation, success
from skerry.server.baetyl.registrar import Registrar
from skerry.server.http import Response
from skerry.server.operations import json

_PRODUCTS = "/v1/register"
_PRODUCT = "/v1/register/{name}"
_RECORDS = "/v1/register/{name}/record"
_RECORD = "/v1/register/{name}/record/{record}"
PAGE_SIZE_DEFAULT = 20
#: Records that are made by one request.
GENERATED_MAX = 10_000
#: What upstream tells of a device that has not joined.
_NEVER, _NOWHERE = "2007-01-01T00:00:00Z", "0.0.0.0"  # noqa: S104 - is told, not bound
_PAGE_QUERY = ("pageNo", "pageSize", "name")
_DOWNLOAD = Described("Download", form="application/octet-stream")

T = TypeVar("T")


class FingerprintBody(Body):
    """How a device tells who it is."""

    type: int | None = None
    sn_path: str | None = None
    input_field: str | None = None


class ProductBody(Body):
    """A product as it is created."""

    name: str = ""
    description: str = ""
    quota_num: int | None = None
    enable_whitelist: int | None = None
    security_type: str | None = None
    security_key: str | None = None
    callback_name: str = ""
    labels: Texts = None
    fingerprint: FingerprintBody | None = None


class ProductChange(Body):
    """What can be changed of a product; what is left out stays."""

    description: str | None = None
    quota_num: int | None = None
    callback_name: str | None = None
    labels: Texts = None
    fingerprint: FingerprintBody | None = None


class RecordBody(Body):
    """A record as it is created."""

    name: str = ""
    fingerprint_value: str = ""
    node_name: str = ""


class RecordChange(Body):
    """What can be changed of a record."""

    node_name: str = ""


class GenerateBody(Body):
    """How many records are made."""

    num: int = Field(default=0, le=GENERATED_MAX)


class Products:
    """The handlers of products and records.

    Args:
        registrar: makes and removes records.
    """

    def __init__(self, registrar: Registrar) -> None:
        self._registrar = registrar

    def operations(self) -> list[Operation]:
        """Return what may be asked."""
        return [
            Operation("POST", _PRODUCTS, "create", PRODUCT, self.create, Described("Product", ProductBody)),
            Operation("GET", _PRODUCTS, "list", PRODUCT, self.list, Described("ProductList", query=_PAGE_QUERY)),
            Operation("GET", _PRODUCT, "get", PRODUCT, self.get, Described("Product")),
            Operation("PUT", _PRODUCT, "update", PRODUCT, self.change, Described("Product", ProductChange)),
            Operation("DELETE", _PRODUCT, "delete", PRODUCT, self.delete),
            Operation("POST", _RECORDS, "create", RECORD, self.add, Described("Record", RecordBody)),
            Operation("GET", _RECORDS, "list", RECORD, self.records, Described("RecordList", query=_PAGE_QUERY)),
            Operation("GET", _RECORD, "get", RECORD, self.record, Described("Record")),
            Operation("PUT", _RECORD, "update", RECORD, self.change_record, Described("Record", RecordChange)),
            Operation("DELETE", _RECORD, "delete", RECORD, self.remove),
            Operation(
                "POST", f"{_PRODUCT}/generate", "create", RECORD, self.generate, Described("Generated", GenerateBody)
            ),
            Operation("GET", f"{_PRODUCT}/download", "list", RECORD, self.download, _DOWNLOAD),
        ]

    async def create(self, asked: Asked) -> Response:
        """Create a product; what is not said is upstream's default, and a key is made where one is needed."""
        body = await asked.body(ProductBody)
        name = body.name or uuid.uuid4().hex
        spec: Document = _given(body, ("description", "quota_num", "enable_whitelist", "security_type"))
        token = (body.security_type or "Token") == "Token"
        spec |= {"securityKey": body.security_key or (uuid.uuid4().hex if token else "")}
        spec |= {"callbackName": body.callback_name, "fingerprint": _fingerprint(body.fingerprint)}
        await _require_callback(asked, body.callback_name)
        product = Product(metadata=ObjectMeta(name=name, labels=body.labels), spec=_checked(spec))
        try:
            return json(product_json(await asked.objects.create(product)))
        except AlreadyExists as error:
            raise _taken(name) from error

    async def get(self, asked: Asked) -> Response:
        """Return a product."""
        return json(product_json(await self._product(asked)))

    async def list(self, asked: Asked) -> Response:
        """Return a page of products, the newest first."""
        found = [product async for product in asked.objects.list(Product)]
        found.sort(key=lambda product: product.metadata.creation_timestamp or "", reverse=True)
        return json(_page(asked, found, lambda product: product.name, _product_summary))

    async def change(self, asked: Asked) -> Response:
        """Change a product; its security, whitelist and name stay, as upstream."""
        body = await asked.body(ProductChange)
        await _require_callback(asked, body.callback_name or "")
        product = await self._product(asked)
        given = _given(body, ("description", "quota_num", "callback_name"))

        def change(product: Product) -> None:
            before = product.spec.model_dump(by_alias=True)
            fingerprint = {**before["fingerprint"], **_fingerprint(body.fingerprint)}
            product.spec = _checked({**before, **given, "fingerprint": fingerprint})
            if body.labels is not None:
                product.metadata.labels = body.labels

        return json(product_json(await asked.objects.change(Product, product.name, change)))

    async def delete(self, asked: Asked) -> Response:
        """Remove a product that has no records."""
        await self._registrar.remove_product(await self._product(asked))
        return success()

    async def add(self, asked: Asked) -> Response:
        """Register a device."""
        body = await asked.body(RecordBody)
        product = await self._product(asked)
        fingerprint = body.fingerprint_value or uuid.uuid4().hex
        name = body.name or fingerprint
        for field, value in (("fingerprintValue", fingerprint), ("name", name)):
            if (problem := fingerprint_error(field, value)) is not None:
                raise errors.invalid(str(problem))
        if any(record.spec.name == name for record in await self._registrar.records(product)):
            raise _taken(name)
        record = new_record(product, fingerprint, name=name, node_name=body.node_name)
        try:
            (stored,) = await self._registrar.add(product, [record])
        except AlreadyExists as error:
            raise _taken(fingerprint) from error
        return json(record_json(stored))

    async def generate(self, asked: Asked) -> Response:
        """Register some devices under new fingerprints, and return these."""
        body = await asked.body(GenerateBody)
        if body.num < 1:
            raise errors.invalid("num must be at least 1")
        product = await self._product(asked)
        records = [new_record(product, uuid.uuid4().hex) for _ in range(body.num)]
        stored = await self._registrar.add(product, records)
        return json({"total": len(stored), "items": [record.spec.fingerprint_value for record in stored]})

    async def records(self, asked: Asked) -> Response:
        """Return a page of records, the newest first; `name` is a part of their fingerprints, as upstream."""
        found = await self._registrar.records(await self._product(asked))
        return json(_page(asked, found, lambda record: record.spec.fingerprint_value, record_json))

    async def record(self, asked: Asked) -> Response:
        """Return a record."""
        return json(record_json(await self._record(asked)))

    async def change_record(self, asked: Asked) -> Response:
        """Change the node that a device becomes."""
        body = await asked.body(RecordChange)
        record = await self._record(asked)

        def change(record: Record) -> None:
            record.spec.node_name = body.node_name or record.spec.node_name

        return json(record_json(await asked.objects.change(Record, record.name, change)))

    async def remove(self, asked: Asked) -> Response:
        """Remove a record of a device that has not joined."""
        await self._registrar.remove(await self._record(asked))
        return success()

    async def download(self, asked: Asked) -> Response:
        """Return all fingerprints, one a line, the newest first."""
        found = await self._registrar.records(await self._product(asked))
        lines = "".join(f"{record.spec.fingerprint_value}\n" for record in found)
        return Response(lines.encode(), content_type="application/octet-stream")

    async def _product(self, asked: Asked) -> Product:
        return await self._registrar.product(asked.namespace, asked.name)

    async def _record(self, asked: Asked) -> Record:
        return await self._registrar.record(await self._product(asked), asked.names["record"])


def product_json(product: Product) -> Document:
    """Write a product in the form of Baetyl's API."""
    spec = product.spec
    return {
        **_product_summary(product),
        "namespace": product.namespace,
        "enableWhitelist": spec.enable_whitelist,
        "securityKey": spec.security_key,
        "labels": product.metadata.labels or {},
        "fingerprint": spec.fingerprint.model_dump(by_alias=True),
    }


def _product_summary(product: Product) -> Document:
    spec = product.spec
    return {
        "name": product.name,
        "createTime": product.metadata.creation_timestamp,
        "updateTime": _updated(product),
        "quotaNum": spec.quota_num,
        "securityType": spec.security_type,
        "callbackName": spec.callback_name,
        "description": spec.description,
    }


def record_json(record: Record) -> Document:
    """Write a record in the form of Baetyl's API."""
    spec, status = record.spec, record.status
    return {
        "name": spec.name,
        "batchName": spec.batch_name,
        "namespace": record.namespace,
        "fingerprintValue": spec.fingerprint_value,
        "active": int(status.active),
        "nodeName": spec.node_name,
        "activeIp": status.active_ip or _NOWHERE,
        "activeTime": status.active_time or _NEVER,
        "createTime": record.metadata.creation_timestamp,
        "updateTime": _updated(record),
    }


def _updated(obj: Resource) -> str | None:
    """Return when an object was last written, which its managers know."""
    times = [str(each["time"]) for each in obj.metadata.managed_fields or () if each.get("time")]
    return max(times, default=obj.metadata.creation_timestamp)


def _page(asked: Asked, found: Sequence[T], text: Callable[[T], str], view: Callable[[T], Document]) -> Document:
    """Write a page of what contains the name that is asked for."""
    number, size = _number(asked, "pageNo", 1), _number(asked, "pageSize", PAGE_SIZE_DEFAULT)
    wanted = asked.query("name").strip("%").lower()
    matching = [each for each in found if wanted in text(each).lower()]
    shown = matching[(number - 1) * size : number * size]
    return {"total": len(matching), "pageNo": number, "pageSize": size, "items": [view(each) for each in shown]}


def _number(asked: Asked, name: str, default: int) -> int:
    text = asked.query(name)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 and int(text) else default


def _given(body: Body, names: Sequence[str]) -> Document:
    """Return what is given of some fields, by their names on the wire."""
    return {to_camel(name): value for name in names if (value := getattr(body, name)) is not None}


def _fingerprint(body: FingerprintBody | None) -> Document:
    """Return what is given of a fingerprint; what is empty counts as not given, as upstream."""
    given = _given(body, ("type", "sn_path", "input_field")) if body else {}
    defaults = {"snPath": SN_PATH, "inputField": INPUT_FIELD}
    return {name: value or defaults.get(name, value) for name, value in given.items()}


def _checked(spec: Document) -> ProductSpec:
    """Return a spec; raises BaetylError for one whose values are out of range."""
    try:
        return ProductSpec.model_validate(spec, by_alias=True, by_name=False)
    except ValidationError as error:
        raise errors.of_model(error) from error


async def _require_callback(asked: Asked, name: str) -> None:
    """Check that a callback exists; raises NotFound."""
    if name:
        try:
            await asked.objects.get(Callback, name)
        except NotFound as error:
            raise errors.not_found(CALLBACK.singular, name) from error


def _taken(name: str) -> errors.BaetylError:
    return errors.BaetylError("ErrDatabase", f"Problem with database operation. (Duplicate entry '{name}')")
