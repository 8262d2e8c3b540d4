"""Products and records: what takes more than one request; of that, `facts` has every one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skerry.api.baetyl_registration import RECORD, Product, Record
from skerry.api.errors import Forbidden
from skerry.server.auth import ADMINISTRATORS, User
from skerry.server.verbs.requests import Target, WriteOptions
from skerry.testing.fleet import FleetDoors, open_fleet_doors


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[FleetDoors]:
    async with open_fleet_doors(tmp_path) as opened:
        yield opened


async def test_a_product_of_which_nothing_is_said_is_upstreams_default(door: FleetDoors):
    made = await door.ask("POST", "/v1/register", {})
    assert len(made["name"]) == len(made["securityKey"]) == 32
    assert made["fingerprint"] == {"type": 1, "snPath": "/var/lib/baetyl/sn/fingerprint.txt", "inputField": "sn"}
    assert (made["quotaNum"], made["enableWhitelist"], made["securityType"]) == (200, 1, "Token")
    assert made["labels"] == {"baetyl-batch": made["name"]}
    assert await door.ask("GET", f"/v1/register/{made['name']}") == made


async def test_a_product_keeps_what_is_said_of_it(door: FleetDoors):
    given = {
        "name": "factory",
        "quotaNum": 3,
        "enableWhitelist": 0,
        "securityType": "None",
        "description": "presses",
        "labels": {"site": "lyon"},
        "fingerprint": {"type": 36},
    }
    made = await door.ask("POST", "/v1/register", given)
    assert made.items() >= {**given, "labels": made["labels"], "fingerprint": made["fingerprint"]}.items()
    assert made["labels"] == {"site": "lyon", "baetyl-batch": "factory"}
    assert made["fingerprint"]["type"] == 36
    assert (await door.client.get(Product, "factory", namespace="default")).spec.quota_num == 3


async def test_of_a_product_only_some_things_change_and_what_is_left_out_stays(door: FleetDoors):
    await door.product(labels={"site": "lyon"}, description="a")
    given = {"name": "other", "quotaNum": 5, "securityType": "None", "securityKey": "x", "enableWhitelist": 0}
    changed = await door.ask("PUT", "/v1/register/factory", given)
    assert changed["quotaNum"] == 5
    unchanged = (changed["name"], changed["securityType"], changed["securityKey"], changed["enableWhitelist"])
    assert unchanged == ("factory", "Token", "key", 1)
    assert (changed["labels"]["site"], changed["description"]) == ("lyon", "a")
    changed = await door.ask("PUT", "/v1/register/factory", {"labels": {"b": "c"}, "fingerprint": {"type": 4}})
    assert changed["labels"] == {"b": "c", "baetyl-batch": "factory"}
    assert changed["fingerprint"]["type"] == 4
    assert changed["quotaNum"] == 5


async def test_products_are_listed_by_pages_without_their_keys(door: FleetDoors):
    for name in ("press-1", "press-2", "oven"):
        await door.product(name)
    page = await door.ask("GET", "/v1/register?pageNo=2&pageSize=1&name=press")
    assert (page["total"], page["pageNo"], page["pageSize"], len(page["items"])) == (2, 2, 1, 1)
    assert "securityKey" not in page["items"][0]
    whole = await door.ask("GET", "/v1/register?pageNo=0&pageSize=x")
    assert (whole["total"], whole["pageNo"], whole["pageSize"]) == (3, 1, 20)
    assert (await door.ask("GET", "/v1/register?pageNo=9"))["items"] == []


async def test_a_product_with_records_can_not_be_deleted(door: FleetDoors):
    await door.product()
    await door.ask("POST", "/v1/register/factory/record", {"fingerprintValue": "SN1"})
    told = await door.refused("DELETE", "/v1/register/factory")
    assert told == "ErrRegisterDeleteRecord: Batch (factory) delete failed, record not null."
    await door.ask("DELETE", "/v1/register/factory/record/SN1")
    assert await door.ask("DELETE", "/v1/register/factory") == {"success": True}
    await door.refused("GET", "/v1/register/factory", status=404)


async def test_a_record_is_called_by_its_fingerprint_and_has_not_joined(door: FleetDoors):
    await door.product()
    made = await door.ask("POST", "/v1/register/factory/record", {"fingerprintValue": "SN1"})
    assert (
        made.items()
        >= {
            "name": "SN1",
            "batchName": "factory",
            "namespace": "default",
            "fingerprintValue": "SN1",
            "nodeName": "sn1",
            "active": 0,
            "activeIp": "0.0.0.0",  # noqa: S104 - is told, not bound
            "activeTime": "2007-01-01T00:00:00Z",
        }.items()
    )
    assert await door.ask("GET", "/v1/register/factory/record/SN1") == made
    assert (await door.client.get(Record, "factory:sn1", namespace="default")).spec.node_name == "sn1"


async def test_a_record_of_which_nothing_is_said_gets_a_fingerprint(door: FleetDoors):
    await door.product()
    made = await door.ask("POST", "/v1/register/factory/record", {})
    assert len(made["fingerprintValue"]) == 32
    assert made["name"] == made["nodeName"] == made["fingerprintValue"]


async def test_a_record_is_found_by_a_name_of_its_own(door: FleetDoors):
    await door.product()
    given = {"name": "press", "fingerprintValue": "SN1", "nodeName": "press-7"}
    made = await door.ask("POST", "/v1/register/factory/record", given)
    assert await door.ask("GET", "/v1/register/factory/record/press") == made
    changed = await door.ask("PUT", "/v1/register/factory/record/press", {"nodeName": "press-8", "name": "x"})
    assert (changed["nodeName"], changed["name"]) == ("press-8", "press")
    assert await door.ask("DELETE", "/v1/register/factory/record/press") == {"success": True}
    told = await door.refused("GET", "/v1/register/factory/record/press", status=404)
    assert told == "ErrResourceNotFound: The (record) resource (press) is not found."


async def test_generated_records_are_listed_and_downloaded(door: FleetDoors):
    await door.product(quotaNum=100)
    made = await door.ask("POST", "/v1/register/factory/generate", {"num": 70})
    assert made["total"] == len(set(made["items"])) == 70
    page = await door.ask("GET", "/v1/register/factory/record?pageNo=2&pageSize=50")
    assert (page["total"], len(page["items"])) == (70, 20)
    one = made["items"][0]
    found = await door.ask("GET", f"/v1/register/factory/record?name={one[3:20].upper()}")
    assert [record["fingerprintValue"] for record in found["items"]] == [one]
    answer = await door.http.get("/v1/register/factory/download")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert sorted(answer.text.splitlines()) == sorted(made["items"])
    assert answer.text.endswith("\n")


async def test_the_record_of_a_device_that_joined_tells_it_and_stays(door: FleetDoors):
    await door.product(enableWhitelist=0)
    await door.joined("SN1")
    found = await door.ask("GET", "/v1/register/factory/record/sn1")
    assert (found["active"], found["nodeName"]) == (1, "sn1")
    assert found["activeTime"] > "2007-01-01T00:00:00Z"
    told = await door.refused("DELETE", "/v1/register/factory/record/sn1")
    assert told == "ErrRegisterRecordActivated: The record is activated."


async def test_who_may_not_read_products_learns_nothing_of_them(door: FleetDoors):
    await door.product()
    answer = await door.http.get("/v1/register/factory", headers={"authorization": "Bearer nobody"})
    assert answer.status_code in {401, 403}
    assert "key" not in answer.json()


async def test_records_from_kubectl_are_held_to_the_quota_and_count_at_once(door: FleetDoors):
    await door.product(quotaNum=3)
    await door.ask("POST", "/v1/register/factory/record", {"fingerprintValue": "sn1"})
    administrator = WriteOptions(manager="kubectl", user=User("root", groups=(ADMINISTRATORS,)))

    async def create(fingerprint: str) -> None:
        spec = {"batchName": "factory", "fingerprintValue": fingerprint}
        document = {"metadata": {"name": f"factory:{fingerprint}"}, "spec": spec}
        await door.verbs.create(Target(RECORD, "default"), document, administrator)

    await create("sn2")
    assert (await door.refused("POST", "/v1/register/factory/generate", {"num": 2})).startswith(
        "ErrRegisterQuotaNumOut"
    )
    await create("sn3")
    with pytest.raises(Forbidden, match=r"has room for 3 records \(spec.quotaNum\)"):
        await create("sn4")
    assert (await door.ask("GET", "/v1/register/factory/record"))["total"] == 3
