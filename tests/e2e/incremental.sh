#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A second backup opens only what changed, finds every change, obeys the excludes, and tells apart
# what was deleted meanwhile (no error) and what cannot be read (exit code 3, by name).
. "$(dirname "$0")/lib.sh"

new_repository
data=$WORK/data
mkdir -p "$data"/{a,b,c}/d "$data/with space" "$data/.cache"
for n in $(seq 200); do
  echo "small $n" >"$data/a/d/small-$n"
  echo "other $n" >"$data/b/d/other-$n"
done
head -c $((8 << 20)) /dev/urandom >"$data/c/large"
echo keep >"$data/with space/a  b"
# Old enough not to count as racy: what is younger than a minute is read again on purpose.
find "$data" -exec touch -h -d '2 hours ago' {} +
command -v strace >/dev/null || skip "strace is not installed"
quietly "$BYGONE" backup --path "data=$data"
backed_up=$SECONDS

step "what cannot be read"
if command -v setpriv >/dev/null; then
  # As a user without rights: a repository and a folder of his own.
  mkdir -m 700 "$WORK/user"
  cp -r "$data/a" "$WORK/user/data"
  chown -R 12345:12345 "$WORK/user"
  echo secret >"$WORK/user/data/forbidden"
  chmod 600 "$WORK/user/data/forbidden"
  mkdir -m 700 "$WORK/user/data/closed"
  chmod 755 "$WORK/user"
  as_user() {
    setpriv --reuid 12345 --regid 12345 --clear-groups env HOME="$WORK/user" \
      BYGONE_REPOSITORY="$WORK/user/repository" BYGONE_KEY_FILE="$WORK/user/key" "$@"
  }
  cp "$BYGONE_KEY_FILE" "$WORK/user/key"
  chown 12345 "$WORK/user/key"
  quietly as_user "$BYGONE" init
  expect 3 as_user "$BYGONE" backup --path "mine=$WORK/user/data"
  says 'forbidden'
  says 'closed'
  ok "exit code 3, by name"
  check_equal "the rest is saved" "$(as_user "$BYGONE" cat mine:/d/small-1)" "small 1"
  chmod 644 "$WORK/user/data/forbidden"
  chmod 755 "$WORK/user/data/closed"
  check "readable again: complete" as_user "$BYGONE" backup --path "mine=$WORK/user/data"
  check_equal "the file that was unreadable is there" "$(as_user "$BYGONE" cat mine:/forbidden)" secret
fi

step "files that vanish during the walk"
busy=$WORK/busy
mkdir "$busy"
cp -a "$data/a" "$busy/a"
churn() {
  while :; do
    for n in $(seq 40); do echo "$n" >"$busy/a/d/vanish-$n"; done
    rm -f "$busy"/a/d/vanish-*
  done
}
churn &
PIDS+=($!)
for _ in 1 2 3 4 5; do quietly "$BYGONE" backup --path "busy=$busy"; done
ok "five backups, no error"
kill "${PIDS[-1]}"
wait "${PIDS[-1]}" 2>/dev/null || true
check "verify --read-data" "$BYGONE" verify --read-data

step "a folder that somebody swaps for a symlink"
mkdir -p "$WORK/outside" "$busy/swap"
echo "of the host" >"$WORK/outside/secret"
echo inside >"$busy/swap/secret"
cat >"$WORK/swap.py" <<'PYTHON'
import os, sys
data, outside = sys.argv[1:]
os.symlink(outside, data + "/swap.link")
while True:
    os.rename(data + "/swap", data + "/swap.dir")
    os.rename(data + "/swap.link", data + "/swap")
    os.rename(data + "/swap", data + "/swap.link")
    os.rename(data + "/swap.dir", data + "/swap")
PYTHON
python3 "$WORK/swap.py" "$busy" "$WORK/outside" &
PIDS+=($!)
for _ in 1 2 3 4 5 6 7 8; do
  "$BYGONE" backup --path "busy=$busy" --rescan >"$OUT" 2>"$ERR" || [ $? = 3 ] || fail "backup"
  if "$BYGONE" cat busy:/swap/secret 2>/dev/null | grep -q host; then fail "read through the symlink"; fi
done
kill "${PIDS[-1]}"
wait "${PIDS[-1]}" 2>/dev/null || true
ok "nothing of the host was read"

# ctime cannot be set. What needs no old files came before, in the meantime.
sleep $((backed_up + 62 > SECONDS ? backed_up + 62 - SECONDS : 0))
quietly "$BYGONE" backup --path "data=$data" # nothing in this one is racy

step "what did not change is not opened"
traced() {
  ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 strace -f -qq -e trace=open,openat,openat2 \
    -o "$WORK/trace" "$BYGONE" backup --path "data=$data" >"$OUT" 2>"$ERR"
}
traced
if grep -E '"(small|other)-[0-9]+"|"large"|"a  b"' "$WORK/trace" >"$WORK/opened"; then
  head -n 3 "$WORK/opened"
  fail "unchanged files were opened"
fi
grep -q '"d"' "$WORK/trace" || fail "the walk is not seen in the trace: this proves nothing"
ok "no unchanged file was opened"
packs=$(du -sb "$BYGONE_REPOSITORY/packs" | cut -f1)
quietly "$BYGONE" backup --path "data=$data"
grown=$(($(du -sb "$BYGONE_REPOSITORY/packs" | cut -f1) - packs))
((grown < 65536)) || fail "an unchanged backup stored $grown bytes"
ok "an unchanged backup stores $grown bytes"

step "what changed is found"
same_after() { # WHAT
  quietly "$BYGONE" backup --path "data=$data"
  rm -rf "$WORK/restored"
  quietly "$BYGONE" restore data "$WORK/restored"
  check_silent "$1" tree_difference "$data/" "$WORK/restored/"
}
echo "small 7, changed" >"$data/a/d/small-7"
traced
grep -q '"small-7"' "$WORK/trace" || fail "the changed file was not opened"
same_after "new content"
printf 'SMALL 8' | dd of="$data/a/d/small-8" conv=notrunc status=none
touch -d '2 hours ago' "$data/a/d/small-8"
same_after "same size and mtime, other content"
chmod 600 "$data/a/d/small-9"
same_after "mode"
setfattr -n user.x -v y "$data/a/d/small-10"
same_after "xattr"
mv "$data/b/d/other-1" "$data/a/d/moved"
same_after "rename"
rm "$data/b/d/other-2"
same_after "delete"
rm -r "$data/c" && ln -s a "$data/c"
same_after "a folder became a symlink"
printf 'x' | dd of="$data/a/d/small-11" bs=1 seek=3 conv=notrunc status=none
same_after "one byte"
# A store into a mapped page that is dirty already moves no time stamp.
head -c 1048576 /dev/urandom >"$data/mapped"
same_after "before the map"
python3 - "$BYGONE" "$data" <<'PYTHON'
import mmap, os, subprocess, sys, time
program, data = sys.argv[1:]
with open(data + "/mapped", "r+b") as source:
    area = mmap.mmap(source.fileno(), 0)
    area[0:5] = b"first"
    subprocess.run([program, "backup", "--path", "data=" + data], check=True, stdout=subprocess.DEVNULL)
    area[0:6] = b"second"
    subprocess.run([program, "backup", "--path", "data=" + data], check=True, stdout=subprocess.DEVNULL)
PYTHON
check_equal "a store through mmap between two backups" "$("$BYGONE" cat data:/mapped | head -c 6)" second

step "excludes"
mkdir -p "$data/skip/deep" "$data/logs"
touch "$data/skip/deep/file" "$data/logs/"{a.log,b.log,keep.log} "$data/x.tmp" "$data/a/x.tmp"
printf '# comment\n*.log\n!keep.log\n' >"$WORK/patterns"
quietly "$BYGONE" backup --path "data=$data" --exclude '/skip/' --exclude '*.tmp' --exclude-file "$WORK/patterns"
mount_repository
(cd "$MNT/data/latest" && find . -name '*.log' -o -name '*.tmp' -o -path './skip*') | sort >"$WORK/left"
check_equal "patterns as in .gitignore" "$(tr '\n' ' ' <"$WORK/left")" "./logs/keep.log "
same_after "without excludes all is back"
check "verify --read-data" "$BYGONE" verify --read-data
