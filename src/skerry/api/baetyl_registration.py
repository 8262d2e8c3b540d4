"""cloud.baetyl.io/v1alpha1: how devices join a fleet: products (upstream's batches), their records, and callbacks.

A record is one device that may join; its object is named by product and fingerprint, so that the log itself keeps a
fingerprint from being registered twice. Fields and defaults are those of Baetyl Cloud 2.0, the last version with
batches. Does not own what activation does (`fleet.registration` decides, `server.baetyl` does it).
"""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from skerry.api.baetyl_v1alpha1 import GROUP, NAME_CHARACTERS_MIN, VERSION
from skerry.api.fields import FieldError, forbidden, invalid, required, too_long, too_many
from skerry.api.kinds import Column, Kind, value_at
from skerry.api.model import SECRET_FIELD, Int64, Model, Resource, Time
from skerry.api.names import LABEL_CHARACTERS_MAX, name_errors

#: The label of products, and of the nodes that joined by one, that says which.
PRODUCT_LABEL = "baetyl-batch"
#: Records of one product. Each is an object of the log, and a list of a product's records reads them all.
QUOTA_MAX = 100_000
QUOTA_DEFAULT = 200
SN_PATH = "/var/lib/baetyl/sn/fingerprint.txt"
INPUT_FIELD = "sn"
#: Every kind of fingerprint at once.
FINGERPRINT_TYPES = 63
#: Headers, parameters, or members of the body of one callback.
CALLBACK_ITEMS_MAX = 50
_TEXT_CHARACTERS_MAX = 1024

_FINGERPRINT = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.IGNORECASE | re.ASCII)

Text = Annotated[str, Field(max_length=_TEXT_CHARACTERS_MAX)]
#: Sent to whoever a callback calls; they often hold a credential.
SecretTexts = Annotated[dict[str, str] | None, SECRET_FIELD]


class Fingerprint(Model):
    """By what a device of a product tells who it is."""

    type: Annotated[int, Field(ge=1, le=FINGERPRINT_TYPES)] = 1
    """A sum of: 1 serial number, 2 input, 4 host name, 8 boot id, 16 system UUID, 32 machine id. Defaults to 1."""
    sn_path: Text = SN_PATH
    """The file on the device that holds its serial number; absolute."""
    input_field: Text = INPUT_FIELD
    """What the value is called that a person types in."""


class ProductSpec(Model):
    """Which devices may join, and how they prove it."""

    description: Text = ""
    """For people."""
    quota_num: Annotated[int, Field(ge=0, le=QUOTA_MAX)] = QUOTA_DEFAULT
    """Most records. Defaults to 200."""
    enable_whitelist: Annotated[int, Field(ge=0, le=1)] = 1
    """1: only devices with a record may join, the default; 0: a device that joins gets one."""
    security_type: Literal["None", "Token"] = "Token"
    """What a device must show besides its fingerprint. Defaults to Token."""
    security_key: Annotated[str, SECRET_FIELD, Field(max_length=_TEXT_CHARACTERS_MAX)] = ""
    """The token; required where devices must show one."""
    callback_name: str = ""
    """The Callback that is told of each activation."""
    fingerprint: Fingerprint = Field(default_factory=Fingerprint)
    """By what a device tells who it is."""


class ProductStatus(Model):
    """What became of a product."""

    records: Int64 = 0
    """Its records, and room for those that are being made: what the quota is held against."""


class Product(Resource):
    """Devices that join alike. Its labels become those of their nodes."""

    spec: ProductSpec = Field(default_factory=ProductSpec)
    """Which devices, and how."""
    status: ProductStatus = Field(default_factory=ProductStatus)
    """What became of it."""


class RecordSpec(Model):
    """A device that may join."""

    batch_name: str
    """The Product."""
    name: str = ""
    """What people call the record. Defaults to the fingerprint."""
    fingerprint_value: str
    """What the device says of itself; upper and lower case are one."""
    node_name: str = ""
    """The node that it becomes. Defaults to the fingerprint in lower case."""
    self_registered: bool = False
    """Whether the device registered itself. It can't become a node that was there before it."""


class RecordStatus(Model):
    """What became of a device."""

    active: bool = False
    """Whether it has joined."""
    active_ip: str | None = None
    """From where."""
    active_time: Time | None = None
    """When it last did."""
    node_uid: str | None = None
    """UID of the Node that it joined as."""


class Record(Resource):
    """The registration of one device."""

    spec: RecordSpec
    """Which device."""
    status: RecordStatus = Field(default_factory=RecordStatus)
    """What became of it."""


class CallbackSpec(Model):
    """A request that tells someone of an activation."""

    method: Literal["GET", "POST", "PUT"] = "POST"
    """Of HTTP. Defaults to POST."""
    url: Text
    """To where: http or https."""
    params: SecretTexts = None
    """Added to the URL as its query."""
    header: SecretTexts = None
    """Headers."""
    body: SecretTexts = None
    """Members of the JSON body; what the device sends along (`penetrateData`) is merged over them."""
    description: Text = ""
    """For people."""


class Callback(Resource):
    """Whom to tell of activations."""

    spec: CallbackSpec
    """The request."""


def record_object_name(product: str, fingerprint: str) -> str:
    """Return the name of the Record of a fingerprint."""
    return f"{product}:{fingerprint.lower()}"


def is_fingerprint(text: str) -> bool:
    """Tell whether a text can be the fingerprint of a device: a resource name, in letters of either case."""
    return len(text) <= LABEL_CHARACTERS_MAX and _FINGERPRINT.fullmatch(text) is not None


def fingerprint_error(path: str, value: str) -> FieldError | None:
    """Return what is wrong with a fingerprint, or None."""
    if is_fingerprint(value):
        return None
    return invalid(
        path,
        value,
        f"must consist of up to {LABEL_CHARACTERS_MAX} letters, digits, '-' and '.', and begin and end with "
        "a letter or a digit",
    )


def _default_product(product: Product) -> None:
    if product.name:
        product.metadata.labels = {**(product.metadata.labels or {}), PRODUCT_LABEL: product.name}


def _short_name_errors(path: str, name: str) -> Iterator[FieldError]:
    """Check a name that becomes the value of a label."""
    yield from name_errors(path, name, "subdomain")
    if len(name) > LABEL_CHARACTERS_MAX:
        yield too_long(path, LABEL_CHARACTERS_MAX, "characters")


def _validate_product(product: Product, _: Product | None) -> Iterator[FieldError]:
    spec = product.spec
    if len(product.name) > LABEL_CHARACTERS_MAX:
        yield too_long("metadata.name", LABEL_CHARACTERS_MAX, "characters")
    if spec.security_type == "Token" and not spec.security_key:
        yield required("spec.securityKey", "devices must show it, as securityType is Token")
    if not spec.fingerprint.sn_path.startswith("/"):
        yield invalid("spec.fingerprint.snPath", spec.fingerprint.sn_path, "must be an absolute path")
    if spec.callback_name:
        yield from name_errors("spec.callbackName", spec.callback_name, "subdomain")


def _default_record(record: Record) -> None:
    record.spec.name = record.spec.name or record.spec.fingerprint_value
    record.spec.node_name = record.spec.node_name or record.spec.fingerprint_value.lower()
    record.metadata.labels = {**(record.metadata.labels or {}), PRODUCT_LABEL: record.spec.batch_name}


def _validate_record(record: Record, old: Record | None) -> Iterator[FieldError]:
    spec = record.spec
    if error := fingerprint_error("spec.fingerprintValue", spec.fingerprint_value):
        yield error
    if error := fingerprint_error("spec.name", spec.name):
        yield error
    yield from _short_name_errors("spec.nodeName", spec.node_name)
    if len(spec.node_name) < NAME_CHARACTERS_MIN:
        yield invalid("spec.nodeName", spec.node_name, f"must have at least {NAME_CHARACTERS_MIN} characters")
    yield from _short_name_errors("spec.batchName", spec.batch_name)
    wanted = record_object_name(spec.batch_name, spec.fingerprint_value)
    if record.name != wanted:
        yield invalid("metadata.name", record.name, f"must be {wanted}: the product, ':' and the fingerprint")
    if old is not None and spec.model_copy(update={"node_name": old.spec.node_name}) != old.spec:
        yield forbidden("spec", "only nodeName can be changed: delete the record, and make another one")


def _validate_callback(callback: Callback, _: Callback | None) -> Iterator[FieldError]:
    spec = callback.spec
    if not spec.url.startswith(("http://", "https://")):
        yield invalid("spec.url", spec.url, "must begin with http:// or https://")
    for name, items in (("params", spec.params), ("header", spec.header), ("body", spec.body)):
        if items and len(items) > CALLBACK_ITEMS_MAX:
            yield too_many(f"spec.{name}", len(items), CALLBACK_ITEMS_MAX)


PRODUCT = Kind(
    group=GROUP,
    version=VERSION,
    model=Product,
    plural="products",
    namespaced=True,
    columns=(
        Column("Records", value_at(".status.records"), type="integer", description="Devices that are registered."),
        Column("Quota", value_at(".spec.quotaNum"), type="integer", description="Most of them."),
        Column("Security", value_at(".spec.securityType"), description="What a device must show.", priority=1),
    ),
    default=_default_product,
    validate=_validate_product,
    read_by="edit",  # it tells the token by which devices join
    written_by="edit",
)

RECORD = Kind(
    group=GROUP,
    version=VERSION,
    model=Record,
    plural="records",
    namespaced=True,
    columns=(
        Column("Product", value_at(".spec.batchName"), description="Of which product."),
        Column("Node", value_at(".spec.nodeName"), description="The node that it becomes."),
        Column("Active", value_at(".status.active"), type="boolean", description="Whether it has joined."),
    ),
    name_format="path-segment",
    default=_default_record,
    validate=_validate_record,
    read_by="view",
    written_by="edit",
)

CALLBACK = Kind(
    group=GROUP,
    version=VERSION,
    model=Callback,
    plural="callbacks",
    namespaced=True,
    columns=(Column("URL", value_at(".spec.url"), description="To where."),),
    validate=_validate_callback,
    read_by="admin",  # written by cluster-admin alone: the control plane sends requests, and credentials, to its URL
)
