#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Commands that labels name run in the container around its capture: what the first one makes is in
# the snapshot, what the second one takes away is gone after it. One that fails or hangs fails the
# backup, unless its label says otherwise, and the second one runs all the same.
. "$(dirname "$0")/lib.sh"

start_engine
new_repository
run() { # NAME [DOCKER OPTION...]
  local name=$1
  shift
  docker run -d --name "$name" --network none -v "$name:/data" "$@" tools \
    bash -c 'while :; do date >/data/now; sleep 0.1; done' >/dev/null
}
data() { docker exec "$1" ls /data | tr '\n' ' '; } # CONTAINER
count() { "$BYGONE" snapshots --json | grep -c "\"$1\"" || true; }

step "before and after"
run good --label "bygone.pre=bash -c 'echo \$UID >/data/mark'" --label bygone.pre.user=0 \
  --label 'bygone.post=rm /data/mark'
check "backup" "$BYGONE" backup good
mount_repository
check_equal "what the first one made is in the snapshot" "$(cat "$MNT/good/latest/good/mark")" 0
check_equal "the second one took it away" "$(data good)" "now "
check_equal "it stood still all the same" "$(newest good consistency)" freeze

step "one that fails"
run bad --label 'bygone.pre=bash -c "echo not today >&2; exit 3"' --label 'bygone.post=touch /data/after'
expect 22 "$BYGONE" backup bad
says 'not today'
check_equal "there is no snapshot" "$(count bad)" 0
check_equal "the second one ran" "$(data bad)" "after now "
check_equal "the container runs" "$(inspect '{{.State.Status}}' bad)" running

step "one that fails, which does not matter"
run lax --label 'bygone.pre=no-such-program' --label bygone.pre.on-error=continue
check "backup" "$BYGONE" backup lax
says 'no-such-program'
check_equal "there is a snapshot" "$(newest lax consistency)" freeze

step "one that hangs"
run slow --label 'bygone.pre=sleep 1000' --label bygone.pre.timeout=1s
expect 22 timeout 30 "$BYGONE" backup slow
says 'not done within'
no_sleep() {
  local processes
  processes=$(docker top slow -eo pid,args) && [[ $processes = *'date >/data/now'* && $processes != *'sleep 1000'* ]]
}
wait_for 10 no_sleep || fail "the command still runs in the container"
ok "it was ended"

step "where nothing runs"
docker stop -t 0 good >/dev/null
check "backup of a stopped container" "$BYGONE" backup good
says 'not run'

step "what a hook writes finds no room beside the repository"
mkdir "$WORK/small"
mount -t tmpfs -o size=280M none "$WORK/small"
new_repository small/repository
big='dd if=/dev/urandom of=/data/big bs=1M count=180 conv=notrunc'
run big --label "bygone.pre=$big"
# shellcheck disable=SC2086
docker exec big $big 2>/dev/null
expect 1 "$BYGONE" backup big
says 'spilling what is read for a freeze.*No space left.*hint: make room there'
check_equal "there is no snapshot" "$(count big)" 0
check_equal "the container runs" "$(inspect '{{.State.Status}}' big)" running
