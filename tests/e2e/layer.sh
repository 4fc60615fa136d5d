#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What a container changed outside its volumes is beside them in @layer, what it deleted is listed;
# both follow the container, and nothing of overlayfs itself shows. Without the label, nothing of it.
. "$(dirname "$0")/lib.sh"

start_engine
driver=$(docker info -f '{{.Driver}}')
[ "$driver" = overlay2 ] || skip "the engine's storage driver is $driver here, which has no upper folders"
new_repository
docker run -d --name app --label bygone.layer=on --network none -v data:/data tools sleep infinity >/dev/null
docker run -d --name plain --network none -v other:/data tools sleep infinity >/dev/null

step "changes, in a snapshot of their own"
docker exec app bash -c '
  mkdir -p /root/work /srv/tree/sub && echo note >/root/work/note && echo old >/srv/tree/sub/file
  setfattr -n user.kind -v test /root/work/note 2>/dev/null || true
  rm /bin/ls; echo in-volume >/data/file'
check "backup" "$BYGONE" backup app plain
mount_repository
latest=$MNT/app/latest
check_equal "the layer is beside the volumes" \
  "$(find "$latest/" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | tr '\n' ' ')" ".bygone @layer data "
check_equal "a new file" "$(cat "$latest/@layer/root/work/note")" note
check "the deletion is listed" grep -qE '^(/usr)?/bin/ls$' "$latest/.bygone/layer-deleted"
check_silent "and is no device in the tree" find "$latest/@layer" -type c
check_silent "nor is any attribute of overlayfs" bash -c "getfattr -R -d -m trusted.overlay '$latest/@layer' 2>/dev/null"
check_equal "its writer stood still" "$(newest app consistency)" freeze
[ ! -e "$MNT/plain/latest/@layer" ] || fail "a container without the label has a layer"
ok "without the label there is none"

step "the changes go on"
docker exec app bash -c 'rm -r /srv/tree; mkdir /srv/tree; echo new >/srv/tree/file; rm /root/work/note'
check "backup" "$BYGONE" backup app
appears app
latest=$MNT/app/latest
check_equal "a file that was replaced" "$(cat "$latest/@layer/srv/tree/file")" new
[ ! -e "$latest/@layer/root/work/note" ] || fail "a file that was deleted again is still there"
ok "what was new and deleted is gone"
check "the deletion is still listed" grep -qE '^(/usr)?/bin/ls$' "$latest/.bygone/layer-deleted"

step "a container without volumes, then stopped"
docker run -d --name bare --label bygone.layer=on --network none tools \
  bash -c 'while :; do echo "$EPOCHREALTIME" >/now; sleep 0.05; done' >/dev/null
check "backup" "$BYGONE" backup bare
check_equal "its writer stood still" "$(newest bare consistency)" freeze
docker stop -t 0 bare >/dev/null
check "backup" "$BYGONE" backup bare
check_equal "nothing had to" "$(newest bare consistency)" idle
appears bare
last=$(docker cp bare:/now - | tar -xO)
[ -n "$last" ] || fail "the container wrote nothing"
check_equal "the last word" "$(cat "$MNT/bare/latest/@layer/now")" "$last"
