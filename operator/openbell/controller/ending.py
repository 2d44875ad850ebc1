"""Refusals that come with deletion: of an object that has gone, or of anything new in a namespace that is ending."""

from __future__ import annotations

from openbell.domain.errors import ClusterError

_ENDING = "because it is being terminated"
_NO_SUCH_PATH = "could not find the requested resource"


def is_expected(error: ClusterError) -> bool:
    """Whether the API server says no more than that a deletion was faster: no failure, and nothing to repeat.

    A path that it does not serve (a definition that is missing) is a 404 too, but no deletion.
    """
    if error.status == 404:
        return _NO_SUCH_PATH not in str(error)
    return error.status == 403 and _ENDING in str(error)
