"""All services of a cluster's workers together."""

from __future__ import annotations

from dataclasses import dataclass

from aetherium.gateway.remote.channels import Channels
from aetherium.gateway.remote.executions import RemoteExecutions
from aetherium.gateway.remote.jobs import RemoteJobFiles
from aetherium.gateway.remote.places import Places
from aetherium.gateway.remote.snapshots import Forget, RemoteSnapshots, nothing_to_forget
from aetherium.gateway.remote.vms import CreateVM, RemoteVMs
from aetherium.gateway.remote.workers import CONNECT_S, PATIENCE_S, AddressOf, Workers
from aetherium.interfaces.store import Store
from aetherium.services.secrets.uses import SecretUses


@dataclass(frozen=True, slots=True)
class RemotePlatform:
    """What a gateway of a cluster stands on, beside its database."""

    vms: RemoteVMs
    executions: RemoteExecutions
    snapshots: RemoteSnapshots
    job_files: RemoteJobFiles


def remote_platform(
    store: Store,
    channels: Channels,
    address_of: AddressOf,
    create: CreateVM,
    uses: SecretUses,
    *,
    output_mib: int = 16,
    patience_s: float = PATIENCE_S,
    connect_s: float = CONNECT_S,
    forget_snapshot: Forget = nothing_to_forget,
) -> RemotePlatform:
    """The services of all workers.

    Args:
        store: the shared database, seen whole.
        address_of: where a worker listens (`unix:…` or `host:port`), by its id; raises Unavailable, with what
            to do, if the worker is lost.
        create: makes a VM on a worker of its choice.
        uses: gives stored secrets to executions.
        output_mib: see the setting of this name.
        patience_s: how long a lost connection may take to come back.
        connect_s: how long a first connection may take.
        forget_snapshot: removes what the object store has of a snapshot whose worker is lost.
    """
    places = Places(store)
    workers = Workers(channels, address_of, patience_s=patience_s, connect_s=connect_s)
    return RemotePlatform(
        vms=RemoteVMs(store, places, workers, create),
        executions=RemoteExecutions(store, places, workers, uses, output_mib=output_mib),
        snapshots=RemoteSnapshots(store, places, workers, forget_snapshot),
        job_files=RemoteJobFiles(workers),
    )
