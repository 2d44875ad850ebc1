#!/usr/bin/env bash
# lock.sh: writes both lock files after a change of pyproject.toml; what is locked already stays as it is.

# shellcheck source=hack/cluster/env.sh
. "$(dirname "$0")/cluster/env.sh"

cd "$ROOT"
need_uv
lock() { uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml "$@"; }
lock --group dev -o requirements.lock
lock -c requirements.lock -o requirements-runtime.lock
