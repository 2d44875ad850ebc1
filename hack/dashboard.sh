#!/usr/bin/env bash
# dashboard.sh: builds the page from operator/dashboard into operator/openbell/web/static, when its
# sources have changed since.

# shellcheck source=hack/cluster/env.sh
. "$(dirname "$0")/cluster/env.sh"

cd "$ROOT/operator/dashboard" 2>/dev/null || exit 0
static=$ROOT/operator/openbell/web/static
stamp=$static/assets/.stamp   # with what git ignores, so that a fresh checkout builds
wanted=$(hash_of operator/dashboard)
[ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && [ -f "$static/index.html" ] && exit

need_node
build() { npm ci --no-audit --no-fund && npm run build; }
step "dashboard page" build
mkdir -p "${stamp%/*}"
echo "$wanted" > "$stamp"
