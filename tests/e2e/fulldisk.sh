#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The disk of the repository is full: a backup fails with a clear error and leaves nothing half, the
# mount goes on, and forget and prune make room although there is none.
. "$(dirname "$0")/lib.sh"

truncate -s 120M "$WORK/disk"
mkfs.ext4 -q -m 0 "$WORK/disk"
mkdir "$WORK/small"
mount -o loop "$WORK/disk" "$WORK/small"

new_repository small/repository

step "what fits is saved"
mkdir "$WORK/source"
for i in 1 2 3; do
  head -c 20M /dev/urandom >"$WORK/source/file$i"
  cp "$WORK/source/file$i" "$WORK/kept$i"
  expect 0 "$BYGONE" backup --path data="$WORK/source"
  rm "$WORK/source/file$i"
done
mount_repository
first=$MNT/data/$(instants data | head -n 1)
cmp "$first/file1" "$WORK/kept1"

step "what does not fit is refused, and says why"
head -c 60M /dev/urandom >"$WORK/source/large"
expect 1 "$BYGONE" backup --path data="$WORK/source"
grep -qi "no space left" "$ERR" || { show_output && fail "the error does not say that the disk is full"; }
[ "$("$BYGONE" snapshots --json | grep -c '"message_type":"snapshot"')" = 3 ] || fail "not three snapshots"
rm "$WORK/source/large"

step "with no byte left, what is there can be listed, read and verified"
cat /dev/zero >"$WORK/small/filler" 2>/dev/null || true
sync "$WORK/small"
expect 0 "$BYGONE" snapshots
expect 0 "$BYGONE" verify
cmp "$first/file1" "$WORK/kept1"

step "forget and prune make room"
free_before=$(df --output=avail -k "$WORK/small" | tail -n 1)
expect 0 "$BYGONE" forget data --keep-last 1 --no-trash
expect 0 "$BYGONE" prune
says 'spared .* --empty-trash --now at once'
expect 0 "$BYGONE" prune --empty-trash --now
# The mount lets go of removed packs that it has open when it next looks, within ten seconds.
became_free() {
  [ $(($(df --output=avail -k "$WORK/small" | tail -n 1) - free_before)) -gt 30000 ]
}
wait_for 20 became_free || { show_output && fail "less than 30 MB became free"; }
expect 0 "$BYGONE" verify --read-data
last=$MNT/data/$(instants data | tail -n 1)
cmp "$last/file3" "$WORK/kept3"

step "and the next backup finds it"
head -c 10M /dev/urandom >"$WORK/source/file4"
expect 0 "$BYGONE" backup --path data="$WORK/source"
appears data
cmp "$MNT/data/latest/file4" "$WORK/source/file4"
expect 0 "$BYGONE" umount "$MNT"
