#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Forgetting: rules and names, the trash, pins and tags, beside a mount that reads; a full disk;
# an older state of the repository put back; locks that say who holds them.
. "$(dirname "$0")/lib.sh"

new_repository
mkdir "$WORK/data"
backup() {
  next_second
  echo "$1" >"$WORK/data/file"
  quietly "$BYGONE" backup --path "data=$WORK/data"
}
count() { "$BYGONE" snapshots --json "$@" | wc -l; }

head -c 3000000 /dev/urandom >"$WORK/data/big"
sum=$(sha256sum <"$WORK/data/big")
for n in 1 2 3 4 5; do backup "$n"; done
mapfile -t names < <("$BYGONE" snapshots --json | python3 -c 'import json, sys
for line in sys.stdin: print(json.loads(line)["instant"])')

step "no rule, wrong rules"
expect 2 "$BYGONE" forget
says 'which rule'
expect 2 "$BYGONE" forget data
expect 2 "$BYGONE" forget --keep-within soon
expect 2 "$BYGONE" forget data@latest --keep-last 1
expect 1 "$BYGONE" forget nothing --keep-last 1
expect 1 "$BYGONE" forget data@yesterday
expect 1 "$BYGONE" forget "data@$(date +%Y-%m-%d)"
says 'nearest'
check_equal "all are there" "$(count)" 5

step "rules, beside a mount that reads"
mount_repository
exec 7<"$MNT/data/${names[3]}/big"
head -c 1000 <&7 >/dev/null
quietly "$BYGONE" pin "data@${names[0]}"
quietly "$BYGONE" tag add release "data@${names[1]}"
check_equal "--tag" "$(count --tag release)" 1
quietly "$BYGONE" forget --keep-last 1 --keep-tag release --dry-run
says "${names[2]} .* forget"
says "${names[0]} .* keep +pinned"
check_equal "a dry run changes nothing" "$(count)" 5
quietly "$BYGONE" forget --keep-last 1 --keep-tag release
check_equal "kept" "$(count)" 3
check_equal "in the trash" "$(count --trash)" 2
vanished() { [ "$(instants data | wc -l)" = 3 ]; }
wait_for 20 vanished || fail "the mount still shows what was forgotten"
check_equal "the mount lists the others" "$(instants data | tr "\n" " ")" "${names[0]} ${names[1]} ${names[4]} "
check_equal "an open file reads on" "$({ head -c 1000 "$WORK/data/big"; cat <&7; } | sha256sum)" "$sum"
exec 7<&-

step "latest moves"
quietly "$BYGONE" forget data@latest
wait_for 20 is_latest "$MNT/data" "${names[1]}" || fail "latest does not move back"
quietly "$BYGONE" restore-snapshot "data@${names[4]}"
wait_for 20 is_latest "$MNT/data" "${names[4]}" || fail "latest does not come back"
check_equal "and reads" "$(cat "$MNT/data/latest/file")" 5
expect 1 "$BYGONE" restore-snapshot "data@${names[4]}"
quietly "$BYGONE" umount "$MNT"

step "pins"
expect 1 "$BYGONE" forget "data@${names[0]}"
says 'pinned'
expect 1 "$BYGONE" forget --no-trash "data@${names[0]}"
check_equal "the pinned one is there" "$("$BYGONE" cat "data@${names[0]}:/file")" 1
quietly "$BYGONE" unpin "data@${names[0]}"
quietly "$BYGONE" forget --no-trash "data@${names[0]}"
quietly "$BYGONE" verify --read-data
ok "verify takes what was forgotten and what is gone for what it is"

step "locks"
flock "$BYGONE_REPOSITORY/locks/forget" sleep 2 &
PIDS+=($!)
held() { ! flock -n "$1" true; }
wait_for 10 held "$BYGONE_REPOSITORY/locks/forget" || fail "nobody holds the lock"
expect 11 "$BYGONE" forget --keep-last 1
says 'another forget is running: process [0-9]+ on '
quietly "$BYGONE" forget --keep-last 1 --retry-lock 1m
ok "--retry-lock waits"
lock=$(find "$BYGONE_REPOSITORY/locks/source" -type f | head -n 1)
flock "$lock" sleep 2 &
PIDS+=($!)
wait_for 10 held "$lock" || fail "nobody holds the lock"
expect 11 "$BYGONE" backup --path "data=$WORK/data"
says 'another backup of data is running: process [0-9]+ on '
quietly "$BYGONE" backup --path "data=$WORK/data" --retry-lock 1m
ok "--retry-lock of backup waits"

step "a snapshot that lost most of what was there"
rm "$WORK/data/big"
head -c 120000000 /dev/zero | tr '\0' x >"$WORK/data/large"
backup 6
rm "$WORK/data/large"
backup 7
quietly "$BYGONE" forget --keep-last 1
says 'nothing is forgotten'
before=$(count)
quietly "$BYGONE" forget --keep-last 1 --accept-shrink
[ "$(count)" -lt "$before" ] || fail "--accept-shrink thins nothing"

step "an older state of the repository"
cp -a "$BYGONE_REPOSITORY" "$WORK/old"
backup 8
rm -rf "$BYGONE_REPOSITORY"
mv "$WORK/old" "$BYGONE_REPOSITORY"
expect 20 "$BYGONE" verify
says 'ROLLBACK'
expect 20 "$BYGONE" forget --keep-last 1
expect 20 "$BYGONE" prune
says 'ROLLBACK'
before=$(count)
packs() { find "$BYGONE_REPOSITORY/packs" -type f | sort; }
stored=$(packs)
expect 20 "$BYGONE" forget --no-trash --prune data@latest
says 'ROLLBACK'
says 'nothing is pruned'
check_equal "what is named goes in spite of the alarm" "$(count)" $((before - 1))
check_equal "and nothing is pruned" "$(packs)" "$stored"
quietly "$BYGONE" backup --path "data=$WORK/data"
says 'ROLLBACK'
quietly "$BYGONE" forget --accept-rollback
quietly "$BYGONE" verify
never_says ROLLBACK
quietly "$BYGONE" forget --keep-last 1 --prune
quietly "$BYGONE" prune --empty-trash --now
check_equal "prune empties the trash" "$(count --trash)" 0
quietly "$BYGONE" verify
ok "verify takes what prune removed for gone"

step "a full disk"
mkdir "$WORK/small"
mount -t tmpfs -o size=40m,nr_inodes=4000 tmpfs "$WORK/small"
new_repository small/repository
for n in 1 2 3; do backup "$n"; done
dd if=/dev/zero of="$WORK/small/filler" bs=64k status=none 2>/dev/null || true
dd if=/dev/zero of="$WORK/small/filler2" bs=512 status=none 2>/dev/null || true
expect 1 "$BYGONE" backup --path "more=$HERE"
quietly "$BYGONE" forget --keep-last 2
check_equal "forgotten on a full disk" "$(count --trash)" 1
[ ! -e "$BYGONE_REPOSITORY/reserve" ] || fail "the reserve was not needed: the test proves nothing"
dd if=/dev/zero of="$WORK/small/filler3" bs=512 status=none 2>/dev/null || true
quietly "$BYGONE" forget --keep-last 1 --no-trash
check_equal "removed with no reserve left" "$(count)" 1
rm "$WORK"/small/filler*
quietly "$BYGONE" verify
backup 4
check_equal "the reserve is back" "$(stat -c %s "$BYGONE_REPOSITORY/reserve")" 8388608
