#!/usr/bin/env bash
# ibkr.sh LIBRARY...: an environment with Openbell's packages, those of its tests, and one library of Interactive
# Brokers' API (ib_async or ib_insync), each under the cache: the two cannot be installed together.

# shellcheck source=hack/cluster/env.sh
. "$(dirname "$0")/cluster/env.sh"
alone "$@"

cd "$ROOT"
for library; do
  case $library in ib_async | ib_insync) ;; *) die "ibkr.sh: no library is called $library (ib_async ib_insync)" ;; esac
  dir=$CACHE/ibkr/$library
  wanted=$(cat requirements.lock pyproject.toml hack/ibkr.sh | sha256sum)
  [ "$(cat "$dir/.stamp" 2>/dev/null)" != "$wanted" ] || continue
  need_uv
  packages() {
    rm -rf "$dir"
    uv venv --python '>=3.11,<3.14' "$dir"   # ib_insync cannot be imported from 3.14 on outside of a running loop
    uv pip install --compile-bytecode --python "$dir" \
      -c <(grep -oE '^[A-Za-z0-9._-]+==[^ ;]+' requirements.lock) \
      -r pyproject.toml --extra "${library/_/-}" pytest pytest-asyncio pytest-timeout pytest-xdist hypothesis
  }
  step "environment with $library" packages
  echo "$wanted" > "$dir/.stamp"
done
