#!/usr/bin/env bash
# dashboard.sh: builds the page from operator/dashboard into operator/openbell/web/static, when its
# sources have changed since. With --packages it only makes sure of what npm installs.

# shellcheck source=hack/cluster/env.sh
. "$(dirname "$0")/cluster/env.sh"
alone "$@"

cd "$ROOT/operator/dashboard"
static=$ROOT/operator/openbell/web/static

packages() {
  local wanted
  wanted=$(sha256sum < package-lock.json)
  [ "$(cat node_modules/.lock 2>/dev/null)" = "$wanted" ] && return
  need_node
  step "dashboard packages" npm ci --no-audit --no-fund
  echo "$wanted" > node_modules/.lock
}

if [ "${1:-}" = --packages ]; then
  packages
  exit
fi
stamp=$static/assets/.stamp
wanted=$(hash_of operator/dashboard)
[ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && [ -f "$static/index.html" ] && exit
packages
need_node
step "dashboard page" npm run build
echo "$wanted" > "$stamp"
