"""`openbell operator`: turns TradingSchedulers into runners. Runs in the cluster, from the Helm chart."""

from __future__ import annotations

import os
from pathlib import Path

import click


@click.command("operator")
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A kubeconfig; else the pod's service account, KUBECONFIG or ~/.kube/config.",
)
@click.option("--log-level", default="INFO", show_default=True, help="DEBUG, INFO, WARNING or ERROR.")
@click.option("--log-text", is_flag=True, help="Log for a terminal instead of as JSON.")
def command(kubeconfig: Path | None, log_level: str, log_text: bool) -> None:
    """Watch TradingSchedulers and Strategies, and keep their runners as they should be.

    Settings come from the environment: OPENBELL_WATCH_NAMESPACES, OPENBELL_RUNNER_IMAGE, OPENBELL_METRICS_PORT,
    OPENBELL_WORKERS, OPENBELL_WRITE_RATE, OPENBELL_WRITE_BURST, OPENBELL_RESYNC_SECONDS, POD_NAME, POD_NAMESPACE.
    """
    import uvloop

    from openbell.controller.main import run_operator
    from openbell.controller.settings import OperatorSettings
    from openbell.telemetry.logs import configure_logging

    configure_logging(json=not log_text, level=log_level)
    uvloop.run(run_operator(lambda own: OperatorSettings.from_environment(os.environ, namespace=own), kubeconfig))
