"""`openbell runner`: the trading process of one scheduler on a cluster."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import click

from openbell.cli._process import run_async
from openbell.kube.client import KubeClient
from openbell.runner.crew import RunnerOptions
from openbell.runner.fence import LeaseFence, LeaseTerms
from openbell.runner.leadership import Contender
from openbell.runner.main import Runner
from openbell.runner.source import KubeSource
from openbell.telemetry.logs import Logging, configure_logging

PATH = click.Path(path_type=Path)


@click.command("runner")
@click.option("--scheduler", envvar="OPENBELL_SCHEDULER", required=True, help="Name of the TradingScheduler.")
@click.option("--namespace", envvar="OPENBELL_NAMESPACE", required=True, help="Its namespace.")
@click.option("--pod", envvar="OPENBELL_POD_NAME", default="", help="Name of this pod.")
@click.option("--pod-uid", envvar="OPENBELL_POD_UID", default="", help="Uid of this pod: who holds the lease.")
@click.option("--data", envvar="OPENBELL_DATA", type=PATH, default=Path("/data"), show_default=True)
@click.option("--datasets", envvar="OPENBELL_DATASETS", type=PATH, help="Folder of recorded bars.")
@click.option("--token-file", envvar="OPENBELL_TOKEN_FILE", type=PATH, help="Token for writes.")
@click.option("--allow-live", envvar="OPENBELL_ALLOW_LIVE", default="", help="Account that may be traded Live.")
@click.option("--host", default="0.0.0.0", show_default=True, help="Address to listen on.")  # noqa: S104 - in a pod
@click.option("--port", default=8021, show_default=True)
def command(
    scheduler: str,
    namespace: str,
    pod: str,
    pod_uid: str,
    data: Path,
    datasets: Path | None,
    token_file: Path | None,
    allow_live: str,
    host: str,
    port: int,
) -> None:
    """Run one scheduler: watch its resources, trade, report."""
    logging = configure_logging(json=True)
    token = token_file.read_text(encoding="utf-8").strip() if token_file else None
    if token:
        logging.redactor.hide(token)
    service = f"{scheduler}-api"
    options = RunnerOptions(
        data=data,
        host=host,
        port=port,
        token=token,
        datasets=tuple(folder for folder in (data / "datasets", datasets) if folder is not None),
        pod=pod,
        live_account=allow_live,
        allowed_hosts=(service, f"{service}.{namespace}", f"{service}.{namespace}.svc"),
    )
    run_async(_run(scheduler, namespace, pod_uid or pod or str(os.getpid()), options, logging))


async def _run(scheduler: str, namespace: str, holder: str, options: RunnerOptions, logging: Logging) -> None:
    client = await KubeClient.connect()
    connect = partial(KubeClient.connect, timeout_seconds=5.0)

    async def contend(epoch_floor: int, ever_ran: bool) -> Contender:
        terms = LeaseTerms(namespace, f"{scheduler}-runner", holder, epoch_floor, ever_ran)
        return LeaseFence(connect, terms)

    try:
        await Runner(KubeSource(client, namespace, scheduler), options, logging.tail, contend).run()
    finally:
        await client.close()
