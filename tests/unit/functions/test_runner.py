"""The chain around a function, as Dispatch's own tests of its runner and validator have it."""

from typing import Any

import pytest

from skerry.functions import (
    Context,
    FunctionError,
    FunctionExecution,
    InputError,
    JsonSchemaValidator,
    Middleware,
    NoopDriver,
    Runnable,
    Runner,
    Schemas,
    ServiceBinding,
    compose,
    secret_injector,
    service_injector,
)

NEEDS_FIELD = {"required": ["inputField"]}
FIELD_IS_TEXT = {"properties": {"outputField": {"type": "string"}}, "required": ["outputField"]}


class Driver(NoopDriver):
    """A driver whose function is any runnable."""

    def __init__(self, function: Runnable) -> None:
        self.function = function

    def get_runnable(self, execution: FunctionExecution) -> Runnable:  # noqa: ARG002
        return self.function


def returning(output: Any) -> Runnable:
    async def function(context: Context, payload: Any) -> Any:  # noqa: ARG001
        return output

    return function


async def identity(context: Context, payload: Any) -> Any:  # noqa: ARG001
    return payload


def noting(notes: list[str], name: str) -> Middleware:
    def noted(runnable: Runnable) -> Runnable:
        async def run(context: Context, payload: Any) -> Any:
            notes.append(f"{name} in")
            output = await runnable(context, payload)
            notes.append(f"{name} out")
            return output

        return run

    return noted


async def test_the_first_of_composed_middleware_is_outermost() -> None:
    notes: list[str] = []
    composed = compose(noting(notes, "a"), noting(notes, "b"))
    assert await composed(identity)({}, 1) == 1
    assert notes == ["a in", "b in", "b out", "a out"]


async def test_bad_input_ends_before_any_secret_is_read() -> None:
    async def read(name: str, cookie: str) -> dict[str, str]:
        raise AssertionError((name, cookie))

    runner = Runner(Driver(identity), secret_injector=secret_injector(read))
    with pytest.raises(InputError):
        await runner.run(FunctionExecution(schemas=Schemas(NEEDS_FIELD), secrets=("s",)), {})


async def test_a_function_is_given_secrets_and_bindings_and_own_middleware_sees_them() -> None:
    secrets = {"a": {"user": "a", "word": "1"}, "b": {"user": "b"}}
    seen: list[Context] = []

    async def read_secret(name: str, cookie: str) -> dict[str, str]:
        assert cookie == "token"
        return secrets[name]

    async def read_binding(name: str, cookie: str) -> ServiceBinding:  # noqa: ARG001
        return ServiceBinding("READY", {"host": name})

    def own(runnable: Runnable) -> Runnable:
        async def run(context: Context, payload: Any) -> Any:
            seen.append(dict(context))
            return await runnable(context, payload)

        return run

    runner = Runner(
        NoopDriver(),
        secret_injector=secret_injector(read_secret),
        service_injector=service_injector(read_binding),
        middleware=(own,),
    )
    execution = FunctionExecution({"event": {}}, secrets=("a", "b"), services=("pg",), cookie="token")
    output = await runner.run(execution, 1)
    given = {
        "event": {},
        "secrets": {"user": "b", "word": "1"},
        "serviceBindings": {"pg": {"host": "pg"}},
    }
    assert output == {"context": given, "input": 1}
    assert seen == [given]
    assert execution.context == {"event": {}}, "what was injected is gone after the run"


async def test_without_secrets_and_services_the_context_says_so() -> None:
    output = await Runner(NoopDriver()).run(FunctionExecution(), None)
    assert output["context"] == {"secrets": {}, "serviceBindings": {}}


@pytest.mark.parametrize("asked", [{"secrets": ("s",)}, {"services": ("s",)}])
async def test_what_is_not_there_is_an_input_error_that_names_it(asked: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"error when retrieving (secrets|bindings) from .* s not found"):
        await Runner(NoopDriver()).run(FunctionExecution(**asked), None)


async def test_a_binding_that_is_not_ready_is_an_input_error() -> None:
    async def read(name: str, cookie: str) -> ServiceBinding:  # noqa: ARG001
        return ServiceBinding("CREATING", {})

    runner = Runner(NoopDriver(), service_injector=service_injector(read))
    with pytest.raises(InputError, match="failed to get service bindings current status CREATING"):
        await runner.run(FunctionExecution(services=("s",)), None)


@pytest.mark.parametrize(
    ("schemas", "payload", "output", "error"),
    [
        (Schemas(), {"any": 1}, None, None),
        (Schemas(NEEDS_FIELD), None, None, InputError),
        (Schemas(NEEDS_FIELD), {"inputField": 1}, None, None),
        (Schemas(NEEDS_FIELD, FIELD_IS_TEXT), {"inputField": 1}, {"inputField": 1}, FunctionError),
        (Schemas(NEEDS_FIELD, FIELD_IS_TEXT), {"inputField": 1}, {"outputField": "x"}, None),
        (Schemas(None, FIELD_IS_TEXT), {}, {"outputField": 10}, FunctionError),
        (Schemas({"properties": {"place": {"type": "string", "pattern": "^[a-z]+$"}}}), {"place": 1}, None, InputError),
    ],
)
async def test_input_and_output_are_checked(schemas: Schemas, payload: Any, output: Any, error: Any) -> None:
    run = Runner(Driver(returning(output))).run(FunctionExecution(schemas=schemas), payload)
    if error is None:
        assert await run == output
    else:
        with pytest.raises(error):
            await run


async def test_a_call_that_takes_too_long_is_the_functions_error() -> None:
    async def stuck(context: Context, payload: Any) -> Any:  # noqa: ARG001
        import asyncio

        await asyncio.Event().wait()

    with pytest.raises(FunctionError, match="exceeded the timeout"):
        await Runner(Driver(stuck)).run(FunctionExecution(timeout_seconds=0.01), None)


async def test_a_validator_of_ones_own_takes_the_place_of_json_schema() -> None:
    class Refusing(JsonSchemaValidator):
        def get_middleware(self, schemas: Schemas) -> Middleware:
            raise InputError(f"nothing passes {schemas}")

    with pytest.raises(InputError, match="nothing passes"):
        await Runner(NoopDriver(), validator=Refusing()).run(FunctionExecution(), None)
