"""`env.KV` in functions, on a real SQLite file."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from skerry.engine.key_value_file import KeyValueStore
from skerry.engine.key_values import KEY_BYTES_MAX, METADATA_BYTES_MAX, VALUE_BYTES_MAX, Value
from skerry.engine.kv_operations import FunctionKeyValues
from skerry.engine.shared_key_values import SharedKeyValues
from skerry.kit.clock import SystemClock
from skerry.testing.clock import FakeClock
from skerry.testing.postgres_process import PostgresProcess
from skerry.testing.shared_kv import shared_kv

if TYPE_CHECKING:
    from tests.system.engine.conftest import Loader


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(tmp_path: Path, load: "Loader", clock: FakeClock) -> Iterator[KeyValueStore]:
    store = KeyValueStore(tmp_path / "kv.db", clock)
    load.key_values = FunctionKeyValues(store, "hello")
    yield store
    store.close()


@pytest.mark.usefixtures("store")
def test_what_was_put_is_there_in_the_form_that_is_asked_for(load: "Loader"):
    function = load.handler(
        """const kv = env.KV;
           await kv.put('text', 'grüß dich'); await kv.put('json', JSON.stringify({a: [1]}));
           await kv.put('bytes', new Uint8Array([0, 255, 128])); await kv.put('stream', new Response('s').body);
           await kv.put('empty', '');
           return Response.json([await kv.get('text'), await kv.get('json', 'json'), await kv.get('json', {type: 'json'}),
             [...new Uint8Array(await kv.get('bytes', 'arrayBuffer'))], await new Response(await kv.get('stream', 'stream')).text(),
             await kv.get('empty'), await kv.get('nothing'), await kv.get('nothing', 'json')]);"""  # noqa: E501
    )
    assert json.loads(function.call().body) == [
        "grüß dich", {"a": [1]}, {"a": [1]}, [0, 255, 128], "s", "", None, None,
    ]  # fmt: skip


def test_a_value_outlives_its_instance_and_is_its_functions_own(load: "Loader", store: KeyValueStore):
    load.handler("await env.KV.put('k', 'mine', {metadata: {by: 'me'}}); return new Response();").call()
    reading = "return Response.json(await env.KV.getWithMetadata('k'));"
    assert json.loads(load.handler(reading).call().body) == {"value": "mine", "metadata": {"by": "me"}}
    load.key_values = FunctionKeyValues(store, "other")
    assert json.loads(load.handler(reading).call().body) == {"value": None, "metadata": None}


@pytest.mark.usefixtures("store")
def test_keys_are_listed_by_prefix_and_in_pages(load: "Loader"):
    function = load.handler(
        """for (let i = 0; i < 25; i++) await env.KV.put(`user:${String(i).padStart(2, '0')}`, 'v', {metadata: i});
           await env.KV.put('zebra', 'v'); await env.KV.put('user', 'v'); await env.KV.delete('user:03');
           const pages = []; let cursor, page;
           do {
             page = await env.KV.list({prefix: 'user:', limit: 10, cursor});
             pages.push(page.keys); cursor = page.cursor;
           } while (!page.list_complete);
           return Response.json(pages);"""
    )
    pages = json.loads(function.call().body)
    numbers = [number for number in range(25) if number != 3]
    assert [len(page) for page in pages] == [10, 10, 4]
    assert [key for page in pages for key in page] == [{"name": f"user:{n:02}", "metadata": n} for n in numbers]


@pytest.mark.usefixtures("store")
def test_several_keys_are_asked_for_at_once(load: "Loader"):
    function = load.handler(
        """await env.KV.put('a', '1', {metadata: 'm'}); await env.KV.put('b', '{"c": 2}');
           const many = (found) => found.then((map) => [...map], (error) => error.message);
           return Response.json([await many(env.KV.get(['a', 'none'])), await many(env.KV.get(['b'], 'json')),
             await many(env.KV.getWithMetadata(['a'])), await many(env.KV.get(Array(101).fill('a')))]);"""
    )
    assert json.loads(function.call().body) == [
        [["a", "1"], ["none", None]],
        [["b", {"c": 2}]],
        [["a", {"value": "1", "metadata": "m"}]],
        "KV get: 100 keys at once at most",
    ]


def test_an_entry_ends_when_it_expires(load: "Loader", store: KeyValueStore, clock: FakeClock):
    function = load.handler(
        """if (request.method === 'PUT') {
               await env.KV.put('soon', 'v', {expirationTtl: 1}); await env.KV.put('later', 'v', {expirationTtl: 1000});
           }
           const kept = (await env.KV.list()).keys.map((key) => [key.name, key.expiration > 1e9]);
           return Response.json([kept, await env.KV.get('soon')]);"""
    )
    assert json.loads(function.call("PUT").body) == [[["later", True], ["soon", True]], "v"]
    clock.advance(2)
    assert json.loads(function.call().body) == [[["later", True]], None]
    store.sweep()
    assert json.loads(function.call().body) == [[["later", True]], None]


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        ("put('', 'v')", f"1 to {KEY_BYTES_MAX} bytes"),
        (f"put('k'.repeat({KEY_BYTES_MAX + 1}), 'v')", f"1 to {KEY_BYTES_MAX} bytes"),
        ("put('\\ud800', 'v')", "lone surrogates"),
        (f"put('k', new Uint8Array({VALUE_BYTES_MAX + 1}))", f"{VALUE_BYTES_MAX} bytes"),
        (f"put('k', 'v', {{metadata: 'm'.repeat({METADATA_BYTES_MAX})}})", f"{METADATA_BYTES_MAX} bytes"),
        ("put('k', 'v', {expirationTtl: 0})", "expire after 1 to"),
        ("put('k', 'v', {expiration: 5})", "expire after 1 to"),
        ("put('k', 'v', {expirationTtl: NaN})", "expirationTtl: must be a number"),
        ("put('k', 'v', {expiration: Infinity})", "expiration: must be a number"),
        ("put('k', 'v', {expirationTtl: 'soon'})", "must be a number"),
        ("put('k')", "text, bytes or a stream"),
        ("list({limit: 1001})", "from 1 to 1000"),
        ("list({limit: 1.5})", "whole number"),
        ("get('k', 'xml')", "type must be one of"),
        ("get(['k'], 'xml')", "type must be one of"),
    ],
)
@pytest.mark.usefixtures("store")
def test_what_is_over_a_limit_or_makes_no_sense_is_an_error_and_changes_nothing(
    load: "Loader", operation: str, message: str
):
    function = load.handler(
        f"""const said = await env.KV.{operation}.then(() => 'done', (error) => error.message);
            return Response.json([said, (await env.KV.list()).keys.length]);"""
    )
    said, keys = json.loads(function.call().body)
    assert message in said
    assert keys == 0


@pytest.mark.usefixtures("store")
def test_a_function_that_tampers_with_the_language_hurts_itself_alone(load: "Loader"):
    function = load.handler(
        """Object.prototype.toJSON = () => 5;
           const said = await env.KV.get('k').then(() => 'done', (error) => error.message);
           delete Object.prototype.toJSON;
           return new Response(`${said}, ${await env.KV.get('k')}`);"""
    )
    assert function.call().body == b"KV get: keys and metadata must be well-formed text, without lone surrogates, null"


@pytest.mark.usefixtures("store")
def test_a_function_without_the_capability_has_no_kv_and_a_variable_of_that_name_is_its_own(load: "Loader"):
    assert load.handler("return new Response(env.KV);", {"KV": "mine"}).call().body == b"mine"
    load.key_values = None
    assert load.handler("return new Response(typeof env.KV);").call().body == b"undefined"


@pytest.mark.usefixtures("store")
def test_metadata_may_be_nested_as_deep_as_it_can_be_written_and_read(load: "Loader"):
    function = load.handler(
        """const nested = (depth) => JSON.parse('['.repeat(depth) + ']'.repeat(depth));
           const depthOf = (value) => JSON.stringify(value).length / 2;
           await env.KV.put('k', 'v', {metadata: nested(250)});
           return Response.json([
             depthOf((await env.KV.getWithMetadata('k')).metadata), depthOf((await env.KV.list()).keys[0].metadata),
             await env.KV.put('k', 'v', {metadata: nested(300)}).catch((e) => e.message)]);"""
    )
    read, listed, refused = json.loads(function.call().body)
    assert (read, listed) == (250, 250)
    assert "nested too deeply" in refused


def test_what_nodes_share_is_used_in_the_same_way(load: "Loader", postgres: PostgresProcess, tmp_path: Path):
    path = tmp_path / "kv.sock"
    with shared_kv(postgres.create_schema(), path):
        store = SharedKeyValues(path, SystemClock())
        load.key_values = FunctionKeyValues(store, "hello")
        function = load.handler(
            """await env.KV.put('a', new Uint8Array([0, 255]), {metadata: {n: 1}}); await env.KV.put('b', 'text');
               const {value, metadata} = await env.KV.getWithMetadata('a', 'arrayBuffer');
               const names = (await env.KV.list()).keys.map(key => key.name); await env.KV.delete('b');
               return Response.json([[...new Uint8Array(value)], metadata, names, await env.KV.get('b')]);"""
        )
        assert json.loads(function.call().body) == [[0, 255], {"n": 1}, ["a", "b"], None]
        assert store.get("hello", "a") == Value(b"\x00\xff", '{"n":1}')
        store.close()
