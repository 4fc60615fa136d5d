# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What the scripts share: speaking to a person, becoming root, and a Docker engine of our own.
# To be sourced by bash with `set -euo pipefail`; the functions say what they change.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# A bold line on a terminal, a plain one elsewhere.
say() {
  if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then printf '\n\033[1m%s\033[0m\n' "$*"; else printf '\n%s\n' "$*"; fi
}

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# Runs a command as root: directly, or through sudo, which may ask for a password.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo -- "$@"
  else
    die "root is needed for: $*; hint: become root, or install sudo"
  fi
}

cores() { nproc 2>/dev/null || echo 1; }

# Configures and builds one preset: build NAME [TARGET...]. Uses ccache when it is there.
build() {
  local preset=$1 launcher=()
  shift
  if command -v ccache >/dev/null; then launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
  cmake -S "$TOP" --preset "$preset" "${launcher[@]}" --log-level=WARNING >/dev/null
  local targets=()
  if [ $# -gt 0 ]; then targets=(--target "$@"); fi
  cmake --build "$TOP/build/$preset" -j "$(cores)" "${targets[@]}"
}

# --- a private Docker engine --------------------------------------------------------------------
# Everything of it lives in one folder: sockets, images, containers, logs. It has a containerd of
# its own, no bridge and no firewall rules, so an engine that runs already is never touched.

# Waits until a command succeeds: wait_for SECONDS COMMAND...
wait_for() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.1
  done
}

# The process id in a file, if that process runs and was started with our folder in its arguments.
our_process() { # PIDFILE DIR
  local pid
  pid=$(cat "$1" 2>/dev/null) || return 1
  [ -n "$pid" ] && tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF -- "$2/" || return 1
  echo "$pid"
}

stop_process() { # PIDFILE DIR
  local pid
  pid=$(our_process "$1" "$2") || return 0
  kill "$pid"
  wait_for 30 test ! -d "/proc/$pid" || kill -9 "$pid"
}

ENGINE_OPTIONS=() # of dockerd, beside ours

launch_dockerd() { # DIR STORAGE_DRIVER
  setsid nohup dockerd --host "unix://$1/docker.sock" --containerd "$1/containerd.sock" \
    --data-root "$1/data" --exec-root "$1/run" --pidfile "$1/dockerd.pid" \
    --bridge none --iptables=false --ip6tables=false --ip-forward=false \
    --storage-driver "$2" "${ENGINE_OPTIONS[@]}" </dev/null >"$1/dockerd.log" 2>&1 &
  local pid=$!
  for _ in $(seq 300); do
    if docker -H "unix://$1/docker.sock" version >/dev/null 2>&1; then return 0; fi
    if [ ! -d "/proc/$pid" ]; then return 1; fi
    sleep 0.1
  done
  kill "$pid"
  return 1
}

# Starts an engine in DIR (a short absolute path: socket names are limited to 107 bytes) and
# exports DOCKER_HOST. An engine that runs there already is kept. Needs root.
engine_start() { # DIR
  local dir=$1
  mkdir -p "$dir"
  chmod 700 "$dir"
  export DOCKER_HOST="unix://$dir/docker.sock"
  unset DOCKER_CONTEXT DOCKER_TLS_VERIFY DOCKER_CERT_PATH
  if our_process "$dir/dockerd.pid" "$dir" >/dev/null && docker version >/dev/null 2>&1; then return 0; fi
  printf 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n' >"$dir/containerd.toml"
  setsid nohup containerd --config "$dir/containerd.toml" --address "$dir/containerd.sock" \
    --root "$dir/containerd" --state "$dir/containerd-run" </dev/null >"$dir/containerd.log" 2>&1 &
  echo $! >"$dir/containerd.pid"
  if ! wait_for 30 test -S "$dir/containerd.sock"; then
    tail -n 20 "$dir/containerd.log" >&2
    die "containerd does not start; its log is $dir/containerd.log"
  fi
  launch_dockerd "$dir" overlay2 || launch_dockerd "$dir" vfs || {
    tail -n 20 "$dir/dockerd.log" >&2
    die "dockerd does not start; its log is $dir/dockerd.log"
  }
}

# Stops the engine of DIR with its containers and removes the folder. Nothing else is touched.
engine_remove() { # DIR
  local dir=$1 ids
  [ -d "$dir" ] || return 0
  if our_process "$dir/dockerd.pid" "$dir" >/dev/null; then
    ids=$(docker -H "unix://$dir/docker.sock" ps -aq 2>/dev/null || true)
    # shellcheck disable=SC2086  # a list of ids
    [ -z "$ids" ] || docker -H "unix://$dir/docker.sock" rm -fv $ids >/dev/null 2>&1 || true
  fi
  stop_process "$dir/dockerd.pid" "$dir"
  stop_process "$dir/containerd.pid" "$dir"
  local mount
  findmnt -rno TARGET | { grep -F -- "$dir/" || true; } | sort -r | while IFS= read -r mount; do
    umount -l -- "$(printf '%b' "$mount")" || true
  done
  rm -rf --one-file-system -- "$dir"
}

# Makes an image from programs of this machine and the libraries that they load, and imports it.
# No registry is asked. An image of that name is kept.
host_image() { # NAME PROGRAM...
  local name=$1 root program path
  shift
  if docker image inspect "$name" >/dev/null 2>&1; then return 0; fi
  root=$(mktemp -d)
  mkdir -p "$root"/{usr/bin,usr/sbin,usr/lib,usr/lib64,etc,tmp,proc,sys,dev,run,data}
  for path in bin sbin lib lib64; do ln -s "usr/$path" "$root/$path"; done
  for program in "$@"; do
    path=$(readlink -f "$(command -v "$program")")
    cp -L -- "$path" "$root/usr/bin/$program"
    { ldd "$path" 2>/dev/null || true; } | grep -oE '/[^ ]+' | while IFS= read -r library; do
      mkdir -p "$root${library%/*}"
      cp -Ln -- "$library" "$root$library"
    done
  done
  ln -sf bash "$root/usr/bin/sh"
  printf 'root:x:0:0:root:/:/bin/bash\n' >"$root/etc/passwd"
  printf 'root:x:0:\n' >"$root/etc/group"
  chmod 1777 "$root/tmp"
  tar -C "$root" --numeric-owner --owner=0 --group=0 -c . |
    docker import -c 'CMD ["bash"]' -c 'ENV PATH=/usr/bin:/usr/sbin' - "$name" >/dev/null
  rm -rf -- "$root"
}
