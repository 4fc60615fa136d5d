#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The demo works, off a terminal, twice in a row, touches no other engine, and cleans up.
. "$(dirname "$0")/lib.sh"

export BYGONE
demo=$WORK/demo
trap '"$TOP/scripts/quickstart" --clean --dir "$demo" >/dev/null; finish' EXIT

for round in first second; do
  check "quickstart, $round time" "$TOP/scripts/quickstart" --no-build --dir "$demo"
  check_equal "its last line is the verdict" "$(tail -n 1 "$OUT" | cut -d: -f1-2)" "quickstart: OK"
done
check_equal "the demo goes on" "$(docker -H "unix://$demo/engine/docker.sock" ps --format '{{.Names}}')" db
ls "$demo/backups/db" >/dev/null || fail "the mount is gone"
check "--clean" "$TOP/scripts/quickstart" --clean --dir "$demo"
[ ! -e "$demo" ] || fail "--clean left $demo"
if findmnt -rno TARGET | grep -F "$demo"; then fail "--clean left a mount"; fi
if pgrep -f "$demo/engine" >/dev/null; then fail "--clean left a process"; fi
check "--clean again" "$TOP/scripts/quickstart" --clean --dir "$demo"
mkdir "$WORK/precious"
expect 1 "$TOP/scripts/quickstart" --no-build --dir "$WORK/precious"
[ -d "$WORK/precious" ] || fail "a folder that is not ours was deleted"
expect 2 "$TOP/scripts/quickstart" --no-such-option
