#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Containers are stopped for a backup and started again: the state is that of a clean end. A backup that
# is killed meanwhile leaves them stopped, and `bygone thaw` starts them, and nobody else.
. "$(dirname "$0")/lib.sh"

start_engine
new_repository
# shellcheck disable=SC2016
writes='trap "echo clean >/data/end; exit" TERM
  rm -f /data/end; for ((id = 1; ; id++)); do echo $id >/data/number; sleep 0.05; done'
start() { docker run -d --name "$1" --network none -v "$1data:/data" "${@:2}" tools bash -c "$writes" >/dev/null; }
start app
start other
docker stop -t 1 other >/dev/null
sleep 1

step "stopped and started again"
check "backup" "$BYGONE" backup app --consistency stop
says 'stopped for'
check_equal "its class" "$(newest app consistency)" stop
check_equal "it runs" "$(inspect '{{.State.Status}}' app)" running
check "the snapshot is of a clean end" "$BYGONE" cat app@latest:/appdata/end
check_equal "who was stopped stays so" "$(inspect '{{.State.Status}}' other)" exited

step "not what would be removed"
start brief --rm
expect 1 "$BYGONE" backup brief --consistency stop
says 'removed at its end'
check_equal "it runs" "$(inspect '{{.State.Status}}' brief)" running

step "killed while it is stopped"
killed=no
for _ in 1 2 3 4 5 6 7 8; do
  head -c 300M /dev/urandom | docker exec -i app bash -c 'cat >/data/much'
  "$BYGONE" backup app --consistency stop >"$OUT" 2>"$ERR" &
  backup=$!
  while kill -0 "$backup" 2>/dev/null && [ "$(inspect '{{.State.Status}}' app)" = running ]; do :; done
  kill -9 "$backup" 2>/dev/null || true
  wait "$backup" || true
  sleep 1
  if [ "$(inspect '{{.State.Status}}' app)" = exited ]; then
    killed=yes
    break
  fi
done
check_equal "the container is stopped and nobody is left to start it" "$killed" yes
check "bygone thaw" "$BYGONE" thaw
says 'app is started'
check_equal "it runs" "$(inspect '{{.State.Status}}' app)" running
check_equal "who was stopped stays so" "$(inspect '{{.State.Status}}' other)" exited
check "thaw again has nothing to do" "$BYGONE" thaw
says 'nothing was left'

step "one that takes its time to stop holds up nobody"
docker run -d --name slow --network none -v slowdata:/data --stop-timeout 15 tools \
  bash -c 'trap "" TERM; while :; do date >/data/now; sleep 0.1; done' >/dev/null
slow=$(inspect '{{.State.StartedAt}}' slow)
"$BYGONE" backup slow --consistency stop >"$OUT" 2>"$ERR" &
backup=$!
wait_for 20 compgen -G "$WORK/state/freeze/*.journal" || { show_output; fail "nobody is to be stopped"; }
sleep 1 # the engine is asked
kill -9 "$backup"
wait "$backup" || true
check_equal "it is not stopped yet" "$(inspect '{{.State.Status}}' slow)" running
docker run -d --name quick --network none -v quickdata:/data --label 'bygone.schedule=every 1s' tools \
  bash -c 'while :; do date >/data/now; sleep 0.1; done' >/dev/null
"$BYGONE" daemon >"$WORK/daemon.log" 2>&1 </dev/null &
daemon=$!
PIDS+=("$daemon")
is_saved() { "$BYGONE" snapshots quick --json 2>/dev/null | grep -q quick; }
wait_for 10 is_saved || { cat "$WORK/daemon.log"; fail "another one waits for it"; }
check_equal "another one is saved before it has stopped" "$(inspect '{{.State.StartedAt}}' slow)" "$slow"
runs_again() {
  [ "$(inspect '{{.State.Status}}' slow)" = running ] && [ "$(inspect '{{.State.StartedAt}}' slow)" != "$slow" ]
}
wait_for 40 runs_again || { cat "$WORK/daemon.log"; fail "it is not started again"; }
check "it is started when it has" grep -q 'slow was left stopped by a backup that died: it is started' "$WORK/daemon.log"
kill "$daemon"
wait "$daemon" || fail "the daemon ends with $?"
check_equal "nothing is left behind" "$(find "$WORK/state/freeze" -type f | wc -l)" 0
docker rm -f slow quick >/dev/null

step "what is stopped already"
docker stop -t 1 app >/dev/null
check "backup of what is stopped" "$BYGONE" backup app --consistency stop
check_equal "it stays so" "$(inspect '{{.State.Status}}' app)" exited
