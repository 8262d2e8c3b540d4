"""Who may what, for every route of every front door: the table of docs/reference/who-may.md, and that it is obeyed.

A new route, kind or default role changes the table. Look at the change: is that who should be able to? Then write it
with `pytest tests/golden/who_may --update-golden`.
"""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from skerry.api.model import ObjectMeta
from skerry.api.rbac_v1 import ClusterRoleBinding, RoleRef, Subject
from skerry.api.registry import KINDS
from skerry.api.secret_fields import confidential_resources
from skerry.artifacts.folder import FolderKeep
from skerry.client.client import Client
from skerry.kit.clock import SystemClock
from skerry.kit.ids import RandomIds
from skerry.main.control_plane import Ground, front_doors
from skerry.main.functions import dispatching
from skerry.main.joining import JoiningSettings, Trusted, joining
from skerry.server.access import Act, path_act
from skerry.server.app import App, Guards
from skerry.server.auth import ADMINISTRATORS, ANONYMOUS, AUTHENTICATED, StaticTokens, TokenRecord, User, digest_of
from skerry.server.authorization.authorization import Authorization
from skerry.server.authorization.defaults import default_bindings, default_roles
from skerry.server.authorization.index import RbacIndex
from skerry.server.baetyl.fleet import Fleet
from skerry.server.health import Health
from skerry.server.http import Route
from skerry.server.kube.acts import resource_act
from skerry.server.kube.paths import ResourcePath, parse_path
from skerry.server.kube.tokens import Tokens
from skerry.server.local import LocalTransport
from skerry.server.service_accounts import AccountTokens, open_signing_key
from skerry.server.tls import ServerIdentity, open_authority
from skerry.server.verbs.verbs import Verbs
from skerry.store.log import open_log
from skerry.store.memory import open_memory
from skerry.store.sealing.keys import LocalKeys
from skerry.store.sealing.sealed import open_sealed
from skerry.testing.fleet import kept_in
from skerry.testing.log_lines import LogLines

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "who-may.md"
HEAD = "| resource or path | verbs | who, besides `cluster-admin` |\n|---|---|---|\n"
TABLE = re.compile(re.escape(HEAD) + r"(?:\|.*\n)*")

#: What stands for the names in a route.
NAMES = {
    "record": "x",
    "app": "x",
    "function": "x",
    "version": "v1",
    "group": "rbac.authorization.k8s.io",
    "document": "api/v1",
    "namespace": "default",
}
ANYONE, EVERY_USER, NOBODY = "anyone, also without a credential", "every user", "nobody else"
KNOWN = User("nobody-special", groups=(AUTHENTICATED,))


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    """Every front door, as `skerry up` has them."""
    clock, access = SystemClock(), Authorization()
    async with AsyncExitStack() as stack:
        driver = await stack.enter_async_context(open_memory())
        keys = LocalKeys(tmp_path / "keys.json", clock)
        sealed = await open_sealed(driver, keys, confidential_resources(KINDS).__contains__)
        log = await stack.enter_async_context(open_log(sealed.driver))
        verbs = Verbs(log, KINDS, clock, RandomIds(), access)
        await verbs.bootstrap()
        await stack.enter_async_context(access.running(verbs))
        users = (KNOWN, User("root", groups=(ADMINISTRATORS,)))
        known = StaticTokens([TokenRecord(digest_of(user.name), user) for user in users])
        accounts = AccountTokens(verbs, open_signing_key(tmp_path / "sa.key"), clock, RandomIds())
        tokens = Tokens(verbs, clock, accounts, (known,))
        keep = await stack.enter_async_context(FolderKeep(tmp_path / "artifacts"))
        client = Client(LocalTransport(verbs, manager="test"))
        behind = await stack.enter_async_context(dispatching(client, verbs))
        fleet = Fleet()
        ground = Ground(log, verbs, access, sealed.resealer, keep, client, False, fleet, behind)
        authority = open_authority(tmp_path / "pki", clock)
        trusted = Trusted(authority, ServerIdentity(tmp_path / "pki", authority, (), clock))
        devices = joining(verbs, fleet, trusted, kept_in(tmp_path, keep), JoiningSettings())
        joined = await stack.enter_async_context(devices)
        doors = front_doors(ground, LogLines(), clock, tokens, joined)
        yield App(doors, Guards((known,), access), Health([]), clock)


@pytest.fixture
async def http(app: App) -> AsyncIterator[httpx.AsyncClient]:
    transport: Any = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="https://skerry") as client:
        yield client


@pytest.fixture
def index() -> RbacIndex:
    """The default roles and bindings, and a user of each role's name who has that role."""
    found = RbacIndex()
    for role in default_roles(KINDS):
        found.put_role(role)
        holder = Subject(kind="User", name=role.name)
        reference = RoleRef(kind="ClusterRole", name=role.name)
        meta = ObjectMeta(name=f"test:{role.name}")
        found.put_binding(ClusterRoleBinding(metadata=meta, subjects=[holder], role_ref=reference))
    for binding in default_bindings():
        found.put_binding(binding)
    return found


def concrete(route: Route) -> str:
    return route.path.format(**NAMES, name="x")


def act_of(route: Route) -> Act:
    if route.act:
        return route.act
    path = parse_path(concrete(route)) if route.path.startswith("/api") else None
    if not isinstance(path, ResourcePath) or not path.plural:
        return path_act(route.method, concrete(route))
    return resource_act(route.method, path, {"watch": "true"} if route.watch else {})


def who_may(index: RbacIndex, act: Act) -> str:
    """Return who may by the default roles and bindings, beside those who may everything."""
    for user, told in ((ANONYMOUS, ANYONE), (KNOWN, EVERY_USER)):
        if index.decide(user, act):
            return told
    roles = [role.name for role in default_roles(KINDS) if role.name != "cluster-admin"]
    people = [name for name in ("view", "edit", "admin", *roles) if not name.startswith("system:aggregate-")]
    holders = [name for name in dict.fromkeys(people) if index.decide(User(name), act)]
    return ", ".join(f"`{name}`" for name in holders) or NOBODY


def rows(app: App, index: RbacIndex) -> Iterator[str]:
    """Yield the table's rows, the verbs of one resource that the same people have in one."""
    verbs: dict[tuple[str, str], dict[str, None]] = {}
    for route in app.routes():
        act = act_of(route)
        place = route.path if act.path else f"{act.resource}{'.' if act.group else ''}{act.group}"
        if act.subresource:
            place = f"{place}/{act.subresource}"
        verbs.setdefault((place, who_may(index, act)), {})[act.verb] = None
    for (place, who), found in verbs.items():
        yield f"| `{place}` | {' '.join(found)} | {who} |\n"


async def test_every_route_has_its_place_in_the_table(
    app: App, index: RbacIndex, request: pytest.FixtureRequest
) -> None:
    table, text = HEAD + "".join(rows(app, index)), PAGE.read_text()
    if request.config.getoption("--update-golden"):
        PAGE.write_text(TABLE.sub(lambda _: table, text))
        return
    written = set(text[text.index(HEAD) :].splitlines())
    missing = [row for row in table.splitlines() if row not in written]
    assert not missing, f"docs/reference/who-may.md lacks these; see the top of {Path(__file__).name}: {missing}"
    found = TABLE.search(text)
    assert found
    gone = sorted(set(found[0].splitlines()) - set(table.splitlines()))
    assert not gone, f"docs/reference/who-may.md tells of what is not so; see the top of {Path(__file__).name}: {gone}"


async def test_every_route_is_refused_to_who_has_no_right(app: App, http: httpx.AsyncClient, index: RbacIndex) -> None:
    for route in app.routes():
        who = who_may(index, act_of(route))
        query = {"watch": "true"} if route.watch else {}
        anonymous = await http.request(route.method, concrete(route), params=query)
        assert (anonymous.status_code == 401) is (who != ANYONE), (route, anonymous.text)
        if who not in {ANYONE, EVERY_USER}:
            headers = {"authorization": f"Bearer {KNOWN.name}"}
            known = await http.request(route.method, concrete(route), params=query, headers=headers)
            assert known.status_code == 403, (route, known.text)


async def test_what_is_refused_tells_nothing_of_what_is_there(http: httpx.AsyncClient) -> None:
    headers = {"authorization": f"Bearer {KNOWN.name}"}
    for method, path in (
        ("GET", "/nothing"),
        ("GET", "/encryption/nothing"),
        ("GET", "/apis/no.such/v1/things"),
        ("BREW", "/api/v1/namespaces/default/secrets"),
        ("POST", "/api/v1/secrets"),
        ("GET", "/api/v1/namespaces/none/secrets/none"),
        ("GET", "/api/v1/namespaces/default/secrets/x/nothing"),
        ("PATCH", "/metrics"),
    ):
        answer = await http.request(method, path, headers=headers)
        assert answer.status_code == 403, (method, path, answer.text)


async def test_the_routes_are_all_that_discovery_and_openapi_tell_of(app: App, http: httpx.AsyncClient) -> None:
    headers = {"authorization": "Bearer root"}
    known = {(route.method, route.path) for route in app.routes()}
    index = (await http.get("/openapi/v3", headers=headers)).json()["paths"]
    for entry in index.values():
        paths = (await http.get(entry["serverRelativeURL"], headers=headers)).json()["paths"]
        for path, item in paths.items():
            for method in item.keys() - {"parameters"}:
                assert (method.upper(), path) in known
    resources = {(act.group, act.resource, act.subresource, act.verb) for act in map(act_of, app.routes())}
    found = (await http.get("/api/v1", headers=headers)).json()["resources"]
    listed = [{**resource, "group": ""} for resource in found]  # a subresource names the group of its own kind
    for group in (await http.get("/apis", headers=headers)).json()["groups"]:
        for version in group["versions"]:
            found = (await http.get(f"/apis/{version['groupVersion']}", headers=headers)).json()["resources"]
            listed += [{**resource, "group": group["name"]} for resource in found]
    for resource in listed:
        plural, _, subresource = resource["name"].partition("/")
        for verb in resource["verbs"]:
            assert (resource["group"], plural, subresource, verb) in resources
