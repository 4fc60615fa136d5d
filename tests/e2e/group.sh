#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A group stands still as one: `second` only ever writes what `first` has written before, and no
# instant has a line in `second` that `first` lacks, whoever takes it, the daemon or the command line.
# Backed up one after the other they contradict each other, which shows that the test can see it.
. "$(dirname "$0")/lib.sh"

LOG=$WORK/daemon.log

# Two containers under load: the first one writes a number and passes it on, the second one writes
# what it was given.
run_pair() { # FIRST SECOND [DOCKER OPTION...]
  local first=$1 second=$2
  shift 2
  docker run -d --name "$first" --network none --label bygone.volumes.exclude="$first-bus" "$@" \
    -v "$first-data:/data" -v "$first-bus:/bus" tools bash -c 'for ((n = 1; ; n++)); do
      echo "$n" >>/data/log; echo "$n" >/bus/new; mv /bus/new /bus/n; done' >/dev/null
  docker run -d --name "$second" --network none --label bygone.volumes.exclude="$first-bus" "$@" \
    -v "$second-data:/data" -v "$first-bus:/bus" tools bash -c "$FOLLOW" >/dev/null
  wait_for 10 docker exec "$second" ls /data/log >/dev/null || fail "nothing reaches $second" 1
}

start_engine
new_repository

step "one after the other"
run_pair apart behind
check "backup of the first" "$BYGONE" backup apart
check "backup of the second" "$BYGONE" backup behind
first=$("$BYGONE" cat apart@latest:/data/log | tail -n 1)
second=$("$BYGONE" cat behind@latest:/data/log | tail -n 1)
[ "$second" -gt "$first" ] || fail "$second is not after $first: this test would see nothing"
ok "the second has $((second - first)) lines that the first lacks"
docker rm -f apart behind >/dev/null

step "a group, by the daemon and by hand"
run_pair first second --label bygone.group=pair --label 'bygone.schedule=every 1s'
"$BYGONE" daemon >>"$LOG" 2>&1 </dev/null &
DAEMON=$!
PIDS+=("$DAEMON")
has_instants() { [ "$("$BYGONE" snapshots second --json 2>/dev/null | wc -l)" -ge "$1" ]; }
wait_for 90 has_instants 4 || { cat "$LOG"; fail "the daemon takes no instants of the group"; }
for _ in 1 2 3; do quietly "$BYGONE" backup first second --wait; done
wait_for 90 has_instants 12 || { cat "$LOG"; fail "the daemon stops taking instants"; }
kill "$DAEMON"
wait "$DAEMON" || fail "the daemon ends with $?"
mount_repository
checked=0
for instant in "$MNT"/@groups/pair/2*; do
  [ ! -L "$instant" ] || continue
  first=$(tail -n 1 "$instant/first/first-data/log")
  second=$(tail -n 1 "$instant/second/second-data/log")
  [ "$second" -le "$first" ] || fail "$instant: the second has $second, the first only $first"
  checked=$((checked + 1))
done
[ "$checked" -ge 12 ] || fail "only $checked instants of both"
ok "in $checked instants of both the second has nothing that the first lacks"
check_equal "all of them frozen" '"consistency":"freeze"' \
  "$("$BYGONE" snapshots second --json | grep -o '"consistency":"[a-z]*"' | sort -u)"
check_equal "nobody is left frozen" "$(docker ps --filter status=running -q | wc -l)" 2
