"""`openbell run`: the same runner without a cluster."""

from __future__ import annotations

import os
import sys
import uuid
from ipaddress import ip_address
from pathlib import Path

import click

from openbell.cli._api import TOKEN_VARIABLE
from openbell.cli._process import run_async
from openbell.domain.errors import ManifestError
from openbell.runner.crew import RunnerOptions
from openbell.runner.fence import FolderFence
from openbell.runner.leadership import Contender
from openbell.runner.main import Runner
from openbell.runner.settings import read_variables
from openbell.runner.standalone import FileSource
from openbell.telemetry.logs import Logging, configure_logging

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "data"

PATH = click.Path(path_type=Path)


@click.command("run")
@click.argument("files", nargs=-1, type=PATH)
@click.option(
    "--data",
    envvar="OPENBELL_DATA",
    type=PATH,
    help="Folder for journal and book.  [default: under the user's state folder, one for each scheduler]",
)
@click.option("--datasets", envvar="OPENBELL_DATASETS", type=PATH, help="Folder of recorded bars.")
@click.option(
    "--allow-live",
    envvar="OPENBELL_ALLOW_LIVE",
    default="",
    metavar="ACCOUNT",
    help="Allow spec.mode Live for this account, which the manifest must name too. Real money is moved then.",
)
@click.option("--listen", "host", default="127.0.0.1", show_default=True, help="Address of the API and the page.")
@click.option("--port", envvar="OPENBELL_PORT", default=8021, show_default=True)
@click.option("--json-logs", is_flag=True, help="Log JSON lines.")
def command(
    files: tuple[Path, ...],
    data: Path | None,
    datasets: Path | None,
    allow_live: str,
    host: str,
    port: int,
    json_logs: bool,
) -> None:
    """Run the scheduler and the strategies of FILES, which are watched for changes.

    Without FILES the scheduler comes from the SCHEDULER_* variables, and strategies are added by the API.
    """
    variables = read_variables()
    logging = configure_logging(json=json_logs or not sys.stderr.isatty())
    token = os.environ.get(TOKEN_VARIABLE) or None
    if token:
        logging.redactor.hide(token)
    elif not _is_loopback(host):
        raise ManifestError(
            f"--listen is {host!r}, which others can reach; set {TOKEN_VARIABLE}, or listen on 127.0.0.1"
        )
    folder = data or _state_folder(files)
    source = FileSource(files, folder, variables)
    source.read()  # what is wrong with the files is said before anything starts
    options = RunnerOptions(
        data=folder,
        host=host,
        port=port,
        token=token,
        datasets=tuple(
            path
            for path in (datasets, *(file.parent / "data" for file in files), folder / "datasets", EXAMPLES)
            if path is not None
        ),
        owner_uid=str(uuid.uuid4()),
        live_account=allow_live,
    )
    run_async(_run(source, options, logging))


async def _run(source: FileSource, options: RunnerOptions, logging: Logging) -> None:
    async def contend(epoch_floor: int, _ever_ran: bool) -> Contender:
        return FolderFence(epoch_floor + 1)

    await Runner(source, options, logging.tail, contend).run()


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _state_folder(files: tuple[Path, ...]) -> Path:
    root = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return root / "openbell" / (files[0].stem if files else "scheduler")
