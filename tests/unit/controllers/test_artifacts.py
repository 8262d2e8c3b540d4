"""What the collector of artifacts leaves alone."""

from pathlib import Path

from skerry.api.baetyl_configurations import Configuration, ConfigurationObject
from skerry.api.dispatch_v1 import Function
from skerry.api.extensions_v1alpha2 import EdgeFunctionRevision
from skerry.api.istio_extensions_v1alpha1 import WasmPlugin, WasmPluginCode, WasmPluginSpec
from skerry.api.model import ObjectMeta
from skerry.artifacts.folder import FolderKeep
from skerry.artifacts.keep import GRACE_SECONDS
from skerry.client.client import Client
from skerry.client.informer import Informer
from skerry.controllers.artifacts import ArtifactCollector
from skerry.kit.tasks import background
from skerry.testing.clock import FakeClock


async def changed(client: Client, name: str, code: WasmPluginCode) -> None:
    plugin = await client.get(WasmPlugin, name, namespace="default")
    await client.change_status(plugin, lambda found: setattr(found.status, "code", code))


async def test_code_that_a_plugin_names_stays_and_what_nothing_names_goes_after_its_grace(
    client: Client, tmp_path: Path
) -> None:
    clock = FakeClock()
    async with FolderKeep(tmp_path, clock=clock) as keep:
        named, other = await keep.put(b"named"), await keep.put(b"other")
        await client.create(
            WasmPlugin(metadata=ObjectMeta(name="a", namespace="default"), spec=WasmPluginSpec(url="a.example/b"))
        )
        code = WasmPluginCode(
            digest=str(named), size_bytes=5, url="u", source="s", pulled_for="p", resolved_at="2030-01-01T00:00:00Z"
        )
        await changed(client, "a", code)
        revisions, plugins = Informer(client, EdgeFunctionRevision), Informer(client, WasmPlugin)
        functions, configurations = Informer(client, Function), Informer(client, Configuration)
        collector = ArtifactCollector(keep, revisions, plugins, functions, configurations)
        file = await keep.put(b"file")
        item = ConfigurationObject(source="skerry", object=str(file))
        await client.create(Configuration(metadata=ObjectMeta(name="conf", namespace="default"), objects={"f": item}))
        loops = [("revisions", revisions.run), ("plugins", plugins.run), ("functions", functions.run)]
        async with background(*loops, ("configurations", configurations.run)):
            await functions.synced()
            await configurations.synced()
            await revisions.synced()
            await plugins.synced()
            await collector.collect()
            assert await keep.has(other)
            clock.advance(GRACE_SECONDS + 1)
            await collector.collect()
        assert await keep.has(named)
        assert await keep.has(file)
        assert not await keep.has(other)
