"""`skerry store ...`: copies, backups and checks of the database that a control plane keeps everything in."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from skerry.cli.printing import err, out
from skerry.cli.session import run
from skerry.kit.errors import SkerryError

if TYPE_CHECKING:
    from skerry.main.moving import Arrived, Checked

store = typer.Typer(help="Copy, back up, restore and check the database.", no_args_is_help=True)

DATABASE_HELP = (
    "postgresql://USER@HOST/NAME or sqlite:///FILE with its whole path. "
    "A password is better told by PGPASSWORD or a password file."
)
DatabaseArgument = Annotated[str, typer.Argument(metavar="DATABASE", help=DATABASE_HELP)]
BackupArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")]
DirectoryFlag = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="The data directory, with artifacts and keys; its skerry.toml may name a bucket that has the artifacts. "
        "Default: the folder of a SQLite file.",
    ),
]
ForceFlag = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
WithoutArtifactsFlag = Annotated[bool, typer.Option("--without-artifacts", help="Leave out the code of functions.")]


@store.command()
def copy(
    source: Annotated[str, typer.Option("--from", metavar="DATABASE", help=DATABASE_HELP)],
    target: Annotated[str, typer.Option("--to", metavar="DATABASE", help="Likewise. It is made, or must be empty.")],
    online: Annotated[
        bool,
        typer.Option("--online", help="The source stays in use; the target waits for one more turn without this flag."),
    ] = False,
    force: ForceFlag = False,
    without_artifacts: WithoutArtifactsFlag = False,
    from_data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The data directory of --from; as of a SQLite file by default.")
    ] = None,
    to_data_dir: Annotated[Path | None, typer.Option(metavar="DIR", help="That of --to; likewise.")] = None,
) -> None:
    """Copy everything into another database, such as from SQLite to PostgreSQL, with every resourceVersion.

    Stop Skerry first. If it must not stand still for long, copy with --online while it runs, stop it, and run the same
    without --online: that brings what was written meanwhile. A copy that was interrupted goes on when it is run again;
    until it is whole, no Skerry starts on the target. In the end the digest of both is the same.
    """
    from skerry.main import moving  # the database drivers take longer to import than most commands take to run

    options = moving.Options(force=force, artifacts=not without_artifacts, online=online)
    places = moving.installation(source, from_data_dir), moving.installation(target, to_data_dir)
    with _bars() as tell:
        arrived = run(moving.copy(*places, options, tell))
    _tell_arrived(arrived)
    if online:
        err.print("the target waits for the rest: stop Skerry, and run the same without --online")


@store.command()
def backup(
    database: DatabaseArgument,
    file: BackupArgument,
    force: ForceFlag = False,
    without_artifacts: WithoutArtifactsFlag = False,
    data_dir: DirectoryFlag = None,
) -> None:
    """Write everything as it is now into one file, while Skerry may run.

    The file is the same for every kind of database. The encryption keys are not in it: secrets stay as they are
    encrypted, and a copy of `pki/` has to be kept elsewhere to read them again.
    """
    from skerry.main import moving

    place = moving.installation(database, data_dir)
    with _bars() as tell:
        written = run(moving.back_up(place, file, moving.Options(force, not without_artifacts), tell))
    out.print(f"wrote {file}: {written.file_bytes} bytes")
    out.print(f"  {written.changes} changes, digest {written.digest}")
    out.print(f"  {written.artifacts} artifacts, {written.key_values} entries of env.KV")
    _tell_keys(written.key_ids)


@store.command()
def restore(
    file: BackupArgument,
    database: DatabaseArgument,
    force: ForceFlag = False,
    without_artifacts: WithoutArtifactsFlag = False,
    skip_revisions: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, help="Go on N revisions later, without history: for clients that saw what is lost."
        ),
    ] = 0,
    data_dir: DirectoryFlag = None,
) -> None:
    """Bring a backup into a database, of whichever kind; Skerry must be stopped.

    A restore that was interrupted goes on when it is run again; until it is whole, no Skerry starts on the database.
    """
    from skerry.main import moving

    place = moving.installation(database, data_dir)
    options = moving.Options(force, not without_artifacts, skip_revisions=skip_revisions)
    with _bars() as tell:
        arrived = run(moving.restore(file, place, options, tell))
    _tell_arrived(arrived)


@store.command()
def check(
    database: Annotated[str, typer.Argument(metavar="DATABASE|FILE", help=f"{DATABASE_HELP} Or a backup.")],
    without_artifacts: WithoutArtifactsFlag = False,
    data_dir: DirectoryFlag = None,
) -> None:
    """Look for faults in a database, while Skerry may run, or in a backup.

    Prints a line for each fault, and the digest. Exit code 1: there are faults.
    """
    from skerry.main import moving

    with _bars() as tell:
        if "://" in database:
            place = moving.installation(database, data_dir)
            found = run(moving.check(place, moving.Options(artifacts=not without_artifacts), tell))
        else:
            found = run(moving.check_file(Path(database), data_dir, tell))
    _tell_checked(found)


def _tell_arrived(arrived: "Arrived") -> None:
    log = arrived.log
    if log.resumed_after:
        out.print(f"went on after revision {log.resumed_after}")
    out.print(f"{log.changes} changes up to revision {log.span.latest}, digest {log.digest}")
    out.print(f"{arrived.artifacts or 0} artifacts, {arrived.key_values} entries of env.KV")
    _tell_keys(log.key_ids)


def _tell_keys(key_ids: frozenset[str]) -> None:
    if key_ids:
        names = ", ".join(sorted(key_ids))
        err.print(
            f"not in it: the keys. Take along `pki/` and `kubeconfig` of the data directory; secrets need {names} in "
            "pki/encryption-keys.json",
        )


def _tell_checked(checked: "Checked") -> None:
    report = checked.report
    for sentence in report.faults:
        out.print(sentence)
    if report.digest:
        out.print(f"{report.changes} changes up to revision {report.span.latest}, digest {report.digest}")
    if checked.closed:
        err.print(f"{checked.closed} encrypted values were not looked into: name the keys' folder with --data-dir")
    if report.faults_count:
        raise SkerryError(f"{report.name}: {report.faults_count} faults")
    out.print("no faults")


@contextmanager
def _bars() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar for each stage on a terminal, for the length of the block."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        stages: dict[str, TaskID] = {}

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in stages:
                stages[stage] = progress.add_task(stage, total=total)
            progress.update(stages[stage], completed=done)

        yield tell
