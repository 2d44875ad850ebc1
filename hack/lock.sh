#!/usr/bin/env bash
# lock.sh: writes the lock files after a change of pyproject.toml; what is locked already stays as it is.

# shellcheck source=hack/cluster/env.sh
. "$(dirname "$0")/cluster/env.sh"

cd "$ROOT"
need_uv
lock() { uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header "$@"; }
lock pyproject.toml --group dev -o requirements.lock
lock pyproject.toml -c requirements.lock -o requirements-runtime.lock

# A library of Interactive Brokers' API is added to an image by these alone: what else it needs is in the runtime's.
extra() {
  "$VENV/bin/python" -c 'import sys, tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"][sys.argv[1]], sep="\n")' "$1"
}
for library in ib_async ib_insync; do
  extra "${library/_/-}" | lock --no-deps - -o "requirements-$library.lock"
done
