"""The classes of failure that containerd's snapshotters tell apart (containerd ``errdefs``)."""

from __future__ import annotations

from wclayer.errors import StoreError, UsageError

__all__ = ["AlreadyExistsError", "FailedPreconditionError", "InvalidArgumentError"]


class AlreadyExistsError(StoreError):
    """There is a snapshot of that name already, of whatever kind."""


class InvalidArgumentError(UsageError):
    """The request makes no sense, whatever the state of the snapshots."""


class FailedPreconditionError(StoreError):
    """The snapshots are not in a state in which this can be done."""
