#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The daemon is killed at random moments, most of them while it has somebody stand still: its next
# start, or `bygone thaw`, puts back what ran, at once, and touches nobody whom somebody else paused
# or stopped. What was committed stays whole.
#
#   BYGONE_E2E_KILLS  how often, default 12
. "$(dirname "$0")/lib.sh"

kills=${BYGONE_E2E_KILLS:-12}
LOG=$WORK/daemon.log

# shellcheck disable=SC2016
run() { # NAME [OPTION...]
  docker run -d --name "$1" --network none -v "$1:/data" "${@:2}" tools bash -c \
    'trap exit TERM; while :; do echo "$RANDOM" >/data/now; sleep 0.02; done' >/dev/null
}
state() { inspect '{{.State.Status}} {{.State.StartedAt}}' "$1"; } # CONTAINER
all_run() {
  local name
  for name in one two stopped; do [ "$(inspect '{{.State.Status}}' "$name")" = running ] || return 1; done
}
# What a signal does from then on is the daemon's own.
is_up() { tail -n "+$((lines + 1))" "$LOG" | grep -q "connected to"; }
holds() { compgen -G "$WORK/state/freeze/*" >/dev/null; }

start_engine
new_repository
run one --label bygone.group=pair --label 'bygone.schedule=every 1s'
run two --label bygone.group=pair --label 'bygone.schedule=every 1s'
run stopped --label bygone.consistency=stop --label 'bygone.schedule=every 1s' --stop-timeout 2
run theirs -v one:/one --label 'bygone.schedule=every 1s' # paused by somebody else
run ended -v one:/one --label 'bygone.schedule=every 1s'  # and stopped
docker pause theirs >/dev/null
docker stop -t 1 ended >/dev/null
check "a first backup of all" "$BYGONE" backup --all
one=$(state one) two=$(state two) theirs=$(state theirs) ended=$(state ended)

step "$kills kills"
found=0
for ((kill = 1; kill <= kills; kill++)); do
  "$BYGONE" daemon >>"$LOG" 2>&1 </dev/null &
  daemon=$!
  PIDS+=("$daemon")
  if [ $((kill % 4)) = 0 ]; then
    sleep "$((RANDOM % 3)).$((RANDOM % 10))"
  else
    wait_for 30 holds || { cat "$LOG"; fail "nobody is made to stand still"; }
    sleep "0.0$((RANDOM % 10))"
  fi
  kill -9 "$daemon"
  wait "$daemon" 2>/dev/null || true
  all_run || found=$((found + 1))
  if [ $((kill % 4)) = 2 ]; then
    # One that cannot begin, for its disk is not there, thaws all the same.
    expect 10 env BYGONE_REPOSITORY="$WORK/nowhere" "$BYGONE" daemon
    all_run || fail "somebody stands still after a start without repository: $(docker ps -a)"
  elif [ $((kill % 4)) = 0 ]; then
    expect 0 "$BYGONE" thaw
    all_run || fail "somebody stands still after bygone thaw: $(docker ps -a)"
  else
    lines=$(wc -l <"$LOG")
    "$BYGONE" daemon >>"$LOG" 2>&1 </dev/null &
    daemon=$!
    PIDS+=("$daemon")
    # Between two of its own freezes.
    wait_for 10 all_run || fail "somebody stands still after the daemon's start: $(docker ps -a)"
    wait_for 10 is_up || fail "the daemon does not begin: $(tail "$LOG")"
    kill "$daemon"
    wait "$daemon" || fail "the daemon ends with $?"
    all_run || fail "somebody stands still after the daemon's end: $(docker ps -a)"
  fi
  [ "$(state one), $(state two)" = "$one, $two" ] || fail "who was frozen has been started anew"
  [ "$(state theirs), $(state ended)" = "$theirs, $ended" ] || fail "somebody else's pause or stop is undone"
done
ok "after each everybody ran who had run, and nobody else"
[ "$found" -gt 0 ] || fail "nobody stood still at any of the kills: this proves nothing"
ok "at $found of them somebody stood still"
if grep "what is known is not kept" "$LOG"; then fail "the ledger is not written any more"; fi
ok "and each start kept the ledger"
echo "torture: kills of the daemon $kills"

step "what was committed"
saved() { "$BYGONE" snapshots "$1" --json | wc -l; } # SOURCE
is_saved_again() {
  local name
  for name in one two stopped theirs; do [ "$(saved "$name")" -gt "${before[$name]}" ] || return 1; done
}
declare -A before
for name in one two stopped theirs; do before[$name]=$(saved "$name"); done
"$BYGONE" daemon >>"$LOG" 2>&1 </dev/null &
daemon=$!
PIDS+=("$daemon")
wait_for 60 is_saved_again || fail "the daemon does not go on: $(tail "$LOG")"
kill "$daemon"
wait "$daemon" || fail "the daemon ends with $?"
ok "the daemon goes on after all of them"
check "verify --read-data" "$BYGONE" verify --read-data
check "a backup of all" "$BYGONE" backup --all
check_equal "nothing is left behind" "$(find "$WORK/state/freeze" -type f 2>/dev/null | wc -l)" 0
