"""Executes functions: checks their input, gives them what they need, calls them, checks what they return.

Source: Dispatch's Runner, and the order of its middleware.
"""

from dataclasses import dataclass, field
from typing import Any

from skerry.functions.drivers import FaaSDriver
from skerry.functions.entities import FunctionExecution
from skerry.functions.errors import TIMED_OUT, FunctionError
from skerry.functions.injection import SecretInjector, ServiceInjector, secret_injector, service_injector
from skerry.functions.messages import Context, Middleware, Runnable, compose, start_of
from skerry.functions.validation import JsonSchemaValidator, Validator
from skerry.kit.deadlines import within


async def _nothing_there(name: str, _: str) -> Any:
    raise KeyError(name)


@dataclass(frozen=True)
class Runner:
    """Executes functions of a driver.

    A run goes through: input against its schema, secrets, service bindings, middleware of your own, the driver; and
    back, to the output against its schema. So bad input ends before any secret is read, and your middleware sees
    what the function sees.

    >>> import asyncio
    >>> from skerry.functions import FunctionExecution, NoopDriver, Runner, Schemas
    >>> runner = Runner(NoopDriver())
    >>> asyncio.run(runner.run(FunctionExecution(), "hello"))["input"]
    'hello'
    >>> asyncio.run(runner.run(FunctionExecution(schemas=Schemas(schema_in={"type": "object"})), "hello"))
    Traceback (most recent call last):
    skerry.functions.errors.InputError: Input invalid against schema: validation failure list:
    body must be of type object: "string"

    Attributes:
        driver: where the functions run.
        validator: checks input and output.
        secret_injector: knows no secret unless given.
        service_injector: knows no service instance unless given.
        middleware: steps of your own, the first outermost.
    """

    driver: FaaSDriver
    validator: Validator = field(default_factory=JsonSchemaValidator)
    secret_injector: SecretInjector = field(default_factory=lambda: secret_injector(_nothing_there))
    service_injector: ServiceInjector = field(default_factory=lambda: service_injector(_nothing_there))
    middleware: tuple[Middleware, ...] = ()

    async def run(self, execution: FunctionExecution, payload: Any) -> Any:
        """Execute a function.

        Args:
            execution: which function, and with what; its context has the logs afterwards.
            payload: the input, any JSON.

        Returns:
            The output, any JSON.

        Raises:
            InputError: the input is against the schema; a secret or a binding is not there.
            FunctionError: the function failed, took longer than its time, or its output is against the schema.
            SystemError: the function could not be called.
        """
        return await self.get_runnable(execution)(execution.context, payload)

    def get_runnable(self, execution: FunctionExecution) -> Runnable:
        """Give what `run` calls: all of an execution but its context, to be called any number of times."""
        chain = compose(
            self.validator.get_middleware(execution.schemas),
            self.secret_injector.get_middleware(execution.secrets, execution.cookie),
            self.service_injector.get_middleware(execution.services, execution.cookie),
            *self.middleware,
            _within(execution.timeout_seconds),
        )
        return chain(self.driver.get_runnable(execution))


def _within(seconds: float) -> Middleware:
    """End a call that takes longer, whatever its driver does about time but telling when it is held up."""

    def limited(runnable: Runnable) -> Runnable:
        if not seconds:
            return runnable

        async def run(context: Context, payload: Any) -> Any:
            try:
                with within(seconds) as limit:
                    start = start_of(context)
                    start.limit, start.held_up_seconds = limit, 0.0
                    return await runnable(context, payload)
            except TimeoutError as error:
                if not limit.expired():
                    raise
                raise FunctionError(TIMED_OUT) from error

        return run

    return limited
