"""`skerry event emit`, `skerry subscription ...`: functions that run for events."""

import json
import uuid
from pathlib import Path
from typing import Annotated, Any

import typer

from skerry.api.dispatch_events import SUBSCRIPTION
from skerry.cli.dispatch import NamespaceFlag, ask, note_missing
from skerry.cli.dispatch_objects import ApplicationFlag, add_commands, make, tags_of
from skerry.cli.printing import out
from skerry.cli.reading import read_text
from skerry.cli.session import DataDirFlag, KubeconfigFlag
from skerry.kit.errors import ConfigurationError

_JSON = "application/json"

events = typer.Typer(help="Events: what functions run for.", no_args_is_help=True)
subscriptions = typer.Typer(
    help="""Subscriptions: which events a function runs for.

    For example: skerry subscription create ship --event-type order.placed --on-failure tell-someone;
    skerry event emit order.placed --data '{"item": "boots"}'
    """,
    no_args_is_help=True,
)
add_commands(
    subscriptions, SUBSCRIPTION, "event/subscriptions", "subscription", deleting="Runs that were begun for it go on."
)


@events.callback()
def _events() -> None:
    """Events: what functions run for."""


@events.command()
def emit(
    event_type: Annotated[str, typer.Argument(metavar="TYPE", help="Of the event, such as order.placed.")],
    data: Annotated[str, typer.Option("--data", metavar="TEXT", help="Its data: the input of functions.")] = "",
    data_from_file: Annotated[
        Path | None, typer.Option("--data-from-file", metavar="FILE", exists=True, dir_okay=False, help="Likewise.")
    ] = None,
    content_type: Annotated[
        str, typer.Option("--content-type", metavar="TYPE", help="Of the data; any but JSON is sent as text.")
    ] = _JSON,
    source_id: Annotated[str, typer.Option("--source-id", metavar="URI", help="Where it comes from.")] = "skerry",
    event_id: Annotated[
        str,
        typer.Option("--event-id", metavar="ID", help="The same source and id is the same event. Default: a new one."),
    ] = "",
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Emit a CloudEvent, and print the run of each subscription that wants it.

    The runs are on disk when the command ends. Emit an event again, with its --event-id, where it is not known whether
    it arrived: it begins nothing twice.
    """
    if data and data_from_file:
        raise ConfigurationError("--data, --data-from-file: only one of them may be given")
    event: dict[str, Any] = {
        "specversion": "1.0",
        "type": event_type,
        "source": source_id,
        "id": event_id or str(uuid.uuid4()),
        "datacontenttype": content_type,
    }
    text = read_text(data_from_file, "--data-from-file") if data_from_file else data
    if text:
        event["data"] = _data(text, content_type)
    headers = {"content-type": "application/cloudevents+json"}
    answer = ask(kubeconfig, data_dir, namespace, ("POST", "event"), body=event, **headers)
    out.print(f"event emitted: {event['id']}")
    for run in answer["runs"]:
        out.print(f"run {run}")


def _data(text: str, content_type: str) -> Any:
    if content_type != _JSON:
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"--data is no JSON: {error}; for text, say --content-type text/plain") from error


@subscriptions.command("create")
def create(
    function: Annotated[str, typer.Argument(metavar="FUNCTION", help="The function that is run.")],
    event_type: Annotated[
        str | None, typer.Option("--event-type", metavar="TYPE", help="Of the events, exactly.")
    ] = None,
    exact: Annotated[
        list[str] | None,
        typer.Option("--exact", metavar="ATTRIBUTE=VALUE", help="An attribute must have this value. Repeatable."),
    ] = None,
    prefix: Annotated[
        list[str] | None,
        typer.Option("--prefix", metavar="ATTRIBUTE=TEXT", help="An attribute must begin with this. Repeatable."),
    ] = None,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Default: made of the function's.")] = "",
    secret: Annotated[list[str] | None, typer.Option("--secret", metavar="NAME", help="Repeatable.")] = None,
    retries: Annotated[
        int | None, typer.Option("--retries", min=0, max=100, help="How often a run that failed is tried again: 3.")
    ] = None,
    backoff: Annotated[
        str | None, typer.Option("--backoff", metavar="TIME", help="Before the first retry, doubled at each: 1s.")
    ] = None,
    on_failure: Annotated[
        str, typer.Option("--on-failure", metavar="FUNCTION", help="Is told of a run that failed for good.")
    ] = "",
    application: ApplicationFlag = "",
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Run a function for each event of a type, or for those that conditions choose.

    Attributes are those of CloudEvents 1.0, such as source and subject, and extensions.
    """
    body: dict[str, Any] = {
        "name": name or f"{function}-{uuid.uuid4().hex[:8]}",
        "function": function,
        "eventType": event_type,
        "filters": [{"exact": _condition(each)} for each in exact or ()]
        + [{"prefix": _condition(each)} for each in prefix or ()]
        or None,
        "secrets": secret,
        "retries": retries,
        "backoff": backoff,
        "onFailure": {"function": on_failure} if on_failure else None,
        "tags": tags_of(application),
    }
    made = make(kubeconfig, data_dir, namespace, "event/subscriptions", body)
    out.print(f"Created subscription: {made['name']}")
    note_missing(kubeconfig, data_dir, namespace, function)


def _condition(text: str) -> dict[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise ConfigurationError(f"--exact, --prefix: {text!r} must be ATTRIBUTE=VALUE")
    return {name: value}
