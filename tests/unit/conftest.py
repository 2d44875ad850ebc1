"""What unit tests share: property tests without a deadline, and temporary files in memory.

Property tests have no deadline: what they check is the answer, and a loaded machine is no fault. Nor is a slow disk:
every commit of a journal waits for it, a replay makes hundreds of them, and other suites write there too. Where files
in memory can be had, temporary ones are there; that a commit is on the disk is for the tests with kills to show.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import Phase, settings

MEMORY = Path("/dev/shm")  # noqa: S108 - this is the folder that is meant
ENOUGH_BYTES = 1 << 30  # a container's own is often 64 MiB

settings.register_profile("openbell", deadline=None)
# For mutants of the code, see hack/mutation.sh: a few examples each, the same ones every time, and one that fails is
# enough: nobody reads the smallest.
QUICK = (Phase.explicit, Phase.generate)
settings.register_profile("mutants", deadline=None, max_examples=25, derandomize=True, database=None, phases=QUICK)
settings.load_profile("openbell")


def pytest_configure(config: pytest.Config) -> None:
    """Before the first temporary folder is made, here and in the processes that tests start."""
    is_wanted = "TMPDIR" not in os.environ and config.getoption("basetemp") is None
    if is_wanted and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ENOUGH_BYTES:
        os.environ["TMPDIR"] = str(MEMORY)
        tempfile.tempdir = None
