#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Killed between the commands before and after a capture, bygone leaves nobody in maintenance: the
# second one is run by `bygone thaw`, by the next backup and by the daemon's next start, once, in the
# run of the container that the first one ran in. One that fails is told; one that hangs holds up
# nobody.
. "$(dirname "$0")/lib.sh"

LOG=$WORK/daemon.log
run() { # NAME [DOCKER OPTION...]
  docker run -d --name "$1" --network none -v "$1:/data" "${@:2}" tools \
    bash -c 'while :; do date >/data/now; sleep 0.1; done' >/dev/null
}
path_of() { docker volume inspect -f '{{.Mountpoint}}' "$1"; } # VOLUME
is_owed() { compgen -G "$WORK/state/hooks/*.journal" >/dev/null; }
is_not_owed() { ! is_owed; }
in_maintenance() { [ -e "$(path_of "$1")/maintenance" ]; }
not_in_maintenance() { ! in_maintenance "$1"; }
saved() { "$BYGONE" snapshots "$1" --json 2>/dev/null | wc -l; } # SOURCE
has_more_than() { [ "$(saved "$1")" -gt "$2" ]; }             # SOURCE NUMBER
awaits() { # SECONDS REGEX in the log
  wait_for "$1" grep -qE -- "$2" "$LOG" || { cat "$LOG" >&2; fail "the daemon does not say /$2/" 1; }
  ok "says /$2/"
}
start_daemon() {
  : >"$LOG"
  "$BYGONE" daemon >>"$LOG" 2>&1 </dev/null &
  DAEMON=$!
  PIDS+=("$DAEMON")
}
end_daemon() {
  kill "$DAEMON"
  wait "$DAEMON" || fail "the daemon ends with $?" 1
}
# Starts a command, and kills it once a container is in maintenance and the way out is not taken yet.
kill_in_between() { # NAME COMMAND...
  local mark end=$((SECONDS + 30)) pid
  mark=$(path_of "$1")/maintenance
  "${@:2}" >"$OUT" 2>"$ERR" </dev/null &
  pid=$!
  PIDS+=("$pid")
  until [ -e "$mark" ]; do
    [ "$SECONDS" -lt "$end" ] || { show_output; fail "$1 is not put into maintenance" 1; }
  done
  kill -9 "$pid"
  wait "$pid" 2>/dev/null || true
  sleep 0.3 # what the engine was asked for before takes hold
  [ -e "$mark" ] || return 1
  is_owed || fail "there is no journal of the second one" 1
}
caught() { # NAME COMMAND...
  for _ in 1 2 3 4 5; do
    if kill_in_between "$@"; then return 0; fi
  done
  fail "could not be killed between the two" 1
}

start_engine
new_repository
run app --label 'bygone.pre=touch /data/maintenance' --label 'bygone.post=rm /data/maintenance' \
  --label 'bygone.schedule=every 1s'
run other --label 'bygone.schedule=every 1s'
check "a backup of both" "$BYGONE" backup --all
check "who is not killed leaves nobody in maintenance" not_in_maintenance app
check "and no journal" is_not_owed

step "bygone thaw"
caught app "$BYGONE" backup app
check "bygone thaw" "$BYGONE" thaw
says 'app: the post hook rm, which a backup that died did not come to, has run'
check "the container is out of maintenance" not_in_maintenance app
check_equal "it runs" "$(inspect '{{.State.Status}}' app)" running
check "once" "$BYGONE" thaw
says 'nothing was left'

step "the next backup"
caught app "$BYGONE" backup app
check "of somebody else" "$BYGONE" backup other
says 'app: the post hook rm.* has run'
check "the container is out of maintenance" not_in_maintenance app

step "the daemon's next start"
caught app "$BYGONE" daemon
# Without its repository it cannot begin.
expect 10 env BYGONE_REPOSITORY="$WORK/nowhere" "$BYGONE" daemon
check "one that cannot begin sees to it all the same" not_in_maintenance app
caught app "$BYGONE" daemon
start_daemon
awaits 10 'app: the post hook rm.* has run'
before=$(saved app)
wait_for 20 has_more_than app "$before" || { cat "$LOG"; fail "the daemon does not go on"; }
end_daemon
check "the container is out of maintenance" not_in_maintenance app
check "nothing is left behind" is_not_owed

step "a container that was started anew"
caught app "$BYGONE" backup app
docker restart -t 1 app >/dev/null
check "bygone thaw" "$BYGONE" thaw
says 'app: the post hook rm.* is not run: its container was started anew since'
check "it is not run in another run" in_maintenance app
rm "$(path_of app)/maintenance"

step "one that fails"
cat >"$BYGONE_CONFIG" <<END
notify:
  - command: [bash, -c, 'echo "\$BYGONE_EVENT \$BYGONE_SOURCE: \$BYGONE_MESSAGE" >>$WORK/told']
    on: failure
END
caught app "$BYGONE" backup app
rm "$(path_of app)/maintenance"
start_daemon
wait_for 15 grep -q '^failure app: the post hook rm, .* has failed twice' "$WORK/told" ||
  { cat "$LOG"; fail "nobody is told"; }
ok "$(head -n 1 "$WORK/told")"
check "it is an error in the log" grep -q 'error.*docker exec .* rm /data/maintenance' "$LOG"
end_daemon
check "it is not tried for ever" is_not_owed

step "one that hangs"
run slow --label 'bygone.pre=touch /data/maintenance' --label 'bygone.post=sleep 1000' \
  --label bygone.post.timeout=10m
caught slow "$BYGONE" backup slow
start_daemon
in_hook() { [[ $(docker top slow -eo pid,args) = *'sleep 1000'* ]]; }
wait_for 10 in_hook || { cat "$LOG"; fail "it is not run"; }
before=$(saved other)
wait_for 20 has_more_than other "$before" || { cat "$LOG"; fail "it holds up the backups of others"; }
ok "others are backed up meanwhile"
check "it runs still" in_hook
begun=$SECONDS
end_daemon
[ $((SECONDS - begun)) -le 10 ] || fail "it took over ten seconds"
ok "and SIGTERM ends the daemon within ten seconds"
check "it is owed still" is_owed
docker rm -f slow >/dev/null
check "until its container is gone" "$BYGONE" thaw
check "nothing is left behind" is_not_owed
check "verify" "$BYGONE" verify
