#!/usr/bin/env bash
# bootstrap.sh: the Python environment of this checkout, .venv, as the lock file says. When that has
# not changed since, it does nothing.

# shellcheck source=hack/cluster/env.sh
. "$(dirname "$0")/cluster/env.sh"
alone "$@"

cd "$ROOT"
wanted=$(cat requirements.lock pyproject.toml | sha256sum)
[ -x "$VENV/bin/python" ] && [ "$(cat "$VENV/.stamp" 2>/dev/null)" = "$wanted" ] && exit

need_uv
packages() {
  [ -x "$VENV/bin/python" ] || uv venv --python '>=3.11,<3.15' "$VENV"
  uv pip sync --compile-bytecode --python "$VENV" --require-hashes requirements.lock
  # the project itself, from this folder
  uv pip install --python "$VENV" --no-deps -e .
}
step "Python packages" packages
echo "$wanted" > "$VENV/.stamp"
