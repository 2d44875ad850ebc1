"""What the kernel keeps a worker from (Linux, Landlock): other files than Python's own, TCP, signals to others.

Landlock is a security module by which a process without privileges gives up rights for itself and its children
(Documentation/userspace-api/landlock.rst of the kernel): files since Linux 5.13, TCP since 6.7, signals and abstract
sockets since 6.12. It also keeps a process from tracing, and from reading in /proc, what is outside of it. Where the
kernel or the container runtime has it not, nothing of this holds, and `confine` says so.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on every architecture
_VERSION_FLAG = 1
_PATH_BENEATH = 1
_EXECUTE, _READ_FILE, _READ_DIR = 1, 4, 8
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}  # how many rights on files a version of the interface knows
_TCP = 0b11  # bind, connect
_SCOPES = 0b11  # abstract unix sockets, signals
_SET_PDEATHSIG, _SET_NO_NEW_PRIVS = 1, 38
_SYSTEM = ("/usr", "/lib", "/lib64", "/etc/localtime", "/dev/null", "/dev/urandom")


def confine() -> tuple[str, ...]:
    """Give up what a strategy does not need; what is given up, in one word each. Empty where the kernel cannot."""
    if sys.platform != "linux":
        return ()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # the runner's end is this process's end, whatever it does
    version = libc.syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    if version < 1:
        return ()
    files = (1 << _FILE_RIGHTS[max(each for each in _FILE_RIGHTS if each <= version)]) - 1
    rights = [files, _TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0]
    known = 3 if version >= 6 else 2 if version >= 4 else 1
    attributes = struct.pack(f"={known}Q", *rights[:known])
    rules = libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    if rules < 0:
        return ()
    try:
        for path in _readable():
            _allow(libc, rules, path)
        if libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 or libc.syscall(_RESTRICT_SELF, rules, 0) != 0:
            return ()
    finally:
        os.close(rules)
    names = ("files", "network", "signals")
    return tuple(name for name, right in zip(names, rights, strict=True) if right)


def _readable() -> Iterable[Path]:
    """Where Python and the packages that a strategy may import lie."""
    places = {*_SYSTEM, sys.prefix, sys.base_prefix, *sys.path}
    return sorted(path for place in places if place and (path := Path(place)).exists())


def _allow(libc: ctypes.CDLL, rules: int, path: Path) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rights = _READ if path.is_dir() else _READ_FILE
        rule = struct.pack("=Qi", rights, descriptor)
        libc.syscall(_ADD_RULE, rules, _PATH_BENEATH, rule, 0)
    finally:
        os.close(descriptor)
