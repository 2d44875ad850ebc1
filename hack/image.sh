#!/usr/bin/env bash
# image.sh: makes sure that the engine has our image of this checkout, and prints its name,
# openbell:<version>-<hash of what goes into it>. With --load it is on the cluster's nodes too.
# OPENBELL_IMAGE names an image to use instead; OPENBELL_IB_LIBRARY is ib_async (the default) or ib_insync.

# shellcheck source=hack/cluster/env.sh
. "$(dirname "$0")/cluster/env.sh"
alone "$@"

cd "$ROOT"
PYTHON_IMAGE=python:3.11-slim-bookworm
# The one we make where that cannot be pulled; its name changes with how it is made.
BASE_IMAGE=openbell-base:$DEBIAN-$(sed -n '/^base() {/,/^}/p' hack/image.sh | sha256sum | cut -c1-8)
LOCKS=(requirements-runtime.lock requirements-ib_async.lock requirements-ib_insync.lock)
SOURCES=(Dockerfile LICENSE README.md pyproject.toml "${LOCKS[@]}" examples/data operator/openbell)
LIBRARY=${OPENBELL_IB_LIBRARY:-ib_async}
case $LIBRARY in ib_async | ib_insync) ;; *) die "image.sh: OPENBELL_IB_LIBRARY is $LIBRARY; allowed is ib_async or ib_insync" ;; esac

if [ -n "${OPENBELL_IMAGE:-}" ]; then echo "$OPENBELL_IMAGE"; exit; fi

"$HERE/engine.sh" start
use_engine

version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
"$ROOT/hack/dashboard.sh"
image=openbell:$version-$(hash_of "${SOURCES[@]}" | cut -c1-10)
[ "$LIBRARY" = ib_async ] || image=$image-$LIBRARY

# Debian and its Python, as small as it goes.
base() {
  local dir=$CACHE/base
  rm -rf "$dir"
  mmdebstrap --quiet --variant=essential --include=python3,python3-venv,ca-certificates,libstdc++6 \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/i18n/*' "$DEBIAN" "$dir"
  # a package that only merges /bin into /usr has brought all of Perl along; no locale but C.UTF-8 is used
  rm -rf "$dir"/usr/share/perl* "$dir"/usr/lib/*/{perl,perl5,libperl.so*,gconv} "$dir"/var/log/*
  find "$dir" -name __pycache__ -prune -exec rm -r {} +
  tar -C "$dir" --exclude=./dev -c . | docker import --change 'CMD ["python3"]' - "$BASE_IMAGE"
  rm -rf "$dir"
}

# The packages of the lock, for the Python and the C library of the base image whatever this machine's are.
wheels() {
  local platforms=() machine minor
  machine=$(uname -m)
  for minor in $(seq 36 -1 17) 12 5; do platforms+=(--platform "manylinux_2_${minor}_$machine"); done
  for minor in 2014 2010 1; do platforms+=(--platform "manylinux${minor}_$machine"); done
  local target=(--only-binary :all: --python-version 3.11 --implementation cp "${platforms[@]}")
  rm -rf "$WHEELS.part"
  local lock
  for lock in "${LOCKS[@]}"; do
    "$pip" download -q -d "$WHEELS.part" "${target[@]}" --no-deps --require-hashes -r "$lock"
  done
  # what builds our own wheel
  "$pip" download -q -d "$WHEELS.part" "${target[@]}" "$(sed -n 's/^requires = \["\(.*\)"\]/\1/p' pyproject.toml)"
  mv "$WHEELS.part" "$WHEELS"
}

# With our own base image the packages and the page come along, and no step of the build needs a network.
offline_build() {
  tar -c --exclude=__pycache__ --exclude=.stamp "${SOURCES[@]}" -C "${WHEELS%/*}" "${WHEELS##*/}" \
    --transform="s,^${WHEELS##*/},wheels," --transform='s,^operator/openbell/web/static,static,' |
    docker build -q -t "$image" --build-arg PYTHON_IMAGE="$BASE_IMAGE" --build-arg NODE_IMAGE="$BASE_IMAGE" \
      --build-arg IB_LIBRARY="$LIBRARY" -
}

if ! docker image inspect "$image" >/dev/null 2>&1; then
  have() { docker image inspect "$1" >/dev/null 2>&1; }
  if ! have "$PYTHON_IMAGE" && ! have "$BASE_IMAGE"; then
    observe "pull $PYTHON_IMAGE" timeout 300 docker pull -q "$PYTHON_IMAGE"
  fi
  if have "$PYTHON_IMAGE"; then
    step "image $image" docker build -q -t "$image" --build-arg IB_LIBRARY="$LIBRARY" .
  else
    if ! have "$BASE_IMAGE"; then
      say "$PYTHON_IMAGE cannot be pulled ($(tail -n 1 "$(log_of "pull $PYTHON_IMAGE")" | cut -c1-100)): making a base image from Debian's packages."
      need_deb mmdebstrap debian-archive-keyring
      step "base image $BASE_IMAGE" base
    fi
    WHEELS=$CACHE/wheels/$({ cat "${LOCKS[@]}"; grep "^requires = " pyproject.toml; } | sha256sum | cut -c1-12)
    if [ ! -d "$WHEELS" ]; then
      pip=$(pypi_tool pip pip)/pip
      mkdir -p "$CACHE/wheels"
      step "packages for the image" wheels
    fi
    step "image $image" offline_build
  fi
  # The three newest stay.
  docker images openbell --format '{{.Repository}}:{{.Tag}}' | tail -n +4 | xargs -r docker rmi >/dev/null 2>&1 || true
fi
[ "${1:-}" != --load ] || "$HERE/load.sh" "$image"
echo "$image"
