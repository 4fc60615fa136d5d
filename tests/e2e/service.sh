#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The daemon as a service manager sees it: it says when it is ready, that it lives, and that it ends,
# by the protocol of sd_notify(3). SIGTERM in the moment in which it has a container stand still ends it
# in order, within ten seconds: by its end the container runs again, its post hook has run, and no
# journal is left.
. "$(dirname "$0")/lib.sh"

LOG=$WORK/daemon.log
NOTES=$WORK/notes # what was told, a line each

# shellcheck disable=SC2016
run() { # NAME [OPTION...]
  docker run -d --name "$1" --network none -v "$1:/data" --label 'bygone.schedule=every 1s' "${@:2}" tools \
    bash -c 'trap exit TERM; while :; do date >/data/now; sleep 0.1; done' >/dev/null
}
state() { inspect '{{.State.Status}} {{.State.Paused}} {{.State.StartedAt}}' "$1"; } # CONTAINER
runs_since() { echo "running false $(inspect '{{.State.StartedAt}}' "$1")"; }            # its state, if so
listen() { # SOCKET: a path, or @NAME
  : >"$NOTES"
  python3 -c '
import socket, sys
name = sys.argv[1]
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind("\0" + name[1:] if name.startswith("@") else name)
print("listening", flush=True)
while True:
    print(listener.recv(4096).decode(), flush=True)
' "$1" >>"$NOTES" &
  PIDS+=("$!")
  wait_for 10 told listening || fail "nobody listens"
}
told() { grep -qx -- "$1" "$NOTES"; }
times() { grep -cx -- "$1" "$NOTES" || true; }
beats_more_than() { [ "$(times WATCHDOG=1)" -gt "$1" ]; }
start_daemon() { # [NAME=VALUE...]
  env "$@" "$TOP/tests/e2e/as-service" "$TOP/scripts/bygone.service" "$BYGONE" daemon >>"$LOG" 2>&1 </dev/null &
  DAEMON=$!
  PIDS+=("$DAEMON")
}
ended_in_order() { # SECONDS at which it was asked to
  wait "$DAEMON" || { cat "$LOG" >&2; fail "the daemon ends with $?" 1; }
  [ $((SECONDS - $1)) -le 10 ] || fail "it took over ten seconds" 1
  ok "it ends with 0 within ten seconds"
}
journals() { find "$WORK/state/freeze" "$WORK/state/hooks" -type f 2>/dev/null | wc -l; }
paused() { [ "$(inspect '{{.State.Paused}}' "$1")" = true ]; }
stopped() { [ "$(inspect '{{.State.Status}}' "$1")" = exited ]; }
# Stops the daemon for as long as it takes to look, whenever it has somebody stand still.
catch_while() { # COMMAND...
  local end=$((SECONDS + 30))
  while [ "$SECONDS" -lt "$end" ]; do
    compgen -G "$WORK/state/freeze/*.journal" >/dev/null || continue
    kill -STOP "$DAEMON"
    if "$@"; then return 0; fi
    kill -CONT "$DAEMON"
  done
  cat "$LOG" >&2
  fail "the daemon could not be caught" 1
}

start_engine
new_repository
run db --label 'bygone.post=touch /data/after'

step "what a service manager is told"
listen "$WORK/notify"
start_daemon NOTIFY_SOCKET="$WORK/notify" BYGONE_REPOSITORY="$WORK/nowhere"
code=0
wait "$DAEMON" || code=$?
check_equal "a daemon that cannot begin" "$code" 10
check_equal "is never ready" "$(times READY=1)" 0
start_daemon NOTIFY_SOCKET="$WORK/notify" WATCHDOG_USEC=2000000
wait_for 10 told READY=1 || { cat "$LOG" "$NOTES"; fail "it does not say that it is ready"; }
ok "it is ready"
check_equal "and does not end yet" "$(times STOPPING=1)" 0
before=$(times WATCHDOG=1) begun=$SECONDS
wait_for 10 beats_more_than $((before + 4)) || { cat "$NOTES"; fail "the watchdog hears nothing"; }
[ $((SECONDS - begun)) -le 6 ] || fail "five beats take $((SECONDS - begun)) s, with two seconds for each"
ok "the watchdog hears of it in time"
begun=$SECONDS
kill "$DAEMON"
ended_in_order "$begun"
wait_for 5 told STOPPING=1 || { cat "$NOTES"; fail "it does not say that it ends"; }
check_equal "it says once that it is ready" "$(times READY=1)" 1
check_equal "and last, once, that it ends" "$(times STOPPING=1) $(tail -n 1 "$NOTES")" "1 STOPPING=1"

step "a socket without a file, and no watchdog"
listen "@bygone-e2e-$$"
start_daemon NOTIFY_SOCKET="@bygone-e2e-$$"
wait_for 10 told READY=1 || { cat "$LOG" "$NOTES"; fail "it does not say that it is ready"; }
ok "it is ready"

step "SIGTERM while a container is paused"
db=$(runs_since db)
catch_while paused db
after=$(docker volume inspect -f '{{.Mountpoint}}' db)/after
rm -f "$after"
begun=$SECONDS
kill "$DAEMON"
kill -CONT "$DAEMON"
ended_in_order "$begun"
check_equal "by then the container runs, as before" "$(state db)" "$db"
check "its post hook has run" test -e "$after"
check_equal "no journal is left" "$(journals)" 0
wait_for 5 told STOPPING=1 || { cat "$NOTES"; fail "it does not say that it ends"; }
ok "and it has said that it ends"

step "SIGTERM while a container is stopped"
docker rm -f db >/dev/null
run app --label bygone.consistency=stop --stop-timeout 2
start_daemon
catch_while stopped app
begun=$SECONDS
kill "$DAEMON"
kill -CONT "$DAEMON"
ended_in_order "$begun"
check_equal "by then the container runs" "$(inspect '{{.State.Status}}' app)" running
check_equal "no journal is left" "$(journals)" 0

step "SIGTERM to a backup while a container is paused"
catch_backup() {
  "$BYGONE" backup app --consistency freeze >"$OUT" 2>"$ERR" </dev/null &
  DAEMON=$!
  PIDS+=("$DAEMON")
  while [ -d "/proc/$DAEMON" ]; do
    compgen -G "$WORK/state/freeze/*.journal" >/dev/null || continue
    kill -STOP "$DAEMON" || break
    if paused app; then return 0; fi
    kill -CONT "$DAEMON"
  done
  wait "$DAEMON" || true
  return 1
}
app=$(runs_since app)
caught=no
for _ in $(seq 20); do
  if catch_backup; then
    caught=yes
    break
  fi
done
check_equal "it is caught" "$caught" yes
kill "$DAEMON"
kill -CONT "$DAEMON"
code=0
wait "$DAEMON" || code=$?
check_equal "it is interrupted" "$code" 130
check_equal "by then the container runs, as before" "$(state app)" "$app"
check_equal "no journal is left" "$(journals)" 0
check "verify" "$BYGONE" verify
