#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The daemon with a real engine: it takes up containers and changed labels while it runs, backs up
# by schedule, tells its status, and ends when asked, with no more of the kernel than its unit of
# systemd leaves it. Killed while a container is frozen, its next start puts back what ran. An engine
# that restarts is found again.
. "$(dirname "$0")/lib.sh"

LOG=$WORK/daemon.log
start_daemon() {
  "$TOP/tests/e2e/as-service" "$TOP/scripts/bygone.service" "$BYGONE" daemon >>"$LOG" 2>&1 </dev/null &
  DAEMON=$!
  PIDS+=("$DAEMON")
}
logged() { grep -qE -- "$1" "$LOG"; }
awaits() { # SECONDS REGEX in the log
  wait_for "$1" logged "$2" || { cat "$LOG" >&2; fail "the daemon does not say /$2/" 1; }
  ok "says /$2/"
}
count() { "$BYGONE" snapshots "$1" --json 2>/dev/null | wc -l; }
has_snapshots() { [ "$(count "$1")" -ge "$2" ]; } # SOURCE NUMBER
status_has() { "$BYGONE" status 2>/dev/null | grep -qE -- "$1"; }
status_lacks() { ! status_has "$1"; }
frozen() { [ "$(inspect '{{.State.Paused}}' db)" = true ]; }
thawed() { ! frozen; }
run_db() { # NAME SCHEDULE [OPTION...]
  local name=$1 schedule=$2
  shift 2
  docker run -d --name "$name" --label "bygone.schedule=$schedule" -v "$name-data:/data" "$@" tools \
    bash -c 'while :; do date >/data/now; sleep 0.1; done' >/dev/null
}

start_engine
new_repository
export BYGONE_CONFIG=$WORK/config.yaml
: >"$BYGONE_CONFIG"
run_db db 'every 2s'
docker exec db bash -c 'echo mine >/data/private' # read by its owner alone
private=$(docker volume inspect -f '{{.Mountpoint}}' db-data)/private
chown 4711:4711 "$private"
chmod 600 "$private"

step "schedules"
start_daemon
wait_for 20 has_snapshots db 3 || { cat "$LOG"; fail "db is not backed up by its schedule"; }
ok "a source is backed up by its schedule, more than once"
check_equal "files of others are read" "$("$BYGONE" cat db@latest:/data/private)" mine
expect 11 "$BYGONE" daemon
says 'a daemon is running already'
quietly "$BYGONE" status
says '^db +ok +2'
check_equal "one object a source and a summary" 2 "$("$BYGONE" status --json | wc -l)"
"$BYGONE" status --json | check "the daemon runs, says the summary" grep -q '"daemon_running":true.*"overdue":0'

step "containers that come, change and go"
run_db app 'every 2s'
wait_for 15 has_snapshots app 1 || { cat "$LOG"; fail "a new container is not taken up"; }
ok "a new container is taken up"
docker rm -f app >/dev/null
run_db app '@yearly'
awaits 10 'app is gone, or not wanted|app@.* is saved'
wait_for 10 status_has '^app .*@yearly' || fail "a changed label is not taken up"
ok "a changed label is taken up"
docker rm -f app >/dev/null
wait_for 10 status_lacks '^app ' || fail "a container that is gone stays in status"
ok "a container that is gone leaves the status, and keeps its snapshots: $(count app)"
"$BYGONE" status --gone | check "status --gone still knows it" grep -qE '^app +gone .* ago +20'

step "two containers that want one name"
run_db second 'every 2s' --label bygone.name=db
awaits 15 "second: not backed up: container second: the name 'db' belongs to container db already"
wait_for 10 status_has '^second +failed +never' || fail "who is not backed up is not in the status"
ok "who is not backed up is named by the status"
check "the other one keeps its schedule" status_has '^db +ok .*every 2s'
docker rm -f second >/dev/null

step "a configuration that changes"
kill -HUP "$DAEMON"
awaits 5 'the configuration is read again'
echo "metrics: unix:$WORK/none/metrics.sock" >"$BYGONE_CONFIG"
kill -HUP "$DAEMON"
awaits 5 "$WORK/none/metrics.sock: .*No such file"
mkdir "$WORK/none"
kill -HUP "$DAEMON"
awaits 5 "metrics are served at unix:$WORK/none/"
cat >"$BYGONE_CONFIG" <<END
metrics: unix:$WORK/metrics.sock
notify:
  - command: [bash, -c, 'echo "\$BYGONE_EVENT \$BYGONE_SOURCE" >>$WORK/told']
    on: [success]
END
kill -HUP "$DAEMON"
awaits 5 "metrics are served at unix:$WORK/metrics"
wait_for 10 grep -q '^success db$' "$WORK/told" || { cat "$LOG"; fail "nobody is told of a success"; }
ok "a command of this host is told of a success"
check "metrics at the socket" curl -sS --unix-socket "$WORK/metrics.sock" http://x/metrics
says 'bygone_source_overdue\{source="db",host=".*"\} 0'
echo 'metrics: [' >"$BYGONE_CONFIG"
kill -HUP "$DAEMON"
awaits 5 'the configuration is not read again, the old one stays: .*line'
before=$(count db)
wait_for 10 has_snapshots db $((before + 2)) || fail "no backups after a wrong configuration"
ok "a wrong configuration changes nothing"

step "forgetting and pruning"
# A job that is not there when it is forgotten: its runs are one source, and its label counts.
: >"$BYGONE_CONFIG"
for run in 1 2 3 4; do
  docker run --network none --name "job-$run" --label bygone.name=job --label bygone.schedule=none \
    --label bygone.keep-last=2 -v "job-$run:/data" tools bash -c "echo $run >/data/run" >/dev/null
  quietly "$BYGONE" backup job
  docker rm -f "job-$run" >/dev/null
  next_second # or keep-within below keeps more than the two
done
check_equal "a job has run" "$(count job)" 4
cat >"$BYGONE_CONFIG" <<END
prune: every 3s
gone: thin
defaults:
  keep-within: 1s
END
kill -HUP "$DAEMON"
awaits 15 'forgot [0-9]+ snapshots: moved to the trash'
in_trash() { "$BYGONE" snapshots db --trash --json | grep -q '"source":"db"'; }
wait_for 15 in_trash || { cat "$LOG"; fail "nothing of db is in the trash"; }
awaits 15 'pruned: [0-9]+ bytes freed'
thinned() { [ "$(count job)" = 2 ]; }
wait_for 15 thinned || fail "of a job that is gone $(count job) snapshots are left"
check_equal "what is gone keeps what its labels say, the newest first" \
  "$("$BYGONE" cat job@latest:/data/run)" 4
[ "$(count app)" -ge 1 ] || fail "the newest snapshot of a container that is gone is forgotten"
: >"$BYGONE_CONFIG"
kill -HUP "$DAEMON"
ok "what the rules do not keep is in the trash"
check "the repository is whole" "$BYGONE" verify

step "beside the command line"
quietly "$BYGONE" backup db --tag ci-1234 --wait
check_equal "a backup by hand succeeds beside the daemon" 1 \
  "$("$BYGONE" snapshots db --tag ci-1234 --json | wc -l)"

step "SIGTERM"
begun=$SECONDS
kill "$DAEMON"
wait "$DAEMON" || fail "the daemon ends with $?"
[ $((SECONDS - begun)) -le 10 ] || fail "it took over ten seconds"
ok "ends with 0 within ten seconds"
check_equal "nothing is left frozen" running "$(inspect '{{.State.Status}}' db)"
quietly "$BYGONE" status
says 'the daemon is not running'

step "overdue"
sed -E 's/"good_instant":[0-9]+/"good_instant":1700000000000000000/' -i "$WORK/state/daemon/ledger.json"
expect 24 "$BYGONE" status
says '^db +OVERDUE'
says 'sources? overdue'

step "kill -9 while a container is frozen"
# Its journal stands from before the pause until after the resume: stop the daemon there, and look.
start_daemon
caught=
end=$((SECONDS + 30))
while [ -z "$caught" ] && [ "$SECONDS" -lt "$end" ]; do
  compgen -G "$WORK/state/freeze/*" >/dev/null || continue
  kill -STOP "$DAEMON"
  if frozen; then caught=1; else kill -CONT "$DAEMON"; fi
done
[ -n "$caught" ] || fail "the daemon could not be caught in a freeze"
kill -9 "$DAEMON"
wait "$DAEMON" 2>/dev/null || true
frozen || fail "db is not frozen any more"
ok "the daemon is killed while db is frozen"
start_daemon
wait_for 5 thawed || fail "db stays frozen"
awaits 5 'db was left frozen by a backup that died: it is resumed'

step "an engine that restarts"
stop_process "$WORK/e/dockerd.pid" "$WORK/e"
awaits 10 'Docker cannot be reached'
# A daemon that starts meanwhile waits for it, too, and does what it can.
mkdir "$WORK/folder"
printf 'folders:\n  plain:\n    path: %s\n' "$WORK/folder" >"$BYGONE_CONFIG"
kill "$DAEMON"
wait "$DAEMON" || fail "the daemon ends with $? without an engine"
start_daemon
wait_for 15 has_snapshots plain 1 || { cat "$LOG"; fail "a folder waits for the engine"; }
ok "a folder is backed up while the engine is away"
launch_dockerd "$WORK/e" overlay2 || launch_dockerd "$WORK/e" vfs || fail "the engine does not start again"
docker start db >/dev/null
before=$(count db)
wait_for 20 has_snapshots db $((before + 2)) || { cat "$LOG"; fail "no backups after the engine's restart"; }
ok "backups go on after the engine's restart"
kill "$DAEMON"
wait "$DAEMON" || fail "the daemon ends with $?"

step "another repository in the place of the old one"
docker run -d --name yearly --network none -v yearly:/data --label bygone.schedule=@yearly tools \
  sleep infinity >/dev/null
start_daemon
wait_for 20 has_snapshots yearly 1 || { cat "$LOG"; fail "a new container is not backed up"; }
kill "$DAEMON"
wait "$DAEMON" || fail "the daemon ends with $?"
mv "$BYGONE_REPOSITORY" "$WORK/old"
quietly "$BYGONE" init
start_daemon
awaits 10 'yearly: the repository has no snapshot of it any more'
wait_for 20 has_snapshots yearly 1 || { cat "$LOG"; fail "what the old one has is not backed up"; }
ok "what the old one has is backed up at once, whatever its schedule"
docker rm -f yearly >/dev/null
kill "$DAEMON"
wait "$DAEMON" || fail "the daemon ends with $?"
rm -rf "$BYGONE_REPOSITORY"
mv "$WORK/old" "$BYGONE_REPOSITORY"

step "a prune that fails is told"
rm "$WORK/told"
cat >"$BYGONE_CONFIG" <<END
folders:
  plain: {path: $WORK/folder, schedule: none}
prune: every 1s
notify:
  - command: [bash, -c, 'echo "\$BYGONE_EVENT <\$BYGONE_SOURCE> \$BYGONE_MESSAGE" >>$WORK/told']
    on: failure
END
mv "$BYGONE_REPOSITORY/packs" "$WORK/packs-away"
mkdir "$BYGONE_REPOSITORY/packs"
start_daemon
wait_for 20 grep -q '^failure <> forgetting and pruning: ' "$WORK/told" || { cat "$LOG"; fail "nobody is told"; }
ok "$(head -n 1 "$WORK/told")"
kill "$DAEMON"
wait "$DAEMON" || fail "the daemon ends with $?"

step "a snapshot that lacks files is told"
mkdir -p "$WORK/nobody"
echo here >"$WORK/nobody/readable"
echo secret >"$WORK/nobody/forbidden"
cp "$BYGONE_KEY_FILE" "$WORK/nobody-key"
chmod 600 "$WORK/nobody/forbidden" "$WORK/nobody-key"
mkdir "$WORK/nobody-state" "$WORK/nobody-repository"
chown nobody: "$WORK/nobody-key" "$WORK/nobody-state" "$WORK/nobody-repository"
cat >"$BYGONE_CONFIG" <<END
folders:
  plain: {path: $WORK/nobody, schedule: "@yearly"}
notify:
  - command: [bash, -c, 'echo "\$BYGONE_EVENT <\$BYGONE_SOURCE> \$BYGONE_MESSAGE <\$BYGONE_SNAPSHOT>" >>$WORK/nobody-state/told']
    on: failure
END
as_nobody=(env BYGONE_REPOSITORY="$WORK/nobody-repository/r" BYGONE_KEY_FILE="$WORK/nobody-key"
  BYGONE_STATE_DIR="$WORK/nobody-state" setpriv --reuid nobody --regid nogroup --clear-groups "$BYGONE")
quietly "${as_nobody[@]}" init
"${as_nobody[@]}" daemon >"$LOG" 2>&1 </dev/null &
DAEMON=$!
PIDS+=("$DAEMON")
wait_for 20 grep -qE '^partial <plain> saved as plain@.*, but a file could not be read: forbidden: .* <[0-9a-f]{32}>$' \
  "$WORK/nobody-state/told" || { cat "$LOG" "$WORK/nobody-state/told"; fail "nobody is told"; }
ok "$(head -n 1 "$WORK/nobody-state/told")"
expect 0 "${as_nobody[@]}" status
says '^plain +partial +20'
kill "$DAEMON"
wait "$DAEMON" || fail "the daemon ends with $?"
