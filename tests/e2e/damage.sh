#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A disk that loses bits: verify names what it costs, the mount gives an error for that range and
# all else, the next backup stores it again, repair clears up, and nothing is lost.
. "$(dirname "$0")/lib.sh"

mkdir -p "$WORK/source/folder"
head -c 6000000 /dev/urandom >"$WORK/source/folder/big"
head -c 200000 /dev/urandom >"$WORK/source/other"
seq 1 2000 >"$WORK/source/list"
new_repository
quietly "$BYGONE" backup --path "tree=$WORK/source"

largest_pack() { find "$BYGONE_REPOSITORY/packs" -type f -printf '%s %p\n' | sort -n | tail -1 | cut -d' ' -f2; }
flip() { # FILE OFFSET
  python3 - "$1" "$2" <<'PYTHON'
import sys
with open(sys.argv[1], 'r+b') as file:
    file.seek(int(sys.argv[2]))
    byte = file.read(1)[0]
    file.seek(int(sys.argv[2]))
    file.write(bytes([byte ^ 16]))
PYTHON
}

step "a bit in a pack"
pack=$(largest_pack)
flip "$pack" 3000000
expect 0 "$BYGONE" verify
expect 20 "$BYGONE" verify --read-data
says "folder/big"
says "$(basename "$pack")"
says "chunk [0-9a-f]{64}"

step "the mount gives an error for that range only"
mount_repository
if cat "$MNT/tree/latest/folder/big" >/dev/null 2>"$ERR"; then fail "a damaged file reads" 1; fi
says "Input/output error"
check "the beginning of the file" cmp -n 1000000 "$WORK/source/folder/big" "$MNT/tree/latest/folder/big"
check "the end of the file" cmp -i 5000000 "$WORK/source/folder/big" "$MNT/tree/latest/folder/big"
check "another file" cmp "$WORK/source/other" "$MNT/tree/latest/other"
check "a small one" cmp "$WORK/source/list" "$MNT/tree/latest/list"
quietly "$BYGONE" umount "$MNT"

step "the next backup heals"
next_second
expect 0 "$BYGONE" backup --path "tree=$WORK/source"
says "folder/big: what was stored of it is missing or damaged"
check "verify --read-data" "$BYGONE" verify --read-data
for at in tree tree@latest~1; do
  rm -rf "$WORK/restored"
  check "restore $at" "$BYGONE" restore "$at" "$WORK/restored"
  check "the same bytes" diff -r "$WORK/source" "$WORK/restored"
done

step "repair clears up"
check "repair packs --dry-run" "$BYGONE" repair packs --dry-run
[ -e "$pack" ] || fail "a dry run moved a pack" 1
check "repair packs" "$BYGONE" repair packs
[ ! -e "$pack" ] || fail "the damaged pack is still there" 1
check "it was moved aside" test -e "$BYGONE_REPOSITORY/damaged/pack-$(basename "$pack")"
check "verify --read-data" "$BYGONE" verify --read-data

step "the end of a pack is cut off"
pack=$(largest_pack)
truncate -s -2000 "$pack"
expect 20 "$BYGONE" verify
says "repair packs"
"$BYGONE" repair packs "$(basename "$pack")" --json >"$OUT" 2>"$ERR" || true
says '"records_lost":0'
next_second
quietly "$BYGONE" backup --path "tree=$WORK/source"
check "verify --read-data" "$BYGONE" verify --read-data
rm -rf "$WORK/restored"
check "restore" "$BYGONE" restore tree "$WORK/restored"
check "the same bytes" diff -r "$WORK/source" "$WORK/restored"

step "a snapshot record"
record=$(find "$BYGONE_REPOSITORY/snapshots" -type f | head -1)
flip "$record" 60
expect 20 "$BYGONE" verify
says "repair snapshots"
expect 20 "$BYGONE" repair snapshots
says "$(basename "$record")"
check "repair snapshots ID" "$BYGONE" repair snapshots "$(basename "$record")"
check "verify" "$BYGONE" verify
expect 1 "$BYGONE" repair snapshots "$(basename "$record")"
says "it is whole"
expect 2 "$BYGONE" repair packs nonsense

step "a key slot that opens for nobody"
head -c 64 /dev/urandom >"$WORK/other.key"
own=$(find "$BYGONE_REPOSITORY/keys" -type f -printf '%f')
quietly "$BYGONE" key add --new-key-file "$WORK/other.key" --label other
slot=$(find "$BYGONE_REPOSITORY/keys" -type f ! -name "$own" -printf '%f')
flip "$BYGONE_REPOSITORY/keys/$slot" 0
expect 20 "$BYGONE" verify
says "keys/$slot is damaged"
expect 20 "$BYGONE" repair keys
says "bygone repair keys $slot moves it aside"
check "repair keys ID" "$BYGONE" repair keys "$slot"
says "moved to damaged/key-$slot"
expect 1 "$BYGONE" repair keys "$own"
says "it is whole"
check "verify" "$BYGONE" verify

step "a list of prune, and a forgotten snapshot"
next_second
quietly "$BYGONE" backup --path "tree=$WORK/source"
quietly "$BYGONE" forget tree@latest~1
quietly "$BYGONE" prune
record=$(find "$BYGONE_REPOSITORY/trash" -type f)
flip "$record" 60
for list in "$BYGONE_REPOSITORY"/condemned/*; do
  [ -e "$list" ] || continue
  flip "$list" 60
  expect 20 "$BYGONE" verify
  says "condemned/$(basename "$list") is damaged"
  check "repair lists" "$BYGONE" repair lists "$(basename "$list")"
  says "written again without packs"
done
expect 20 "$BYGONE" verify
says "bygone repair trash"
check "repair trash" "$BYGONE" repair trash "$(basename "$record")"
check "verify" "$BYGONE" verify
expect 2 "$BYGONE" repair lists nonsense

step "the configuration"
flip "$BYGONE_REPOSITORY/config" 5
BYGONE_KEY_FILE="$WORK/other.key" expect 12 "$BYGONE" snapshots
expect 20 "$BYGONE" verify
says "config is damaged"
says "bygone repair config"
rm "$BYGONE_REPOSITORY/config"
expect 20 "$BYGONE" verify
check "repair config" "$BYGONE" repair config config
says "written again"
check "verify" "$BYGONE" verify
check "the same bytes" cmp "$BYGONE_REPOSITORY/config" "$BYGONE_REPOSITORY/config-copy"
expect 2 "$BYGONE" repair config nonsense
