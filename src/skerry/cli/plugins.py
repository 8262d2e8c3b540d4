"""`skerry plugin ...`: try a module before it is applied, and see the chains that gateways run."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

import httpx
import orjson
import typer
from rich.table import Table

from skerry.api.gateway_v1 import GATEWAY
from skerry.api.istio_authorization_policy_v1 import AUTHORIZATION_POLICY
from skerry.api.istio_extensions_v1alpha1 import WASM_PLUGIN
from skerry.api.istio_request_authentication_v1 import REQUEST_AUTHENTICATION
from skerry.api.model import Document
from skerry.cli.chain import Objects, steps
from skerry.cli.connection import connected
from skerry.cli.printing import err, out
from skerry.cli.reading import read_bytes
from skerry.cli.session import DataDirFlag, KubeconfigFlag, access_of, list_all, run
from skerry.client.http import HttpTransport
from skerry.client.transport import Target
from skerry.kit.errors import ConfigurationError, SkerryError

DEFAULT_RESPONSE = "hello from the upstream\n"

plugins = typer.Typer(help="Plugins of the proxy.", no_args_is_help=True)


@plugins.command("test")
def try_module(
    module: Annotated[str, typer.Argument(metavar="FILE.wasm", help="A module built for the Proxy-Wasm ABI.")],
    config: Annotated[
        str, typer.Option(metavar="JSON|@FILE", help="What the module is configured with: `pluginConfig`, an object.")
    ] = "",
    request: Annotated[str, typer.Option(metavar="'METHOD URL'", help="What is asked.")] = "GET http://localhost/",
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", metavar="'NAME: VALUE'", help="Of the request; repeatable.")
    ] = None,
    data: Annotated[str, typer.Option(metavar="TEXT|@FILE", help="Body of the request.")] = "",
    response_header: Annotated[
        list[str] | None, typer.Option(metavar="'NAME: VALUE'", help="Of the upstream's answer; repeatable.")
    ] = None,
    response_data: Annotated[
        str, typer.Option(metavar="TEXT|@FILE", help="Body of the upstream's answer.", show_default=False)
    ] = DEFAULT_RESPONSE,
    type_: Annotated[
        str, typer.Option("--type", help="http: filters requests. network: filters connections.")
    ] = "http",
    plugin_name: Annotated[
        str, typer.Option(metavar="NAME", help="Which plugin of the module, as it registers it: `pluginName`.")
    ] = "",
    env: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Environment of the module; repeatable.")
    ] = None,
    log_level: Annotated[str, typer.Option(metavar="LEVEL", help="The least level of what is printed of the log.")] = (
        "info"
    ),
) -> None:
    """Run a module on a sample request, and print what it changes and logs.

    The module runs in an Envoy of this command's own, which no one else reaches; no Skerry need run. The request goes
    to an upstream that answers 200 whatever it is asked, once past the module and once through it. Lines with `+` are
    what the module put there, lines with `-` what it took away:

        skerry plugin test add-header.wasm --plugin-name add_header --config '{"name": "x-greeting", "value": "hello"}'

        skerry plugin test auth.wasm --request 'POST http://shop.test/cart' -H 'x-user: kim' --data @cart.json

    Exit code 0: the module took its configuration and let the request come to an answer, be it its own. 1: it was
    refused, trapped, or never answered. 2: a flag is wrong.
    """
    # Envoy's messages take a moment to import, and no other command needs them.
    from skerry.cli.plugin_report import report
    from skerry.main.rehearsal import LOG_LEVELS, Message, Sample, ir, rehearse_file

    if log_level not in LOG_LEVELS:
        raise ConfigurationError(f"--log-level: {log_level!r} is not one of {', '.join(LOG_LEVELS)}")
    start, host = _request(request)
    headers = tuple(_headers("--header", header))
    if not any(name == "host" for name, _ in headers):
        headers = (("host", host), *headers)
    sample = Sample(
        Message(start, headers, _content("--data", data)),
        Message("200", _answer_headers(response_header), _content("--response-data", response_data)),
    )
    wasm = ir.Wasm(
        module, root_id=plugin_name, configuration=_configuration(config), environment=tuple(_environment(env))
    )
    rehearsal = rehearse_file(_layer(type_), wasm, sample, log_level=log_level)
    for line in report(rehearsal):
        out.print(line, emoji=False)
    if rehearsal.past.answered is None:
        raise SkerryError("the request has no answer without the module either: see --request and --header")
    if rehearsal.refusal:
        raise SkerryError(f"the module was refused: {rehearsal.refusal}")
    if rehearsal.trap:
        raise SkerryError(f"the module trapped: {rehearsal.trap.splitlines()[0]}")
    if rehearsal.through and rehearsal.through.answered is None:
        raise SkerryError("the request had no answer: the module held it back, or closed the connection")


def _request(text: str) -> tuple[str, str]:
    """Split `METHOD URL` into the start of a request and its host."""
    method, _, rest = text.strip().partition(" ")
    problem = f"--request: {text!r} must be like 'GET http://shop.test/cart' or 'GET /cart'"
    try:
        url = httpx.URL(rest.strip())
    except httpx.InvalidURL as error:
        raise ConfigurationError(problem) from error
    if not method.isalpha() or not rest.strip().startswith(("/", "http://")):
        raise ConfigurationError(problem)
    return f"{method.upper()} {url.raw_path.decode()}", url.netloc.decode() or "localhost"


def _headers(flag: str, texts: Iterable[str] | None) -> Iterator[tuple[str, str]]:
    for text in texts or ():
        name, colon, value = text.partition(":")
        if not colon or not name.strip() or "\n" in text or "\r" in text:
            raise ConfigurationError(f"{flag}: {text!r} must be like 'name: value'")
        yield name.strip().lower(), value.strip()


def _answer_headers(texts: Iterable[str] | None) -> tuple[tuple[str, str], ...]:
    given = tuple(_headers("--response-header", texts))
    return given if any(name == "content-type" for name, _ in given) else (("content-type", "text/plain"), *given)


def _content(flag: str, text: str) -> bytes:
    if not text.startswith("@"):
        return text.encode()
    return read_bytes(text[1:], flag)


def _configuration(text: str) -> str:
    """Return a configuration as a plugin is handed it: compact JSON with sorted keys."""
    if not text:
        return ""
    try:
        value = orjson.loads(_content("--config", text))
    except orjson.JSONDecodeError as error:
        raise ConfigurationError(f"--config: no JSON: {error}") from error
    if not isinstance(value, dict):
        raise ConfigurationError("--config: must be a JSON object")
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode() if value else ""


def _environment(texts: Iterable[str] | None) -> Iterator[tuple[str, str]]:
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ConfigurationError(f"--env: {text!r} must be NAME=VALUE")
        yield name, value


def _layer(text: str) -> Literal["http", "network"]:
    match text.lower():
        case "http":
            return "http"
        case "network":
            return "network"
    raise ConfigurationError(f"--type: {text!r} is not one of http, network")


@plugins.command("ls")
def list_chain(
    gateway: Annotated[str, typer.Option(metavar="NAME", help="One Gateway. Default: all of the namespace.")] = "",
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Namespace of the Gateways.")] = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Print what requests meet, in order.

    Connections meet NETWORK plugins first, then requests meet HTTP plugins: by phase, then higher priority first.
    RequestAuthentications stand behind the phase AUTHN, AuthorizationPolicies with their actions behind AUTHZ.
    """

    async def fetch() -> tuple[list[Document], Objects]:
        async with connected(access_of(kubeconfig, data_dir)) as http:
            transport = HttpTransport(http)
            target = Target(GATEWAY, namespace, gateway)
            gateways = [await transport.get(target)] if gateway else await list_all(transport, target)
            kinds = (WASM_PLUGIN, REQUEST_AUTHENTICATION, AUTHORIZATION_POLICY)
            return gateways, Objects(*[await list_all(transport, Target(kind)) for kind in kinds])

    gateways, objects = run(fetch())
    names = [each["metadata"]["name"] for each in gateways]
    rows = [(name, *step) for name in names for step in steps(namespace, name, objects)]
    if not rows:
        err.print(f"no plugins run on {f'gateway {gateway}' if gateway else 'gateways'} of namespace {namespace}")
        return
    table = Table("GATEWAY", "PLUGIN", "TYPE", "PHASE", "PRIORITY", "READY", "MESSAGE", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    out.print(table)
