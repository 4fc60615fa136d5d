#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The index is a cache: deleted, filled with garbage or damaged in part while nothing runs, it is
# rebuilt or a clear message says what to do; listings and bytes stay the same.
. "$(dirname "$0")/lib.sh"

entries=5000
if [ -n "$SANITIZED" ]; then entries=500; fi
"$HERE/make-tree" "$WORK/source" --entries "$entries" --sparse-mib 100
new_repository
quietly "$BYGONE" backup --path "tree=$WORK/source"
echo more >"$WORK/source/more"
next_second
quietly "$BYGONE" backup --path "tree=$WORK/source"

listing() { "$BYGONE" snapshots --json && "$BYGONE" ls tree:/content && "$BYGONE" ls 'tree@latest~1:/content'; }
listing >"$WORK/listing"

same_as_ever() { # WHAT
  check "$1: listings" cmp "$WORK/listing" <(listing)
  rm -rf "$WORK/restored"
  check "$1: restore" "$BYGONE" restore tree "$WORK/restored"
  check_silent "$1: the same bytes" tree_difference "$WORK/source/" "$WORK/restored/"
  check "$1: verify --read-data" "$BYGONE" verify --read-data
  check "$1: backup goes on" "$BYGONE" backup --path "other=$WORK/source/links"
  listing >"$WORK/listing"
}
# Runs a reader on a broken index. It may repair it itself; else its message names the command.
first_reader() { # WHAT
  local code=0
  "$BYGONE" ls tree >"$OUT" 2>"$ERR" </dev/null || code=$?
  if [ "$code" != 0 ]; then
    [ "$code" -lt 128 ] || fail "$1: died by a signal ($code)" 1
    says 'bygone repair index'
    check "$1: repair index" "$BYGONE" repair index
  fi
  ok "$1: answered or explained"
}

step "the index is deleted"
rm -rf "${BYGONE_REPOSITORY:?}/index"
first_reader deleted
same_as_ever deleted

step "filled with garbage"
for file in "$BYGONE_REPOSITORY"/index/*; do
  head -c "$(stat -c %s "$file" | awk '{print ($1 > 4194304) ? 4194304 : $1}')" /dev/urandom >"$file.new"
  mv "$file.new" "$file"
done
first_reader garbage
same_as_ever garbage

step "truncated to nothing"
for file in "$BYGONE_REPOSITORY"/index/*; do truncate -s 0 "$file"; done
first_reader empty
same_as_ever empty

step "garbage in the middle"
for seed in 1 2 3; do
  database=$BYGONE_REPOSITORY/index/data.mdb
  [ -e "$database" ] || fail "there is no index/data.mdb"
  python3 - "$database" "$seed" <<'PYTHON'
import os, random, sys
path, seed = sys.argv[1], int(sys.argv[2])
rng = random.Random(seed)
used = min(os.path.getsize(path), os.stat(path).st_blocks * 512)
with open(path, "r+b") as index:
    for _ in range(8):  # not the first two pages: those are the garbage case above
        index.seek(8192 + rng.randrange(max(1, used - 8192)))
        index.write(rng.randbytes(200))
PYTHON
  rm -rf "$WORK/restored"
  code=0
  "$BYGONE" restore tree "$WORK/restored" >"$OUT" 2>"$ERR" </dev/null || code=$?
  if [ "$code" = 0 ]; then
    check_silent "damage $seed: never wrong bytes" tree_difference "$WORK/source/" "$WORK/restored/"
  else
    ok "damage $seed: exit code $code"
  fi
  # A signal inside LMDB is allowed once: the next start rebuilds.
  first_reader "damage $seed"
  same_as_ever "damage $seed"
done

step "repair index"
check "on a healthy index" "$BYGONE" repair index
same_as_ever repaired

step "the index elsewhere"
export BYGONE_INDEX_DIR=$WORK/elsewhere
same_as_ever elsewhere
[ -e "$WORK/elsewhere" ] || fail "BYGONE_INDEX_DIR was not used"
