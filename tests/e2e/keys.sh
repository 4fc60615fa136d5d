#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Key rotations that do not go as planned: one is killed half-way and repeated while somebody stores
# under the new keys; one ends while a daemon runs with the old ones.
. "$(dirname "$0")/lib.sh"

new_repository
own=$BYGONE_KEY_FILE
other=$WORK/other-key
head -c 32 /dev/urandom >"$other"
as_other() { env BYGONE_KEY_FILE="$other" "$BYGONE" "$@"; }
mkdir "$WORK/data"
echo one >"$WORK/data/file"
quietly "$BYGONE" backup --path "data=$WORK/data"
quietly "$BYGONE" key add --new-key-file "$other" --label other

step "secrets that are not named"
expect 2 "$BYGONE" key rotate
says '1 of the 2 key slots open with none of the secrets'

# Killed after the slot of the other secret was written: all slots of before, and that one.
step "a rotation that was killed half-way"
cp -a "$BYGONE_REPOSITORY/keys" "$WORK/before"
quietly "$BYGONE" key rotate --keep-key-file "$other"
current=$("$BYGONE" key list --json | python3 -c 'import json, sys
for line in sys.stdin:
    slot = json.loads(line)
    if slot["current"]: print(slot["id"])')
rm "$BYGONE_REPOSITORY/keys/$current"
cp -a "$WORK/before/." "$BYGONE_REPOSITORY/keys/"
echo two >"$WORK/data/file"
quietly as_other backup --path "data=$WORK/data"
slots() { find "$BYGONE_REPOSITORY/keys" -type f | sort; }
before=$(slots)
for drop in "" --drop-others; do
  # shellcheck disable=SC2086 # no word, or one
  expect 1 "$BYGONE" key rotate --keep-key-file "$other" $drop
  says 'newer keys \(epoch 2\) than the secret that was used \(epoch 1\).*hint: try again with the secret of that slot'
done
expect 1 "$BYGONE" key remove "$(comm -13 <(cd "$WORK/before" && find . -type f | sort) \
  <(cd "$BYGONE_REPOSITORY/keys" && find . -type f | sort) | cut -c 3-)"
head -c 32 /dev/urandom >"$WORK/third-key"
expect 1 "$BYGONE" key change --new-key-file "$WORK/third-key"
check_equal "no slot came or went" "$(slots)" "$before"
check_equal "what was stored since reads" "$(as_other cat data@latest:/file)" two

step "the way out that the hint names"
quietly as_other key rotate --keep-key-file "$own"
says 'epoch 3\); 2 slots kept, 0 removed'
for key in "$own" "$other"; do
  quietly env BYGONE_KEY_FILE="$key" "$BYGONE" verify --read-data
  check_equal "reads" "$(env BYGONE_KEY_FILE="$key" "$BYGONE" cat data@latest:/file)" two
done
check_equal "two slots" "$(slots | wc -l)" 2

# Without an engine: of folders alone.
step "a daemon whose keys are rotated"
export DOCKER_HOST=unix://$WORK/no-engine.sock
cat >"$BYGONE_CONFIG" <<END
folders:
  data: {path: $WORK/data, schedule: every 1s}
END
start_daemon() {
  "$BYGONE" daemon >>"$WORK/daemon.log" 2>&1 </dev/null &
  DAEMON=$!
  PIDS+=("$DAEMON")
}
count() { "$BYGONE" snapshots --json data | wc -l; }
has_snapshots() { [ "$(count)" -ge "$1" ]; }
start_daemon
wait_for 20 has_snapshots 4 || { cat "$WORK/daemon.log"; fail "the daemon makes no backups"; }
quietly "$BYGONE" key rotate --keep-key-file "$other"
quietly "$BYGONE" backup --path "more=$WORK/data"
ended=0
wait "$DAEMON" || ended=$?
check_equal "the daemon with the old keys ends as failed" "$ended" 1
grep -q 'the keys of the repository were rotated: this daemon ends' "$WORK/daemon.log" ||
  { cat "$WORK/daemon.log"; fail "it does not say why"; }
before=$(count)
start_daemon
wait_for 20 has_snapshots $((before + 2)) || { cat "$WORK/daemon.log"; fail "started again, it makes no backups"; }
ok "started again, it goes on"
kill "$DAEMON"
wait "$DAEMON" || fail "the daemon ends with $?"
quietly "$BYGONE" verify --read-data
