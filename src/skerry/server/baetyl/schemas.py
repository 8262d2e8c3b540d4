"""What the operations of this door answer, as schemas of its OpenAPI document."""

from collections.abc import Mapping

from skerry.api.model import Document

REF = "#/components/schemas/"
TEXT: Document = {"type": "string"}
_NUMBER: Document = {"type": "integer"}
_BOOLEAN: Document = {"type": "boolean"}
_TEXTS: Document = {"type": "object", "additionalProperties": TEXT}
_COUNTS: Document = {"type": "object", "additionalProperties": _NUMBER}
_ANY_MAP: Document = {"type": "object"}
_MAYBE_MAP: Document = {"type": ["object", "null"]}
_NAMED: Document = {"name": TEXT, "namespace": TEXT, "version": TEXT, "createTime": TEXT}
_DATED: Document = {**_NAMED, "updateTime": TEXT, "description": TEXT, "labels": _TEXTS}
_SUMMARY: Document = {
    **_NAMED,
    "labels": _TEXTS,
    "type": TEXT,
    "mode": TEXT,
    "selector": TEXT,
    "description": TEXT,
    "cronStatus": _NUMBER,
    "system": _BOOLEAN,
}


def ref(name: str) -> Document:
    """Name another schema."""
    return {"$ref": REF + name}


def array(of: Document) -> Document:
    """Return a list of something."""
    return {"type": "array", "items": of}


def whole(properties: Document, *required: str) -> Document:
    """Return an object that has certain members, and may have more."""
    return {"type": "object", "properties": properties, "required": list(required)}


def list_of(name: str) -> Document:
    """Return the form of a list of something."""
    paged = {"total": _NUMBER, "pageNo": _NUMBER, "pageSize": _NUMBER, "listOptions": _MAYBE_MAP}
    return whole({**paged, "items": array(ref(name))}, "total", "items")


_PRODUCT: Document = {
    "name": TEXT,
    "createTime": TEXT,
    "updateTime": TEXT,
    "quotaNum": _NUMBER,
    "securityType": {"enum": ["None", "Token"]},
    "callbackName": TEXT,
    "description": TEXT,
}
_FINGERPRINT: Document = {"type": _NUMBER, "snPath": TEXT, "inputField": TEXT}
_RECORD: Document = {
    **dict.fromkeys(("name", "batchName", "namespace", "fingerprintValue", "nodeName"), TEXT),
    **dict.fromkeys(("activeIp", "activeTime", "createTime", "updateTime"), TEXT),
    "active": {"enum": [0, 1]},
}

SCHEMAS: Mapping[str, Document] = {
    "StoredObject": whole({"source": TEXT, "object": TEXT, "md5": TEXT}, "source", "object", "md5"),
    "Command": whole({"cmd": TEXT}, "cmd"),
    "Download": {"type": "string", "description": "Fingerprints, one a line."},
    "Generated": whole({"total": _NUMBER, "items": array(TEXT)}, "total", "items"),
    "Product": whole(
        {
            **_PRODUCT,
            "namespace": TEXT,
            "enableWhitelist": {"enum": [0, 1]},
            "securityKey": TEXT,
            "labels": _TEXTS,
            "fingerprint": whole(_FINGERPRINT, "type"),
        },
        *("name", "quotaNum", "enableWhitelist", "securityType", "labels", "fingerprint", "createTime", "updateTime"),
    ),
    "ProductSummary": whole(_PRODUCT, "name"),
    "ProductList": list_of("ProductSummary"),
    "Record": whole(_RECORD, *_RECORD),
    "RecordList": list_of("Record"),
    "Error": whole({"code": TEXT, "message": TEXT, "request-id": TEXT}, "code", "message", "request-id"),
    "Text": TEXT,
    "Success": whole({"success": {"const": True}}, "success"),
    "Node": whole(
        {
            **_NAMED,
            "labels": _TEXTS,
            "annotations": _TEXTS,
            "description": TEXT,
            "ready": _BOOLEAN,
            "cluster": _BOOLEAN,
            "mode": {"enum": ["cloud", "local"]},
            "nodeMode": {"enum": ["kube", "native", "android"]},
            "accelerator": TEXT,
            "sysApps": array(TEXT),
            "attr": _TEXTS,
            "link": TEXT,
            "coreId": TEXT,
            "report": _ANY_MAP,
        },
        *("name", "namespace", "ready", "createTime", "labels"),
    ),
    "NodeList": list_of("Node"),
    "ScrapeTargets": array(whole({"targets": array(TEXT), "labels": _TEXTS}, "targets", "labels")),
    "Summary": whole({"nodes": _COUNTS, "applications": _COUNTS, "bindings": _NUMBER}, "nodes", "applications"),
    "RolloutPlan": whole(
        {
            **dict.fromkeys(("name", "application", "target", "phase"), TEXT),
            "admittedGroups": _NUMBER,
            "counts": _COUNTS,
            "groups": array(whole({"name": TEXT, "total": _NUMBER, "nodes": array(TEXT)}, "name", "total", "nodes")),
        },
        *("name", "phase", "groups"),
    ),
    "Functions": whole({"functions": array(TEXT)}, "functions"),
    "Properties": whole({"state": _ANY_MAP, "metadata": _ANY_MAP}, "state", "metadata"),
    "Core": whole({"frequency": _NUMBER, "apiport": _NUMBER, "agentport": _NUMBER, "logLevel": TEXT}, "frequency"),
    "Versions": whole({"versions": array(TEXT)}, "versions"),
    "ApplicationSummary": whole(_SUMMARY, "name", "namespace", "type", "selector", "createTime"),
    "ApplicationList": list_of("ApplicationSummary"),
    "Application": whole(
        {
            **_SUMMARY,
            "services": array(_ANY_MAP),
            "initServices": array(_ANY_MAP),
            "volumes": array(_ANY_MAP),
            "registries": array(_ANY_MAP),
        },
        *("name", "namespace", "type", "selector", "createTime", "services", "volumes"),
    ),
    "Configuration": whole(
        {**_DATED, "data": array(whole({"key": TEXT, "value": _ANY_MAP}, "key", "value"))},
        *("name", "namespace", "version", "createTime"),
    ),
    "ConfigurationList": list_of("Configuration"),
    "Secret": whole({**_DATED, "data": _TEXTS}, "name", "namespace", "version", "createTime", "description"),
    "SecretList": list_of("Secret"),
    "Registry": whole({**_DATED, "address": TEXT, "username": TEXT}, "name", "namespace", "address", "username"),
    "RegistryList": list_of("Registry"),
    "Certificate": whole(
        {
            **_DATED,
            **dict.fromkeys(("signatureAlgorithm", "effectiveTime", "expiredTime", "serialNumber"), TEXT),
            "issuer": TEXT,
            "fingerPrint": TEXT,
            "data": whole({"certificate": TEXT}, "certificate"),
        },
        *("name", "namespace", "version", "createTime"),
    ),
    "CertificateList": list_of("Certificate"),
}
