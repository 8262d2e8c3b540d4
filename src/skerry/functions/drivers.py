"""What brings functions into being and calls them.

Source: Dispatch's FaaSDriver, and its driver noop.
"""

from typing import Any, Protocol

from skerry.functions.entities import Exec, Function, FunctionExecution
from skerry.functions.messages import Context, Runnable, told


class FaaSDriver(Protocol):
    """Deploys functions to where they run, removes them, and gives what calls them."""

    async def create(self, function: Function, exec_: Exec) -> None:
        """Deploy a function, or a new deployment of it, named by its `faas_id`; return once it can be called.

        Raises:
            FunctionError: the code is at fault: no such handler, does not load.
            SystemError: it is not.
        """
        ...

    async def delete(self, function: Function) -> None:
        """Remove a deployment; one that is not there is no error."""
        ...

    async def deployments(self) -> set[str]:
        """Return the `faas_id` of every deployment of ours that is there and can be called."""
        ...

    def get_runnable(self, execution: FunctionExecution) -> Runnable:
        """Give what calls the deployment `execution.faas_id`.

        The runnable raises an InvocationError where the run fails, and adds to the context's logs what the function
        printed, whether it failed or not.
        """
        ...


class NoopDriver:
    """Deploys nothing and echoes `{"context": ..., "input": ...}`, to try out everything around a function."""

    def __init__(self) -> None:
        self._deployments: set[str] = set()

    async def create(self, function: Function, exec_: Exec) -> None:  # noqa: ARG002
        """Note that it is there."""
        self._deployments.add(function.faas_id)

    async def delete(self, function: Function) -> None:
        """Forget it."""
        self._deployments.discard(function.faas_id)

    async def deployments(self) -> set[str]:
        """Return what was created and not deleted."""
        return set(self._deployments)

    def get_runnable(self, execution: FunctionExecution) -> Runnable:  # noqa: ARG002 - all functions are one
        """Give what returns its own context and input."""

        async def echo(context: Context, payload: Any) -> Any:
            return {"context": told(context), "input": payload}

        return echo
