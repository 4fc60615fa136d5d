#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# SIGKILL at random moments of backup, forget and prune, again and again, while a mount reads:
# nothing that was committed changes, nothing has to be cleared up by hand, and verify is content.
# BYGONE_E2E_KILLS says how many (8); BYGONE_E2E_SEED repeats a run.
. "$(dirname "$0")/lib.sh"

kills=${BYGONE_E2E_KILLS:-8}
seed=${BYGONE_E2E_SEED:-$RANDOM}
echo "BYGONE_E2E_SEED=$seed starts this run"
RANDOM=$seed

new_repository

# Some megabytes in many files, and one that changes in the middle.
mkdir -p "$WORK/source/many"
for i in $(seq 300); do
  first=$((RANDOM * i))
  seq "$first" "$((first + 400))" >"$WORK/source/many/$i"
done
head -c 20M /dev/urandom >"$WORK/source/large"

change() {
  local i first
  for i in 1 2 3 4 5 6 7 8 9 10; do
    first=$RANDOM
    seq "$first" "$((first + 500))" >"$WORK/source/many/$((RANDOM % 320))"
  done
  head -c 100000 /dev/urandom |
    dd of="$WORK/source/large" bs=1 seek=$((RANDOM * 500)) conv=notrunc status=none oflag=seek_bytes
}

# One line for a tree: what its files hold.
fingerprint() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum); }

declare -A expected=() # by snapshot id
ids() { "$BYGONE" snapshots --json | python3 -c '
import json, sys
for line in sys.stdin:
    record = json.loads(line)
    if record.get("message_type") == "snapshot": print(record["id"])'; }

# Whatever was committed since holds what the source held.
take_stock() {
  local id now
  now=$(fingerprint "$WORK/source")
  ids >"$WORK/ids"
  while IFS= read -r id; do
    [ -n "${expected[$id]:-}" ] || expected[$id]=$now
  done <"$WORK/ids"
  for id in "${!expected[@]}"; do
    grep -qx "$id" "$WORK/ids" || unset "expected[$id]" # forgotten
  done
}

quietly "$BYGONE" backup --path data="$WORK/source"
take_stock
mount_repository

# Reads all the time; what it sees of a snapshot that is there has to be right.
(while sleep 0.1; do cat "$MNT"/data/latest/large "$MNT"/data/latest/many/* >/dev/null 2>&1; done) &
PIDS+=($!)

killed=0 finished=0 survived=0
while [ "$killed" -lt "$kills" ]; do
  change
  case $((RANDOM % 4)) in
    0 | 1) command=(backup --path "data=$WORK/source") ;;
    2) command=(prune --max-dead 1) ;;
    3) command=(forget data --keep-last 3) ;;
  esac
  "$BYGONE" -q "${command[@]}" >"$OUT" 2>"$ERR" &
  pid=$!
  sleep "0.$(printf '%03d' $((RANDOM % 150)))" # about as long as it takes
  if kill -9 "$pid" 2>/dev/null; then killed=$((killed + 1)); else finished=$((finished + 1)); fi
  wait "$pid" 2>/dev/null || true
  take_stock
  [ "${#expected[@]}" -gt 0 ] || fail "no snapshot is left after ${command[*]}"
  expect 0 "$BYGONE" verify
  for id in "${!expected[@]}"; do
    [ $((RANDOM % 3)) = 0 ] || continue
    [ "$(fingerprint "$MNT/@snapshots/$id")" = "${expected[$id]}" ] ||
      fail "snapshot $id changed after ${command[*]} was killed"
    survived=$((survived + 1))
  done
done

step "after the last one everything works as ever, and every byte proves itself"
expect 0 "$BYGONE" backup --path data="$WORK/source"
take_stock
expect 0 "$BYGONE" forget data --keep-last 2
expect 0 "$BYGONE" prune
expect 0 "$BYGONE" verify --read-data
take_stock
for id in "${!expected[@]}"; do
  [ "$(fingerprint "$MNT/@snapshots/$id")" = "${expected[$id]}" ] || fail "snapshot $id changed"
done
ok "$killed killed, $finished finished before the kill; $survived looks at snapshots found them whole"
echo "torture: kills $killed"
