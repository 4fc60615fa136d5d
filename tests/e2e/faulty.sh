#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# An engine whose n-th answer is cut off, half, hostile, an error or late, for every n: a backup ends
# with a reason or does its work, and never leaves a container as it was not. And an engine with ten
# thousand containers.
. "$(dirname "$0")/lib.sh"

start_engine
new_repository
engine=$DOCKER_HOST
docker run -d --name db --network none -v data:/data tools bash -c '
  for ((n = 1; ; n++)); do echo "$n" >>/data/log; sleep 0.05; done' >/dev/null
docker run -d --name other --network none -v data:/data -v more:/more tools sleep infinity >/dev/null
docker run -d --name paused --network none -v data:/data:ro tools sleep infinity >/dev/null
docker pause paused >/dev/null

echo "0 none" >"$WORK/fault"
"$HERE/faulty-engine" "$WORK/faulty.sock" "${engine#unix://}" "$WORK" >"$WORK/faulty.log" 2>&1 &
PIDS+=($!)
wait_for 10 test -S "$WORK/faulty.sock" || fail "the faulty engine does not start"
faulty=unix://$WORK/faulty.sock

states() { docker ps -a --format '{{.Names}} {{.State}}' | sort | tr '\n' ' '; }
before=$(states)
backups() { "$BYGONE" snapshots --json | wc -l; }

step "without a fault"
quietly env DOCKER_HOST="$faulty" "$BYGONE" backup db
check_equal "it is consistent" "$(newest db consistency)" freeze
requests=$(wc -l <"$WORK/requests")
[ "$requests" -ge 5 ] || fail "only $requests requests went through the faulty engine"
ok "a backup asks the engine $requests times"

for kind in refused head body half hostile 500 lost; do
  step "$kind"
  done_anyway=0
  for ((n = 1; n <= requests; n++)); do
    echo "$n $kind" >"$WORK/fault"
    saved=$(backups)
    code=0
    DOCKER_HOST=$faulty "$BYGONE" backup db >"$OUT" 2>"$ERR" </dev/null || code=$?
    asked=$(sed -n "${n}p" "$WORK/requests")
    case $code in
      0)
        ((done_anyway += 1))
        [ "$(newest db consistency)" = freeze ] || grep -q 'warning: .*live' "$ERR" ||
          { show_output; fail "$asked, $kind: a snapshot that is not consistent, without a warning"; }
        ;;
      1 | 23)
        grep -qE 'error: .{10}' "$ERR" || { show_output; fail "$asked, $kind: no reason is given"; }
        [ "$(backups)" = "$saved" ] || fail "$asked, $kind: a backup that failed left a snapshot"
        ;;
      *)
        show_output
        fail "$asked, $kind: exit code $code"
        ;;
    esac
    if LC_ALL=C grep -q $'\x1b' "$OUT" "$ERR"; then fail "$asked, $kind: what the engine sent reached the terminal"; fi
    # What could not be put back at once, the journal knows.
    [ "$(states)" = "$before" ] || check "$asked, $kind: bygone thaw" "$BYGONE" thaw
    [ "$(states)" = "$before" ] || fail "$asked, $kind: $(states), not $before"
  done
  ok "$kind: $requests times, $done_anyway of them the backup was made"
done

step "slow"
for ((n = 1; n <= requests; n += 3)); do
  echo "$n slow" >"$WORK/fault"
  quietly env DOCKER_HOST="$faulty" "$BYGONE" backup db
  check_equal "all is as before" "$(states)" "$before"
done

step "ten thousand more containers that are stopped"
echo "10000 crowd" >"$WORK/fault"
quietly env DOCKER_HOST="$faulty" "$BYGONE" backup db
check_equal "the backup of one asks no more than before" "$(wc -l <"$WORK/requests")" "$requests"
expect 1 env DOCKER_HOST="$faulty" "$BYGONE" backup crowd-10000
[ "$(wc -c <"$ERR")" -lt 2000 ] || fail "a wrong name is answered with $(wc -c <"$ERR") bytes"
says "no container, volume or project 'crowd-10000'"
quietly env DOCKER_HOST="$faulty" "$BYGONE" backup crowd-9999

step "nothing is left of all that"
check "thaw has nothing to do" "$BYGONE" thaw
check "backup" "$BYGONE" backup db
check_equal "it is consistent" "$(newest db consistency)" freeze
check "verify" "$BYGONE" verify
