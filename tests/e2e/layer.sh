#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What a container changed outside its volumes is beside them in @layer, what it deleted is listed;
# both follow the container, and nothing of overlayfs itself shows. Without the label, nothing of it.
# The same comes from an engine that is far away, which lists and sends what changed.
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

step "a folder that was deleted and made anew, seen by the service without CAP_SYS_ADMIN"
docker run --name seed --network none tools bash -c 'mkdir -p /srv/old; for f in a b; do echo 1 >/srv/old/$f; done'
docker commit seed seeded >/dev/null
docker run -d --name served --label bygone.layer=on --network none seeded sleep infinity >/dev/null
docker exec served bash -c 'rm -r /srv/old; mkdir /srv/old; echo 2 >/srv/old/a'
check "backup" "$BYGONE" backup served
appears served
near=$(newest served instant)
next_second
check "backup as the service" "$TOP/tests/e2e/as-service" "$TOP/scripts/bygone.service" "$BYGONE" backup served
appears served
away=$(newest served instant)
[ "$near" != "$away" ] || fail "there is one snapshot, not two"
check_equal "all that the image had there is gone" "$(cat "$MNT/served/$near/.bygone/layer-deleted")" /srv/old/
check_equal "the engine names what it was" "$(cat "$MNT/served/$away/.bygone/layer-deleted")" /srv/old/b

step "the same, from an engine far away"
host_image layered bash cat chmod chown dd date ln ls mkdir mkfifo mknod rm sleep touch
docker run -d --name far --label bygone.layer=on --network none -v data:/data -v inner:/new/deep/volume \
  -v linked:/lib/volume --tmpfs /memory layered sleep infinity >/dev/null
docker exec far bash -c '
  mkdir -p /root/work/empty /new/deep/beside /srv/tree && cd /root
  echo note >work/note; ln work/note work/same; ln -s work/note link; ln -s work folder-link
  mkfifo fifo; mknod work/null c 1 3; dd if=/dev/urandom of=/big bs=1M count=8 2>/dev/null
  echo x >$'"'new\nline'"'; echo x >$'"'bad\xff'"'; mkdir $'"'bad\xfe'"'; echo x >$'"'bad\xfe/file'"'
  echo x >"q?a&b=c %41"; echo x >"back\\slash"; mkdir a a.b; touch a/x a.b/x
  echo line >>/etc/passwd; chown 5:6 /etc/group; chmod 700 /usr/bin; rm /bin/ls /usr/bin/date
  echo new >/usr/bin/new; touch -d "2024-01-02 03:04:05" /srv/tree work/empty work/note
  for secret in /data /new/deep/volume /lib/volume /memory; do echo secret >$secret/secret; done'
touch_socket() { # PATH in the container: its shell cannot make one
  python3 -c 'import os, socket, sys
os.chdir(sys.argv[1]); socket.socket(socket.AF_UNIX).bind(sys.argv[2])' \
    "/proc/$(inspect '{{.State.Pid}}' far)/root$(dirname "$1")" "$(basename "$1")"
}
touch_socket /usr/bin/socket
python3 "$HERE/forward" "$WORK/port" "$WORK/e/docker.sock" &
PIDS+=($!)
wait_for 10 test -s "$WORK/port" || fail "the engine is not reachable over TCP"
elsewhere=tcp://127.0.0.1:$(cat "$WORK/port")
check "backup beside the engine" "$BYGONE" backup far
appears far
near=$(newest far instant)
next_second
check "backup from elsewhere" env DOCKER_HOST="$elsewhere" "$BYGONE" backup far --json
says '"data_added": ?[0-9]{1,5}[,}]'
check_equal "consistent" "$(newest far consistency)" freeze
check_equal "it runs" "$(inspect '{{.State.Status}}' far)" running
appears far
away=$(newest far instant)
[ "$near" != "$away" ] || fail "there is one snapshot, not two"
# Where something is mounted an overlay has an empty folder. Sockets are not sent. Newer engines (26.1 and
# 28.5 do) change the time of the layer's own folder when they are asked for an archive.
layer_difference() {
  tree_difference "$@" --exclude /memory --exclude /new/deep/volume --exclude /usr/lib/volume --exclude /usr/bin/socket |
    sed '/^\.d\.\.t\.* \.\/$/d'
}
check_silent "the layer is the same" layer_difference "$MNT/far/$near/@layer/" "$MNT/far/$away/@layer/"
check_equal "names that are no UTF-8, too" "$(cat "$MNT/far/$away/@layer/root/"bad*/file)" x
check_silent "nothing of a volume is in it" find "$MNT/far/$away/@layer" -name 'secret*'
check "the deletions are the same" diff "$MNT/far/$near/.bygone/layer-deleted" "$MNT/far/$away/.bygone/layer-deleted"
check "restore" "$BYGONE" restore "far@$away:@layer" "$WORK/restored"
check_silent "is the same" tree_difference "$MNT/far/$away/@layer/" "$WORK/restored/"

step "a freeze ends in time, whatever the engine is sending"
# The hook grows the layer after the hot pass. Docker locks a container while it sends of it.
docker run -d --name grows --label bygone.layer=on --network none \
  --label bygone.pre='dd if=/dev/zero of=/huge bs=1 count=0 seek=8G' layered sleep infinity >/dev/null
since=$(date +%s)
check "it is live" env DOCKER_HOST="$elsewhere" "$BYGONE" backup grows --max-freeze 2s
says 'captured live'
next_second # the engine counts in whole ones
docker events --since "$since" --until 0s --filter container=grows --format '{{.TimeNano}} {{.Action}}' >"$OUT"
held=$(awk '$2 == "pause" {from = $1} $2 == "unpause" {printf "%d", ($1 - from) / 1e6}' "$OUT")
if [ "${held:-0}" -lt 1900 ] || [ "$held" -gt 4000 ]; then
  show_output
  fail "it stood still for $held ms"
fi
ok "it stood still for $held ms"

step "what such an engine cannot be asked for is named"
docker exec far bash -c 'dd if=/dev/zero of=/usr/lib/large bs=1M count=8 2>/dev/null; echo x >$'"'/usr/lib/zz\xff'"
docker commit far layered-too >/dev/null
docker run -d --name named --label bygone.layer=on --network none layered-too \
  bash -c 'echo x >$'"'/usr/lib/zz\xfe'"'; sleep infinity' >/dev/null
expect 3 env DOCKER_HOST="$elsewhere" "$BYGONE" backup named
says 'zz.*no UTF-8'
check "verify --read-data" "$BYGONE" verify --read-data
