#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What is captured of a container: named and anonymous volumes, binds of folders and files, running
# or stopped, alone, all of them, or by project; and what never is: tmpfs, the engine's socket, the
# repository and our own mount.
. "$(dirname "$0")/lib.sh"

start_engine
new_repository
mkdir -p "$WORK/bind/sub" "$WORK/config" "$WORK/outer"
echo bound >"$WORK/bind/sub/file"
echo 'key = value' >"$WORK/config/app.conf"

run() { docker run -d --network none "$@" >/dev/null; }
volume() { docker volume inspect -f '{{.Mountpoint}}' "$1"; }

step "the kinds of mounts"
run --name app -v appdata:/var/lib/app -v /anonymous -v "$WORK/bind:/bind" \
  -v "$WORK/config/app.conf:/etc/app.conf" --tmpfs /scratch -v appdata:/second:ro \
  -v "$WORK/e/docker.sock:/var/run/docker.sock" tools \
  bash -c 'echo data >/var/lib/app/data; echo anon >/anonymous/file; echo gone >/scratch/file; sleep infinity'
wait_for 10 test -s "$(volume appdata)/data"
check "backup of a running container" "$BYGONE" backup app
says 'docker.sock'
mount_repository
latest=$MNT/app/latest
check_equal "the volumes are folders" "$(find "$latest/" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | tr '\n' ' ')" \
  ".bygone anonymous appdata bind etc-app.conf "
check_equal "named volume" "$(cat "$latest/appdata/data")" data
check_equal "anonymous volume" "$(cat "$latest/anonymous/file")" anon
check_equal "bind" "$(cat "$latest/bind/sub/file")" bound
check_equal "bind of a file is a file" "$(cat "$latest/etc-app.conf")" 'key = value'
check_silent "the named volume is the same" tree_difference "$(volume appdata)/" "$latest/appdata/"
check_equal ".bygone is for root alone" "$(stat -c '%a %u' "$latest/.bygone")" '700 0'
check "container.json is the engine's answer" python3 -c '
import json, sys
answer = json.load(open(sys.argv[1]))
answer = answer[0] if isinstance(answer, list) else answer
assert answer["Name"] == "/app", answer["Name"]' "$latest/.bygone/container.json"
check "snapshot.json" python3 -c '
import json, sys
json.load(open(sys.argv[1]))' "$latest/.bygone/snapshot.json"
check_equal "consistent" "$(newest app consistency)" freeze
check_equal "it runs" "$(inspect '{{.State.Status}}' app)" running

step "stopped containers and bare volumes"
docker stop -t 0 app >/dev/null
check "backup of a stopped container" "$BYGONE" backup app
check_equal "a stopped container is not frozen" "$(newest app consistency)" idle
check_equal "it is still stopped" "$(inspect '{{.State.Status}}' app)" exited
docker volume create lonely >/dev/null
echo lonely >"$(volume lonely)/file"
check "backup of a volume that no container uses" "$BYGONE" backup volume:lonely
appears lonely @volumes/lonely
check_equal "it is under @volumes" "$(cat "$MNT/@volumes/lonely/latest/file")" lonely
check "ls volume:lonely" "$BYGONE" ls volume:lonely
check "live, when asked for" "$BYGONE" backup app --consistency live
docker start app >/dev/null
check "a running one, live" "$BYGONE" backup app --consistency live
check_equal "it says so" "$(newest app consistency)" live

step "two writers of one volume are frozen together"
run --name writer -v appdata:/w tools bash -c 'while :; do echo x >>/w/log; sleep 0.02; done'
wait_for 10 test -s "$(volume appdata)/log"
docker events --filter event=pause --format '{{.Actor.Attributes.name}}' >"$WORK/pauses" &
PIDS+=($!)
sleep 0.5
check "backup of the one" "$BYGONE" backup app
sleep 0.5
check_equal "both were paused" "$(sort -u "$WORK/pauses" | tr '\n' ' ')" "app writer "
check_equal "both run" "$(inspect '{{.State.Status}}' app) $(inspect '{{.State.Status}}' writer)" "running running"

step "projects and all"
for name in web jobs; do
  run --name "shop-$name" --label com.docker.compose.project=shop \
    --label "com.docker.compose.service=$name" -v "shop_$name:/data" tools \
    bash -c "echo $name >/data/file; sleep infinity"
done
wait_for 10 test -s "$(volume shop_jobs)/file"
check "backup @shop" "$BYGONE" backup @shop
appears shop-web
appears shop-jobs
check_equal "both members" "$(cat "$MNT/shop-web/latest/shop_web/file" "$MNT/shop-jobs/latest/shop_jobs/file" | tr '\n' ' ')" "web jobs "
expect 1 "$BYGONE" backup @no-such-project
says 'shop'
expect 1 "$BYGONE" backup no-such-container
says 'app'
check "backup --all" "$BYGONE" backup --all
for source in app writer shop-web shop-jobs; do
  appears "$source"
  [ -n "$(instants "$source")" ] || fail "--all left out $source"
done
check_equal "--all takes bare volumes" "$(newest lonely sequence)" 2
run --name labelled --label bygone.name=nice-name -v labelled:/data tools sleep infinity
check "bygone.name gives the name" "$BYGONE" backup nice-name

step "a container that binds /"
run --name nosy -v "/:/host:ro" tools sleep infinity
# All of / is more than a test should read: everything but our folder is excluded.
check "its backup ends" "$BYGONE" backup nosy --exclude '/*' --exclude '!/var' --exclude '/var/*' \
  --exclude '!/var/tmp' --exclude '/var/tmp/*' --exclude "!$WORK" --exclude "$WORK/e"
says "$BYGONE_REPOSITORY"
says "$MNT"
appears nosy
if find "$MNT/nosy/latest/host$BYGONE_REPOSITORY" -type f 2>/dev/null | grep -q .; then
  fail "the repository was captured into itself"
fi
if [ -e "$MNT/nosy/latest/host$MNT/app" ]; then fail "our own mount was followed"; fi
check_equal "what is beside them was saved" "$(cat "$MNT/nosy/latest/host$WORK/bind/sub/file")" bound
docker rm -f nosy >/dev/null

step "the image of each snapshot"
"$HERE/registry" "$WORK/registry-port" >"$WORK/registry.log" 2>&1 &
PIDS+=($!)
wait_for 10 test -s "$WORK/registry-port" || fail "the registry does not start"
image=127.0.0.1:$(cat "$WORK/registry-port")/tools
docker tag tools "$image:1"
quietly docker push "$image:1"
digest=$(docker image inspect -f '{{index .RepoDigests 0}}' "$image:1")
run --name pushed -v pushed:/data "$image:1" sleep infinity
check "backup" "$BYGONE" backup pushed
check_equal "the reference" "$(newest pushed image)" "$image:1"
check_equal "the digest" "$(newest pushed image_digests)" "['$digest']"
docker rm -f pushed >/dev/null
"$BYGONE" snapshots --json | check "every snapshot of a container names its image" python3 -c '
import json, sys
rows = [row for row in map(json.loads, sys.stdin) if row.get("source_kind") == "container"]
assert len(rows) > 10, len(rows)
for row in rows:
    assert row["image"] and row["image_id"] == sys.argv[1], row' "$(docker image inspect -f '{{.Id}}' tools)"

step "a volume inside a volume"
run --name nested -v outer:/data -v inner:/data/inner tools bash -c 'echo o >/data/o; echo i >/data/inner/i; sleep infinity'
wait_for 10 test -s "$(volume inner)/i"
check "backup" "$BYGONE" backup nested
appears nested
check_equal "each once" "$(cd "$MNT/nested/latest" && find . -path ./.bygone -prune -o -type f -print | sort | tr '\n' ' ')" \
  "./inner/i ./outer/o "

step "the data of a volume is gone"
run --name broken -v brokendata:/data tools sleep infinity
check "backup while it is there" "$BYGONE" backup broken
# The way a remote engine or an unmounted NFS looks from here.
mv "$(volume brokendata)" "$WORK/e/moved"
code=0
"$BYGONE" backup broken >"$OUT" 2>"$ERR" || code=$?
check_equal "its source fails" "$code" 1
says 'brokendata'
check_equal "no empty folder was committed in its place" "$(newest broken sequence)" 1
mv "$WORK/e/moved" "$(volume brokendata)"

step "the end of the repository"
check "verify --read-data" "$BYGONE" verify --read-data
