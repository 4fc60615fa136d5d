# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What the end-to-end tests share. A test sources this file and runs top to bottom; the first
# check that fails ends it with 1, something that is missing here with 77 (skipped). Whatever was
# started or mounted goes away with it.
#
#   BYGONE                 the program under test
#   BYGONE_E2E_SANITIZED   not empty: built with a sanitizer, slower; its reports fail the test
#   BYGONE_E2E_KEEP        not empty: keep the folder of the test to look at
set -Eeuo pipefail
# shellcheck source=../../scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"

BYGONE=${BYGONE:-$TOP/build/release/cli/bygone}
SANITIZED=${BYGONE_E2E_SANITIZED:-}
HERE=$TOP/tests/e2e
WORK=$(mktemp -d /var/tmp/bygone-e2e.XXXXXX)
OUT=$WORK/out # standard output and
ERR=$WORK/err # standard error of the last `expect` or `quietly`
MNT=$WORK/mnt
PIDS=()

skip() {
  echo "SKIPPED: $*"
  trap - EXIT
  engine_remove "$WORK/e"
  rm -rf -- "$WORK"
  exit 77
}

[ -x "$BYGONE" ] || skip "there is no program at $BYGONE"
[ "$(id -u)" = 0 ] || skip "root is needed for the mount, the engine and devices"
[ -e /dev/fuse ] || skip "there is no /dev/fuse here"

# Nothing of the caller's set-up leaks in.
for variable in $(compgen -v BYGONE_ | grep -v '^BYGONE_E2E_'); do unset "$variable"; done
unset DOCKER_HOST DOCKER_TLS_VERIFY DOCKER_CERT_PATH DOCKER_CONTEXT
export TZ=UTC LC_ALL=C.UTF-8 HOME=$WORK/home NO_COLOR=1 BYGONE_STATE_DIR=$WORK/state
export ASAN_OPTIONS=log_path=$WORK/sanitizer UBSAN_OPTIONS=log_path=$WORK/sanitizer
export TSAN_OPTIONS=log_path=$WORK/sanitizer:die_after_fork=0
export BYGONE_CONFIG=$WORK/config.yaml # and not the one of this machine
mkdir -p "$WORK/home" "$MNT"
: >"$BYGONE_CONFIG"
chmod 644 "$BYGONE_CONFIG"
chmod 755 "$WORK"

# --- checks -------------------------------------------------------------------------------------

step() { printf '\n== %s\n' "$*"; }
ok() { printf 'ok: %s\n' "$*"; }
fail() {
  printf 'FAILED (%s line %s): %s\n' "${0##*/}" "${BASH_LINENO[${2:-0}]}" "$1" >&2
  exit 1
}

show_output() {
  printf -- '--- stdout\n%s\n--- stderr\n%s\n' "$(head -c 4000 "$OUT")" "$(head -c 4000 "$ERR")" >&2
}

# Runs a command that must end with that exit code: expect CODE COMMAND...
expect() {
  local want=$1 got=0
  shift
  "$@" >"$OUT" 2>"$ERR" </dev/null || got=$?
  [ "$got" = "$want" ] && return 0
  show_output
  fail "exit code $got, not $want: $*" 1
}

quietly() { expect 0 "$@"; }

# A command that must succeed, with what that proves: check "WHAT" COMMAND... Its standard input is
# this one's.
check() {
  local what=$1
  shift
  if "$@" >"$OUT" 2>"$ERR"; then
    ok "$what"
  else
    show_output
    fail "$what: $*" 1
  fi
}

# A command that must say nothing on standard output, and succeed.
check_silent() {
  local what=$1
  shift
  "$@" >"$OUT" 2>"$ERR" </dev/null || { show_output; fail "$what: exit code $?: $*" 1; }
  if [ -s "$OUT" ]; then
    show_output
    fail "$what" 1
  fi
  ok "$what"
}

check_equal() { # WHAT LEFT RIGHT
  [ "$2" = "$3" ] || fail "$1: '$2' is not '$3'" 1
  ok "$1"
}

# Standard output or error of the last command says that (extended regular expression).
says() { # REGEX
  grep -qE -- "$1" "$OUT" "$ERR" || { show_output; fail "nothing says /$1/" 1; }
  ok "says /$1/"
}

never_says() { # TEXT
  if grep -qF -- "$1" "$OUT" "$ERR"; then
    show_output
    fail "says '$1'" 1
  fi
}

# --- repositories and mounts --------------------------------------------------------------------

# A new repository with a key file, and the environment that finds it. Key files cost no time.
new_repository() { # [NAME]
  export BYGONE_REPOSITORY=$WORK/${1:-repository} BYGONE_KEY_FILE=$WORK/key
  unset BYGONE_PASSWORD BYGONE_PASSWORD_FILE BYGONE_PASSWORD_COMMAND
  [ -e "$BYGONE_KEY_FILE" ] || (umask 077 && head -c 32 /dev/urandom >"$BYGONE_KEY_FILE")
  quietly "$BYGONE" init
}

mount_repository() { # [DIR]
  mkdir -p "${1:-$MNT}"
  quietly "$BYGONE" mount "${1:-$MNT}"
  mountpoint -q "${1:-$MNT}" || fail "nothing is mounted at ${1:-$MNT} after bygone mount" 1
}

# Names of the listed instants of a source in the mount, oldest first.
instants() { # SOURCE
  find "$MNT/$1" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | sort
}

# A field of the newest snapshot of a source, from `bygone snapshots --json`.
newest() { # SOURCE FIELD
  "$BYGONE" snapshots --json | python3 "$HERE/newest.py" "$1" "$2"
}

# Waits until a running mount shows the newest snapshot of a source: it hears of it by inotify, which
# takes a moment on a busy machine.
appears() { # SOURCE [FOLDER in the mount]
  local name
  name=$(newest "$1" instant)
  wait_for 15 test -e "$MNT/${2:-$1}/$name/." || fail "$1/$name does not appear in the mount" 1
  wait_for 15 is_latest "$MNT/${2:-$1}" "$name" || fail "latest of $1 does not move to $name" 1
}
is_latest() { [ "$(readlink "$1/latest")" = "$2" ]; }

# Waits for the second to change, so that the next snapshot has a name of its own.
next_second() {
  local now
  now=$(date +%s)
  while [ "$(date +%s)" = "$now" ]; do sleep 0.05; done
}

# What rsync would change to make the second tree the first one.
tree_difference() { # SOURCE/ COPY/ [OPTION...]
  local from=$1 to=$2
  shift 2
  rsync -aHAXn --delete --checksum --itemize-changes "$@" "$from" "$to"
}

# --- Docker -------------------------------------------------------------------------------------

# A private engine for this test with a small image `tools`; exports DOCKER_HOST.
start_engine() {
  for program in docker dockerd containerd; do
    command -v "$program" >/dev/null || skip "$program is not installed"
  done
  engine_start "$WORK/e"
  host_image tools bash cat cp date dd ln ls mkdir mv rm seq sleep stat sync touch truncate
}

# What a container runs that writes down, line by line, what another one leaves in /bus/n.
# shellcheck disable=SC2016,SC2034
FOLLOW='seen=; while :; do
  read -r n </bus/n || continue; [ "$n" = "$seen" ] || { echo "$n" >>/data/log; seen=$n; }; done'

inspect() { docker inspect -f "$1" "$2"; } # FORMAT CONTAINER

# --- the end ------------------------------------------------------------------------------------

finish() {
  local code=$? mount report
  trap - EXIT ERR
  set +e
  for pid in "${PIDS[@]}"; do kill "$pid" 2>/dev/null; done
  # Mounts inside mounts first; the engine's own go with it.
  findmnt -rno TARGET | grep -F -- "$WORK/" | grep -vF -- "$WORK/e/" | sort -r |
    while IFS= read -r mount; do
      mount=$(printf '%b' "$mount")
      umount -- "$mount" 2>/dev/null || umount -l -- "$mount"
    done
  engine_remove "$WORK/e"
  if [ -n "$SANITIZED" ]; then
    sleep 1 # a mount that was just unmounted writes its report when it ends
    for report in "$WORK"/sanitizer*; do
      [ -e "$report" ] || continue
      echo "FAILED: the sanitizer reports:" >&2
      head -n 60 "$report" >&2
      code=1
    done
  fi
  if [ -n "${BYGONE_E2E_KEEP:-}" ]; then
    echo "kept: $WORK"
  else
    chattr -R -i "$WORK" 2>/dev/null
    rm -rf --one-file-system -- "$WORK"
  fi
  if [ "$code" = 0 ]; then printf '\nPASSED: %s\n' "${0##*/}"; fi
  exit "$code"
}
trap finish EXIT
# A test that ran out of time is told so, and takes down what it started.
trap 'exit 143' TERM INT HUP
trap 'echo "FAILED (${BASH_SOURCE[0]##*/} line $LINENO): $BASH_COMMAND" >&2' ERR
