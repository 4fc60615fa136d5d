#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Fidelity: a tree with everything that Linux can say about a file comes back the same, out of the
# mount and out of `bygone restore`, as rsync, cp, tar, getfacl and the allocation see it.
. "$(dirname "$0")/lib.sh"

entries=100000 mib=10000
if [ -n "$SANITIZED" ]; then entries=3000 mib=1000; fi
source=$WORK/source
"$HERE/make-tree" "$source" --entries "$entries" --sparse-mib "$mib"
"$HERE/make-tree" "$WORK/deep-source" --deep
new_repository

step "backup"
quietly "$BYGONE" backup --path "tree=$source" --path "deep=$WORK/deep-source"
mount_repository
tree=$MNT/tree/latest

allocated() { echo $(($(stat -c '%b * %B' "$1"))); }
check_allocation() { # WHERE FOLDER
  local name
  for name in three-extents only-hole hole-at-end; do
    [ "$(allocated "$2/sparse/$name")" -lt $((2 << 20)) ] ||
      fail "$1: sparse/$name takes $(allocated "$2/sparse/$name") bytes"
  done
  [ "$(allocated "$2/sparse/preallocated")" -ge $((16 << 20)) ] ||
    fail "$1: sparse/preallocated lost its allocation"
  [ "$(allocated "$2/sparse/zeros")" -ge $((5 << 20)) ] || fail "$1: written zeros became a hole"
  ok "$1: sparse stays sparse, allocated stays allocated"
}
check_links() { # WHERE FOLDER
  check_equal "$1: names of one file share its number and count" \
    "$(stat -c '%i %h' "$2/links/a/one" "$2/links/b/two" "$2/links/b/c/three" | sort -u | wc -l)" 1
  check_equal "$1: three links" "$(stat -c %h "$2/links/a/one")" 3
}
acls() { (cd "$1" && find . ! -type l -print0 | sort -z | xargs -0 getfacl -n -- | sha256sum); }
check_tree() { # WHERE FOLDER [RSYNC OPTION...]
  check_silent "$1: rsync finds nothing to change" tree_difference "$source/" "$2/" "${@:3}"
  check_allocation "$1" "$2"
  check_links "$1" "$2"
  check_equal "$1: getfacl agrees" "$(acls "$2")" "$source_acls"
}
source_acls=$(acls "$source")

step "out of the mount"
check_tree mount "$tree"
check "the mount: a path longer than PATH_MAX" \
  "$HERE/compare-deep" "$WORK/deep-source" "$MNT/deep/latest"
cat "$OUT"
check_equal "find sees every entry" "$(find "$tree/" | wc -l)" "$(find "$source/" | wc -l)"
check_equal "no two files share a number but hard links" \
  "$(find "$tree/" -type f -links 1 -printf '%i\n' | sort | uniq -d | wc -l)" 0

# 10 GB of zeros were compared once; to read them again for every copy takes minutes.
but_the_largest=--exclude=/sparse/three-extents

step "cp -a out of the mount"
check "cp -a copies all of it" cp -a "$tree/." "$WORK/copied"
check_silent "cp -a: rsync finds nothing to change" tree_difference "$source/" "$WORK/copied/" \
  "$but_the_largest"
rm -rf "$WORK/copied"

step "tar out of the mount"
through_tar() {
  local tar=(tar --xattrs --xattrs-include='*' --acls --numeric-owner)
  mkdir "$WORK/unpacked"
  "${tar[@]}" -C "$tree" --sparse --format=posix --exclude=./crowd -cf - . | "${tar[@]}" -C "$WORK/unpacked" -xpf -
}
check "tar with xattrs and ACLs copies all but the crowd, which cp has copied" through_tar
# Of any source, tar leaves out sockets and copies a second name of a fifo as another fifo.
check_silent "tar: rsync finds nothing to change" tree_difference "$source/" "$WORK/unpacked/" \
  --exclude=/special/socket --exclude=/special/fifo-too --exclude=/crowd "$but_the_largest"
rm -rf "$WORK/unpacked"

step "bygone restore"
check "restore" "$BYGONE" restore tree "$WORK/restored"
check_tree restore "$WORK/restored"
check "restore of the deep tree" "$BYGONE" restore deep "$WORK/restored-deep"
check "restore: a path longer than PATH_MAX" \
  "$HERE/compare-deep" "$WORK/deep-source" "$WORK/restored-deep"
rm -rf "$WORK/restored-deep"

step "restore over a folder that changed"
echo changed >"$WORK/restored/content/text-4096"
echo more >"$WORK/restored/more"
rm "$WORK/restored/links/b/two"
check "a dry run says what it would do" "$BYGONE" restore tree "$WORK/restored" --delete --dry-run
[ -e "$WORK/restored/more" ] || fail "the dry run deleted something"
check "restore --delete --verify" "$BYGONE" restore tree "$WORK/restored" --delete --verify
check_tree "restore again" "$WORK/restored" "$but_the_largest"
echo mine >"$WORK/restored/content/text-4096"
check "restore --overwrite never" "$BYGONE" restore tree "$WORK/restored" --overwrite never
check_equal "what was there stays" "$(cat "$WORK/restored/content/text-4096")" mine
rm -rf "$WORK/restored"

step "one file, one folder, cat and ls"
check "restore of a folder" "$BYGONE" restore "tree:/names" "$WORK/names"
check_silent "the folder is the same" tree_difference "$source/names/" "$WORK/names/"
check "cat" "$BYGONE" cat "tree:/content/large"
check "cat gives the bytes" cmp "$source/content/large" <("$BYGONE" cat "tree:/content/large")
check "ls of odd names" "$BYGONE" ls "tree:/names"
if grep -q $'\x1b' "$OUT"; then fail "ls lets control bytes through"; fi
check "verify --read-data" "$BYGONE" verify --read-data

# A shell of Debian and a service of systemd may have 1024; here the hard limit is half of that.
step "many and deep folders with few descriptors"
few() { (ulimit -n 512 && "$@"); }
many=$WORK/many
deep=$many/$(printf 'c/%.0s' $(seq 600))
mkdir -p "$many"
(cd "$many" && seq -f d%g 5000 | xargs mkdir && for i in $(seq 5000); do echo "$i" >"d$i/file"; done)
mkdir -p "$deep"
echo bottom >"$deep/bottom"
check "backup" few "$BYGONE" backup --path "many=$many"
check "restore" few "$BYGONE" restore many "$WORK/many-restored" --verify
check_silent "all of it comes back" tree_difference "$many/" "$WORK/many-restored/"
