"""`openbell selftest`: a stopped scheduler made, waited for and deleted; what `helm test` runs."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import click

from openbell.domain.errors import OpenbellError
from openbell.kube.client import TRADING_SCHEDULERS, KubeClient, Object
from openbell.kube.watch import WatchType, watch
from openbell.resources.conditions import Condition, conditions_of, find_condition

FIELD_MANAGER = "openbell-selftest"


class SelftestError(OpenbellError):
    """The scheduler did not become ready in time; says what it waited for."""


@click.command("selftest")
@click.option("--namespace", required=True, help="Where the scheduler is made; one that the operator watches.")
@click.option("--name", default="selftest", show_default=True, help="What it is called.")
@click.option("--timeout", "seconds", default=120, show_default=True, help="Seconds until it must be ready.")
def command(namespace: str, name: str, seconds: int) -> None:
    """Make a stopped scheduler on the simulated broker, wait until its runner is ready, and delete it."""
    said = asyncio.run(_selftest(namespace, name, seconds))
    click.echo(f"{namespace}/{name} is ready: {said.message}")


async def _selftest(namespace: str, name: str, seconds: int) -> Condition:
    client = await KubeClient.connect()
    try:
        made = await client.apply(manifest(namespace, name), field_manager=FIELD_MANAGER)
        try:
            return await _until_ready(client, namespace, name, seconds)
        finally:
            await client.delete(TRADING_SCHEDULERS, namespace, name, uid=made["metadata"]["uid"])
    finally:
        await client.close()


def manifest(namespace: str, name: str) -> Object:
    """A scheduler that trades nothing and leaves nothing behind, its volume included."""
    return {
        "apiVersion": TRADING_SCHEDULERS.api_version,
        "kind": TRADING_SCHEDULERS.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "enabled": False,
            "market": {"calendar": "Always"},
            "runner": {"storage": {"size": "64Mi"}, "retain": "Delete"},
        },
    }


async def _until_ready(client: KubeClient, namespace: str, name: str, seconds: int) -> Condition:
    said = "nothing has been said yet: is the operator up, and does it watch this namespace?"
    try:
        async with (
            asyncio.timeout(seconds),
            aclosing(watch(client, TRADING_SCHEDULERS, namespace, name=name)) as events,
        ):
            async for event in events:
                ready = find_condition(conditions_of(event.object), "Ready")
                if (
                    event.type is WatchType.DELETED
                    or ready is None
                    or ready.observed_generation != event.object["metadata"]["generation"]
                ):
                    continue
                if ready.is_true:
                    return ready
                said = f"{ready.reason}: {ready.message}"
    except TimeoutError:
        raise SelftestError(f"{namespace}/{name} was not ready within {seconds} s ({said})") from None
    raise SelftestError(f"the watch on {namespace}/{name} ended ({said})")
