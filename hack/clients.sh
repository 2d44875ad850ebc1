#!/usr/bin/env bash
# clients.sh NAME...: the unmodified clients of Interactive Brokers that the gateway is tested with, each in an
# environment of its own under the cache: ib_insync and ib_async cannot be installed together.

# shellcheck source=hack/cluster/env.sh
. "$(dirname "$0")/cluster/env.sh"
alone "$@"

for name; do
  pins=$ROOT/tests/gateway/clients/$name.txt dir=$CACHE/clients/$name
  [ -f "$pins" ] || die "clients.sh: no client is called $name"
  wanted=$(sha256sum < "$pins")
  [ "$(cat "$dir/.stamp" 2>/dev/null)" != "$wanted" ] || continue
  need_uv
  packages() {
    rm -rf "$dir"
    uv venv --python '>=3.11,<3.14' "$dir"
    uv pip install --compile-bytecode --python "$dir" --no-deps -r "$pins"
  }
  step "client $name" packages
  echo "$wanted" > "$dir/.stamp"
done
