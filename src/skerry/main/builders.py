"""What brings and builds code in `up`, shared by the kinds that have any: edge functions and typed functions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from skerry.artifacts.fetching.http import HttpClient
from skerry.artifacts.functions import FunctionBuilder
from skerry.artifacts.javascript import JavaScriptBuilder, JavaScriptSettings
from skerry.artifacts.npm.installing import PackageInstaller
from skerry.engine.check import BundleChecker
from skerry.main.adapters import EngineBundleCheck
from skerry.main.building import component_of, engine_cache_of, fetch_settings, find_node, npm_settings
from skerry.main.configuration import Settings
from skerry.main.data_dir import DataDir


@dataclass(frozen=True, slots=True)
class Builders:
    """What builds code.

    Attributes:
        http: makes the requests that bring code.
        check: tries a binary in the engine.
        javascript: bundles files.
        functions: the same, with their dependencies installed first.
    """

    http: HttpClient
    check: EngineBundleCheck
    javascript: JavaScriptBuilder
    functions: FunctionBuilder


@asynccontextmanager
async def code_builders(settings: Settings, data_dir: DataDir) -> AsyncIterator[Builders]:
    """Have builders at hand for the length of the block."""
    build = JavaScriptSettings(
        node=find_node(), esbuild=settings.js_engine_dir / "node_modules" / "esbuild", staging=data_dir.builds
    )
    checker = BundleChecker(component_of(settings), engine_cache_of(settings, data_dir))
    check, fetching = EngineBundleCheck(checker), fetch_settings(settings)
    async with (
        checker,
        HttpClient(fetching) as http,
        JavaScriptBuilder(build, check) as javascript,
        PackageInstaller(http, npm_settings(settings, build), fetching) as packages,
    ):
        yield Builders(http, check, javascript, FunctionBuilder(javascript, packages))
