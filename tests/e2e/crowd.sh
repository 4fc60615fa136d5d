#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The daemon beside an engine with ten thousand containers, which tells of every health check, fails,
# dawdles, cuts its streams and goes away: it stays up, answers, does nothing twice, and needs little.
#   BYGONE_E2E_CROWD   how many containers; 10000 without it
. "$(dirname "$0")/lib.sh"

LOG=$WORK/daemon.log
SOCKET=$WORK/crowded.sock
start_crowd() {
  rm -f "$SOCKET"
  "$HERE/crowded-engine" "$SOCKET" "$WORK/docker" "${BYGONE_E2E_CROWD:-10000}" >>"$WORK/engine.log" 2>&1 &
  ENGINE=$!
  PIDS+=("$ENGINE")
  wait_for 20 curl -sf --unix-socket "$SOCKET" http://x/_ping || fail "the engine does not start"
}
test_engine() { curl -sS --unix-socket "$SOCKET" -X POST "http://x/test/$1" || fail "the engine does not hear of $1"; }
tally() { # KEY
  curl -sS --retry 3 --retry-all-errors --max-time 20 --unix-socket "$SOCKET" http://x/test/tally >"$WORK/tally" &&
    python3 -c 'import json, sys; print(json.load(open(sys.argv[1])).get(sys.argv[2], 0))' "$WORK/tally" "$1"
}
count() { "$BYGONE" snapshots "$1" --json 2>/dev/null | wc -l; }
has_snapshots() { [ "$(count "$1")" -ge "$2" ]; } # SOURCE NUMBER
of_yearly() { "$BYGONE" snapshots --json | grep -c '"yearly-[0-9]*"'; }
all_yearly() { [ "$(of_yearly)" -ge 20 ]; }
# Seconds of processor time of the daemon so far.
cpu() { awk -v hz="$(getconf CLK_TCK)" '{ print int(($14 + $15) / hz) }' "/proc/$DAEMON/stat"; }
answers() { # WHAT
  kill -0 "$DAEMON" 2>/dev/null || { tail -n 30 "$LOG"; fail "$1: the daemon is gone" 1; }
  expect 0 timeout 10 "$BYGONE" status
  grep -q '^yearly-1 ' "$OUT" || { show_output; fail "$1: status knows nothing" 1; }
  ok "$1: the daemon runs, and its status is told"
}
below() { # WHAT NUMBER LIMIT
  [ "$2" -lt "$3" ] || fail "$1: $2, and not under $3" 1
  ok "$1: $2"
}

start_crowd
export DOCKER_HOST=unix://$SOCKET
new_repository
for i in 1 2 3; do echo "of app-$i" >"$WORK/docker/volumes/app-$i/file"; done

step "ten thousand containers"
"$BYGONE" daemon >"$LOG" 2>&1 </dev/null &
DAEMON=$!
PIDS+=("$DAEMON")
wait_for 40 all_yearly || { tail -n 30 "$LOG"; fail "only $(of_yearly) sources are backed up"; }
wait_for 20 has_snapshots app-1 2 || { tail -n 30 "$LOG"; fail "app-1 is not backed up by its schedule"; }
check_equal "with what is in it" "$("$BYGONE" cat app-1@latest:/data/file)" "of app-1"
answers "at first"

step "a flood of health checks"
asked=$(tally inspect) listed=$(tally list) before=$(cpu)
test_engine "flood?seconds=8"
sleep 4
answers "in the flood"
sleep 5
[ "$(tally flood)" -ge 4000 ] || fail "the flood was a trickle of $(tally flood) events"
ok "$(tally flood) events have come"
# What is asked is asked for the backups by schedule, each of which lists a few times.
below "containers asked for meanwhile" $(($(tally inspect) - asked)) 6000
below "lists asked for meanwhile" $(($(tally list) - listed)) 150
below "seconds of processor time meanwhile" $(($(cpu) - before)) 6

step "streams that are cut, and answers that are wrong"
faults_came() { [ "$(tally fault)" -ge "$1" ]; }
wanted=0
for kind in half 500 slow; do
  test_engine "fail?kind=$kind&times=4"
  test_engine cut
  wanted=$((wanted + 4))
  wait_for 20 faults_came $wanted || { tail -n 30 "$LOG"; fail "$kind: only $(tally fault) requests failed"; }
  answers "$kind"
done
none_paused() { [ "$(tally paused)" = 0 ]; }
wait_for 20 none_paused || { tail -n 30 "$LOG"; fail "$(tally paused) containers stay paused"; }
ok "nothing stays paused"
python3 -c '
import json, sys
twice = [k for k, n in json.load(open(sys.argv[1])).items() if k.startswith("pause yearly-") and n > 1]
sys.exit(f"done twice: {twice}" if twice else 0)' "$WORK/tally" || fail "a source is done twice"
ok "and nothing was done twice"

step "an engine that goes away and comes back"
kill -9 "$ENGINE"
is_missed() { "$BYGONE" status 2>&1 | grep -q 'Docker cannot be reached'; }
wait_for 20 is_missed || { tail -n 30 "$LOG"; fail "status does not say that the engine is away"; }
answers "without an engine"
start_crowd
saved=$(count app-1)
wait_for 40 has_snapshots app-1 $((saved + 2)) || { tail -n 30 "$LOG"; fail "no backups after the engine's return"; }
answers "with the engine again"

step "what it came to"
check_equal "what was due once is done once" "$(of_yearly)" 20
if "$BYGONE" snapshots --json | grep -E '"(crowd|bare)-[0-9]*"'; then fail "what is opted out or not due is done"; fi
ok "what is opted out or not due is not done"
wait_for 20 none_paused || fail "$(tally paused) containers stay paused"
below "MiB of memory at most" $(($(awk '/^VmHWM/ { print $2 }' "/proc/$DAEMON/status") / 1024)) 400
below "seconds of processor time" "$(cpu)" 40
kill "$DAEMON"
wait "$DAEMON" || fail "the daemon ends with $?"
check "verify --read-data" "$BYGONE" verify --read-data
