"""Every namespace has its `default` account."""

from skerry.api.core_service_account_v1 import DEFAULT_ACCOUNT, ServiceAccount
from skerry.api.core_v1 import Namespace
from skerry.api.model import ObjectMeta
from skerry.client.client import Client
from skerry.client.informers import Informers
from skerry.controllers.service_accounts import DefaultAccounts
from skerry.kit.tasks import Wakeup
from skerry.testing.control_plane import STATE_SECONDS_MAX, memory_control_plane


async def default_in(client: Client, namespace: str) -> ServiceAccount | None:
    return await client.find(ServiceAccount, DEFAULT_ACCOUNT, namespace=namespace)


async def test_every_namespace_has_a_default_account_and_a_deleted_one_is_made_again() -> None:
    async with memory_control_plane() as client:
        informers, changed = Informers(client), Wakeup()
        informers.of(ServiceAccount).on_change(lambda _: changed.set())
        async with DefaultAccounts(client, informers).running(), informers.running():

            async def made(namespace: str, besides: str = "") -> ServiceAccount:
                while (found := await default_in(client, namespace)) is None or found.uid == besides:
                    assert await changed.wait(STATE_SECONDS_MAX)
                return found

            await made("default")
            await client.create(Namespace(metadata=ObjectMeta(name="shop")))
            first = await made("shop")
            await client.delete(first)
            await made("shop", besides=first.uid)


async def test_an_account_that_is_there_is_left_as_it_is() -> None:
    async with memory_control_plane() as client:
        meta = ObjectMeta(name=DEFAULT_ACCOUNT, namespace="default")
        mine = await client.create(ServiceAccount(metadata=meta, automount_service_account_token=False))
        informers = Informers(client)
        accounts = DefaultAccounts(client, informers)
        async with informers.running():
            await accounts.reconcile("default")
            await accounts.reconcile("no-such-namespace")
        assert await default_in(client, "default") == mine
        assert await default_in(client, "kube-system") is None
