#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# prune with the real program: it frees what it announced, a file that is open in a mount reads on
# while its pack is rewritten, and backups, prunes and a reader run side by side without loss.
. "$(dirname "$0")/lib.sh"

seconds=8
new_repository
packed() { du -sb "$BYGONE_REPOSITORY/packs" | cut -f1; }
field() { python3 -c 'import json,sys
for line in sys.stdin:
    message = json.loads(line)
    if message["message_type"] == "summary": print(message[sys.argv[1]])' "$1"; }
# The oldest snapshot of a source leaves for the trash.
forget_oldest() {
  local id
  id=$("$BYGONE" snapshots "$1" --json | python3 -c 'import json,sys
found = [json.loads(line) for line in sys.stdin]
found = [s for s in found if "id" in s]
print(found[0]["id"] if len(found) > 1 else "")' 2>/dev/null) || return 0
  [ -n "$id" ] || return 0
  "$BYGONE" -q forget "id:$id" --retry-lock 1m 2>>"$WORK/errors-$1" || echo "forget $?" >>"$WORK/bad"
}

step "an open file reads on while its pack is rewritten"
mkdir "$WORK/data"
head -c $((12 << 20)) /dev/urandom >"$WORK/data/goes"
head -c $((40 << 20)) /dev/urandom >"$WORK/data/stays"
quietly "$BYGONE" backup --path "data=$WORK/data"
rm "$WORK/data/goes"
next_second
quietly "$BYGONE" backup --path "data=$WORK/data"
mount_repository
appears data
exec 3<"$MNT/data/latest/stays"
head -c 4096 <&3 >"$WORK/begin"
forget_oldest data
announced=$("$BYGONE" prune --max-dead 0 --empty-trash --now --dry-run --json | field freed_bytes)
before=$(packed)
names=$(ls "$BYGONE_REPOSITORY"/packs/*)
check "prune" "$BYGONE" prune --max-dead 0 --empty-trash --now
says 'freed .* MiB now'
check_equal "frees what it announced" "$((before - $(packed)))" "$announced"
((announced > 11 << 20)) || fail "only $announced bytes were freed"
[ "$names" != "$(ls "$BYGONE_REPOSITORY"/packs/*)" ] || fail "no pack was rewritten"
{ cat "$WORK/begin"; cat <&3; } >"$WORK/read"
exec 3<&-
# The buffer of head may have taken more than it gave: what matters is the rest, byte by byte.
tail -c 30000000 "$WORK/read" >"$WORK/read-end"
tail -c 30000000 "$WORK/data/stays" >"$WORK/data-end"
check "the open file reads on" cmp "$WORK/read-end" "$WORK/data-end"
check "and once more" cmp "$MNT/data/latest/stays" "$WORK/data/stays"
check "verify" "$BYGONE" verify --read-data
check "stats" "$BYGONE" stats
says 'live '
check_equal "nothing is dead" "$("$BYGONE" stats --json | field dead_bytes)" 0

step "backups, prunes and a reader side by side"
stop=$WORK/stop
backups() { # SOURCE
  local n=0
  while [ ! -e "$stop" ]; do
    n=$((n + 1))
    seq "$n" $((n + 20000)) >"$WORK/$1/text"
    head -c 300000 /dev/urandom >"$WORK/$1/random-$((n % 4))"
    "$BYGONE" -q backup --path "$1=$WORK/$1" 2>>"$WORK/errors-$1" || echo "backup $?" >>"$WORK/bad"
    forget_oldest "$1"
  done
  echo "$n" >"$WORK/count-$1"
}
prunes() {
  local n=0
  while [ ! -e "$stop" ]; do
    n=$((n + 1))
    "$BYGONE" -q prune --max-dead 0 --empty-trash --now 2>>"$WORK/errors-prune" ||
      echo "prune $?" >>"$WORK/bad"
  done
  echo "$n" >"$WORK/count-prune"
}
reads() {
  local n=0
  while [ ! -e "$stop" ]; do
    n=$((n + 1))
    cmp -s "$MNT/data/latest/stays" "$WORK/data/stays" || echo "read" >>"$WORK/bad"
  done
  echo "$n" >"$WORK/count-read"
}
mkdir "$WORK/one" "$WORK/two"
jobs=()
for job in "backups one" "backups two" prunes reads; do
  $job &
  jobs+=($!)
done
sleep "$seconds"
touch "$stop"
wait "${jobs[@]}"
if [ -e "$WORK/bad" ]; then
  sort "$WORK/bad" | uniq -c
  head -n 20 "$WORK"/errors-*
  fail "something failed beside something else"
fi
for what in one two prune read; do
  (($(cat "$WORK/count-$what") > 0)) || fail "$what never ran"
done
echo "backups $(cat "$WORK/count-one") and $(cat "$WORK/count-two"), prunes $(cat "$WORK/count-prune")," \
  "reads $(cat "$WORK/count-read")"
quietly "$BYGONE" prune --max-dead 0 --empty-trash --now
for source in one two; do
  quietly "$BYGONE" backup --path "$source=$WORK/$source"
  check "restore $source" "$BYGONE" restore "$source" "$WORK/restored-$source"
  check_silent "$source is the same" tree_difference "$WORK/$source/" "$WORK/restored-$source/"
done
check "verify" "$BYGONE" verify --read-data
check "the index knows everything" "$BYGONE" repair index
expect 0 "$BYGONE" cat one:/text
quietly "$BYGONE" umount "$MNT"
