#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# kill -9 in the middle of a first backup: the next one goes on where it stopped, stores less than
# a tenth of what was packed a second time, and every earlier snapshot is intact.
. "$(dirname "$0")/lib.sh"

megabytes=600
if [ -n "$SANITIZED" ]; then megabytes=200; fi
new_repository
mkdir "$WORK/small" "$WORK/data"
echo "an earlier snapshot" >"$WORK/small/file"
quietly "$BYGONE" backup --path "small=$WORK/small"

for n in $(seq $((megabytes / 20))); do
  head -c $((19 << 20)) /dev/urandom >"$WORK/data/file-$n"
  seq $((n * 1000000)) $((n * 1000000 + 150000)) >"$WORK/data/text-$n"
done

packed() { du -sb "$BYGONE_REPOSITORY/packs" | cut -f1; }
half_done() { [ "$(packed)" -gt $((megabytes << 19)) ]; }

step "kill -9 in the middle"
"$BYGONE" backup --path "data=$WORK/data" >"$OUT" 2>"$ERR" &
backup=$!
wait_for 300 half_done || fail "nothing is packed after five minutes"
kill -9 "$backup"
wait "$backup" || true
before=$(packed)
expect 1 "$BYGONE" ls data
ok "no snapshot of the killed backup exists, $before bytes are packed"

step "again"
check "the second backup" "$BYGONE" backup --path "data=$WORK/data"
after=$(packed)
# What is packed now beyond the data itself was stored twice, or is an earlier run's loss.
unique=$(du -sb --apparent-size "$WORK/data" | cut -f1)
echo "packed before $before, after $after, data $unique"
# The same data in one go, for comparison.
(
  new_repository whole
  quietly "$BYGONE" backup --path "small=$WORK/small"
  quietly "$BYGONE" backup --path "data=$WORK/data"
  packed >"$WORK/whole-size"
)
twice=$((after - $(cat "$WORK/whole-size")))
((twice * 10 < before)) || fail "$twice bytes were stored twice, of $before that were packed"
ok "stored twice: $twice bytes of $before"

check "restore" "$BYGONE" restore data "$WORK/restored"
check_silent "the data is the same" tree_difference "$WORK/data/" "$WORK/restored/"
check_equal "the earlier snapshot is intact" "$("$BYGONE" cat small:/file)" "an earlier snapshot"
check "verify --read-data" "$BYGONE" verify --read-data

step "SIGINT and SIGTERM end a backup in order"
for signal in INT TERM; do
  head -c $((64 << 20)) /dev/urandom >"$WORK/data/more-$signal"
  # A background job of a script ignores SIGINT; env gives it back.
  env --default-signal=INT "$BYGONE" backup --path "data=$WORK/data" --rescan >"$OUT" 2>"$ERR" &
  backup=$!
  sleep 0.5
  kill -s "$signal" "$backup"
  code=0
  wait "$backup" || code=$?
  check_equal "exit code after SIG$signal" "$code" 130
done
check "the next backup" "$BYGONE" backup --path "data=$WORK/data"
check "verify" "$BYGONE" verify
if [ -n "$(find "$BYGONE_REPOSITORY/tmp" -type f)" ]; then fail "files are left in tmp/"; fi
ok "nothing is left in tmp/"
