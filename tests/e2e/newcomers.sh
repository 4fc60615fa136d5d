#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Containers that come to run on a volume while it is backed up: one that is made anew, one that is
# started, one that is gone again, one that runs only while the others stand still. Each writes `a`
# before `z`: no snapshot has a `z` that is ahead of `a`, and each says rightly what it is.
. "$(dirname "$0")/lib.sh"

start_engine
new_repository
# Writes NAME-a and then NAME-z, again and again.
run_app() { # NAME
  # shellcheck disable=SC2016
  docker run -d --name "$1" --network none -v data:/data -e "me=/data/$1" tools bash -c '
    write() { echo "$n" >"$me.new"; mv "$me.new" "$me-$1"; }
    for ((n = $(date +%s); ; n++)); do write a; write z; done' >/dev/null
}
# Begins a backup whose hot pass takes some seconds, and returns when it reads.
begin_backup() { # [OPTION...]
  "$BYGONE" backup app --rescan --limit-read 40M "$@" >"$OUT" 2>"$ERR" </dev/null &
  BACKUP=$!
  PIDS+=("$BACKUP")
  sleep 1
  kill -0 "$BACKUP" 2>/dev/null || { show_output; fail "the backup is over too soon for this test" 1; }
}
end_backup() { # CLASS [NAME]
  local a z name=${2:-app}
  wait "$BACKUP" || { show_output; fail "the backup fails" 1; }
  check_equal "its class" "$(newest app consistency)" "$1"
  a=$("$BYGONE" cat "app@latest:/data/$name-a")
  z=$("$BYGONE" cat "app@latest:/data/$name-z")
  [ "$z" -le "$a" ] || fail "z is $z, a only $a" 1
  ok "z is not ahead of a"
}

run_app app
head -c 160M /dev/urandom >"$(docker volume inspect -f '{{.Mountpoint}}' data)/much"

step "made anew during the hot pass"
begin_backup
docker rm -f app >/dev/null
run_app app
end_backup freeze
check_equal "it runs" "$(inspect '{{.State.Status}}' app)" running

step "another one begins to write"
begin_backup
run_app other
end_backup freeze other
docker rm -f other >/dev/null

step "started, and was not running"
docker kill app >/dev/null
begin_backup
docker start app >/dev/null
end_backup freeze
check_equal "it runs" "$(inspect '{{.State.Status}}' app)" running

step "ran for a moment while nothing else did"
docker kill app >/dev/null
begin_backup
docker run --rm --network none -v data:/data tools bash -c 'echo last >/data/word'
end_backup idle
check_equal "what it wrote is there" "$("$BYGONE" cat app@latest:/data/word)" last

step "ran for a moment while another one stood still"
docker run -d --name quick --stop-signal KILL --network none -v data:/data tools sleep infinity >/dev/null
docker run -d --name slow --stop-timeout 5 --network none -v data:/data tools bash -c '
  trap "" TERM; while :; do sleep 1; done' >/dev/null
begin_backup --consistency stop
is_stopped() { [ "$(inspect '{{.State.Status}}' quick)" = exited ]; }
wait_for 20 is_stopped || fail "quick is not stopped" 1
docker run --rm --name brief --network none -v data:/data tools bash -c 'echo later >/data/word'
check_equal "slow runs still" "$(inspect '{{.State.Status}}' slow)" running
code=0
wait "$BACKUP" || code=$?
check_equal "who insists is told" "$code" 1
says 'container brief ran meanwhile and is gone: it may have written to its volumes'
check_equal "quick runs again" "$(inspect '{{.State.Status}}' quick)" running
check_equal "slow runs again" "$(inspect '{{.State.Status}}' slow)" running
docker rm -f quick slow >/dev/null

step "nothing runs"
check "backup" "$BYGONE" backup app
check_equal "its class" "$(newest app consistency)" idle
