#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The mount: every spelling of an instant, new snapshots without a remount, ways to end it, and the
# mountpoints that it refuses.
. "$(dirname "$0")/lib.sh"

export TZ=Europe/Berlin # listed names are read on the writer's clock
new_repository
mkdir "$WORK/data"
backup() {
  next_second
  echo "$1" >"$WORK/data/file"
  quietly "$BYGONE" backup --path "data=$WORK/data"
  if mountpoint -q "$MNT"; then appears data; fi
}
content() { cat "$MNT/data/$1/file"; }

backup one
mount_repository
between=$(date +%s)
next_second
backup two
backup three

step "what is listed"
check_equal "sources" "$(ls "$MNT")" data
# shellcheck disable=SC2012  # names of instants only
check_equal "the source lists its instants and latest" "$(ls "$MNT/data" | wc -l)" 4
check_equal "new snapshots appeared without a remount" "$(content latest)" three
[ -L "$MNT/data/latest" ] || fail "latest is not a symbolic link"
mapfile -t names < <(instants data)
check_equal "by name" "$(content "${names[0]}") $(content "${names[1]}") $(content "${names[2]}")" "one two three"
check_equal "in order of names" "$(printf '%s\n' "${names[@]}")" "$(printf '%s\n' "${names[@]}" | sort)"

step "every spelling of an instant"
at() { date -d "@$between" +"$1"; }
for spelling in "$(at %Y-%m-%dT%H:%M:%S)" "$(at %Y-%m-%dT%H-%M-%S)" "$(at %Y%m%dT%H%M%S)" \
  "$(at %Y-%m-%dT%H:%M:%S%:z)" "$(TZ=UTC at %Y-%m-%dT%H:%M:%SZ)" "$(TZ=UTC at @GMT-%Y.%m.%d-%H.%M.%S)" 'latest~2'; do
  check_equal "$spelling" "$(content "$spelling")" one
done
for spelling in "$(date +%Y-%m-%d)" "$(date +%Y-%m-%dT23:59)" "$(date +%Y-%m-%dT23-59)" 'latest' 'latest~0' '0s-ago'; do
  check_equal "$spelling" "$(content "$spelling")" three
done
check_equal "latest~1" "$(content 'latest~1')" two
id=$("$BYGONE" snapshots --json | head -n 1 | python3 -c 'import json, sys; print(json.loads(sys.stdin.read())["id"])')
check_equal "id:" "$(content "id:${id:0:8}")" one
check_equal "@snapshots" "$(cat "$MNT/@snapshots/$id/file")" one
for spelling in 2001-01-01 yesterday 1w-ago 'latest~7' id:0000000000 nonsense 2024-13-45; do
  if [ -e "$MNT/data/$spelling" ]; then fail "$spelling exists"; fi
done
ok "what is older than everything, or nonsense, does not exist"
check_equal "the command line speaks the same" "$("$BYGONE" cat "data@$(at %Y-%m-%dT%H:%M:%S):/file")" one
check_equal "and so for paths that look like times" "$("$BYGONE" cat "data@latest~1:/file")" two

step "read-only"
for change in "touch $MNT/data/latest/file" "rm $MNT/data/latest/file" "mkdir $MNT/new" "mv $MNT/data $MNT/x" \
  "chmod 777 $MNT/data/latest/file" "ln -s x $MNT/data/y"; do
  if $change 2>"$ERR"; then fail "the mount let: $change"; fi
  grep -q 'Read-only' "$ERR" || fail "$change: $(cat "$ERR")"
done
ok "changes are refused as on a read-only file system"

step "numbers stay"
before=$(stat -c %i "$MNT/data/${names[0]}/file")
quietly "$BYGONE" umount "$MNT"
mountpoint -q "$MNT" && fail "still mounted after bygone umount"
ok "bygone umount"
expect 1 "$BYGONE" umount "$MNT"
mount_repository
check_equal "a file has the same number after a remount" "$(stat -c %i "$MNT/data/${names[0]}/file")" "$before"

step "ways to end it"
quietly umount "$MNT"
ok "umount"
not_mounted() { ! mountpoint -q "$MNT"; }
"$BYGONE" mount --foreground "$MNT" >"$OUT" 2>"$ERR" &
server=$!
wait_for 20 mountpoint -q "$MNT" || fail "nothing is mounted"
kill "$server"
code=0
wait "$server" || code=$?
check_equal "SIGTERM ends it with 0" "$code" 0
not_mounted || fail "still mounted after SIGTERM"
"$BYGONE" mount --foreground "$MNT" >"$OUT" 2>"$ERR" &
server=$!
wait_for 20 mountpoint -q "$MNT" || fail "nothing is mounted"
exec {busy}<"$MNT/data/latest/file"
kill "$server"
code=0
wait "$server" || code=$?
check_equal "SIGTERM with an open file ends it too" "$code" 0
exec {busy}<&-

step "a dead mount is replaced"
"$BYGONE" mount --foreground "$MNT" >"$OUT" 2>"$ERR" &
server=$!
wait_for 20 mountpoint -q "$MNT" || fail "nothing is mounted"
kill -9 "$server"
wait "$server" || true
if ls "$MNT" >/dev/null 2>&1; then fail "the mount is not dead: this proves nothing"; fi
check "mount over a dead mount" "$BYGONE" mount "$MNT"
says "$MNT"
check_equal "it works" "$(content latest)" three

step "mountpoints that are refused"
expect 1 "$BYGONE" mount "$MNT"
says 'mounted'
mkdir "$BYGONE_REPOSITORY/inside"
expect 1 "$BYGONE" mount "$BYGONE_REPOSITORY/inside"
says 'repository'
expect 1 "$BYGONE" mount "$BYGONE_REPOSITORY"
expect 1 "$BYGONE" mount "$WORK"
says 'repository'
rmdir "$BYGONE_REPOSITORY/inside"
touch "$WORK/a-file"
expect 1 "$BYGONE" mount "$WORK/a-file"

step "a mountpoint that is not empty"
mkdir "$WORK/full"
echo mine >"$WORK/full/mine"
quietly "$BYGONE" mount "$WORK/full"
says 'is not empty: what it holds cannot be seen until bygone umount'
quietly "$BYGONE" umount "$WORK/full"
check_equal "what it holds is there again" "$(cat "$WORK/full/mine")" mine

step "many readers at once"
head -c $((24 << 20)) /dev/urandom >"$WORK/data/large"
backup four
sum=$(sha256sum <"$WORK/data/large")
readers=()
for _ in 1 2 3 4 5 6 7 8; do
  (
    [ "$(sha256sum <"$MNT/data/latest/large")" = "$sum" ] || exit 1
    find "$MNT" -ls >/dev/null
  ) &
  readers+=($!)
done
for reader in "${readers[@]}"; do wait "$reader" || fail "a reader saw other bytes"; done
ok "eight readers see the same bytes"

step "damage is an error for its range only"
quietly "$BYGONE" umount "$MNT"
head -c $((8 << 20)) /dev/urandom >"$WORK/data/victim"
find "$BYGONE_REPOSITORY/packs" -type f | sort >"$WORK/packs-before"
backup five
find "$BYGONE_REPOSITORY/packs" -type f -size +4M | sort >"$WORK/packs-after"
pack=$(comm -13 "$WORK/packs-before" "$WORK/packs-after" | head -n 1)
[ -n "$pack" ] || fail "the backup made no pack of data"
python3 - "$pack" <<'PYTHON'
import os, sys
with open(sys.argv[1], "r+b") as pack:
    pack.seek(os.path.getsize(sys.argv[1]) // 2)
    pack.write(b"damaged!" * 16)
PYTHON
mount_repository
if cat "$MNT/data/latest/victim" >"$WORK/read" 2>"$ERR"; then fail "damage was read without an error"; fi
grep -q 'Input/output error' "$ERR" || fail "damage: $(cat "$ERR")"
check "what is not damaged reads right" python3 - "$MNT/data/latest/victim" "$WORK/data/victim" <<'PYTHON'
import os, sys
ours, truth = (os.open(path, os.O_RDONLY) for path in sys.argv[1:])
lost = 0
for offset in range(0, os.fstat(truth).st_size, 65536):
    try:
        piece = os.pread(ours, 65536, offset)  # may be short: what comes before the damage
    except OSError:
        piece = b""
    if piece != os.pread(truth, len(piece), offset):
        sys.exit(f"other bytes at {offset}")
    lost += 65536 - len(piece)
print(f"{lost} bytes are lost")
if not 0 < lost <= 2 << 20:
    sys.exit(1)
PYTHON
cat "$OUT"
check_equal "other files are whole" "$(sha256sum <"$MNT/data/latest/large")" "$sum"
