#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Volumes on a btrfs are captured by snapshots of it: a busy PostgreSQL, each of whose snapshots boots
# clean; several subvolumes at once, a bind of a file, a repository inside of a volume. What a snapshot
# would miss is frozen instead; a backup that is killed leaves no snapshot for good.
. "$(dirname "$0")/lib.sh"

command -v mkfs.btrfs >/dev/null || skip "mkfs.btrfs is not installed"
ground=$WORK/btrfs
mkdir "$ground"
truncate -s 4G "$WORK/btrfs.img"
mkfs.btrfs -q "$WORK/btrfs.img"
mount -o loop "$WORK/btrfs.img" "$ground" 2>/dev/null || skip "no btrfs can be mounted here"

start_engine
"$HERE/make-db-image" || skip "the database images could not be made (no package mirror?)"
new_repository
image=bygone-test/postgres:15
data=/var/lib/postgresql/data
room=$ground/.bygone-snapshots

start_postgres() { # NAME FROM
  docker run -d --name "$1" --network none --tmpfs /ack:mode=1777 -e POSTGRES_PASSWORD=only-a-test \
    -e "POSTGRES_INITDB_ARGS=--data-checksums --no-sync" -v "$2:$data" "$image" -c max_wal_size=64MB >/dev/null
  wait_for 60 docker exec "$1" pg_isready -q -U postgres || fail "$1 does not come up" 1
}
sql() { docker exec "$1" psql -qAtX -U postgres -c "$2"; } # CONTAINER STATEMENT
subvolumes() { btrfs subvolume list "$ground" | wc -l; }
nothing_left() { # SUBVOLUMES
  check_equal "no snapshot is left" "$(find "$room" -mindepth 1 | wc -l) $(subvolumes)" "0 $1"
  check_equal "nobody's freeze" "$(find "$BYGONE_STATE_DIR/freeze" -type f | wc -l)" 0
  # A journal stays until the deletion is durable, which is no reason to let anybody wait.
  for _ in 1 2; do
    btrfs filesystem sync "$ground"
    touch "$ground/next-transaction"
  done
  quietly "$BYGONE" thaw
  check_equal "nor a journal" "$(find "$BYGONE_STATE_DIR/snapshots" -type f | wc -l)" 0
}

nobody_left() { [ "$(subvolumes)" = 1 ] && [ "$(inspect '{{.State.Paused}}' db)" = false ]; }

step "a busy database"
btrfs -q subvolume create "$ground/pg"
mkdir "$ground/pg/data"
start_postgres db "$ground/pg/data"
docker exec db pgbench -qi -s 3 -U postgres postgres >/dev/null 2>&1
sql db 'create table ledger (id bigint primary key); create extension amcheck'
docker exec -d db pgbench -U postgres -c 2 -R 300 -T 3600 postgres
# One number after another; the moment at which its commit was acknowledged is noted beside.
# shellcheck disable=SC2016
docker exec -d db bash -c 'for ((id = 1; ; id++)); do echo "insert into ledger values ($id) returning id;"; sleep 0.01; done |
  psql -qAtX -U postgres | while read -r id; do [ -z "$id" ] || echo "$id ${EPOCHREALTIME/./}000"; done >/ack/ledger'
wait_for 60 docker exec db grep -qs . /ack/ledger || fail "nothing is written to db"
for round in 1 2; do
  sleep 1
  check "backup $round" "$BYGONE" backup db --consistency snapshot
  says "a snapshot of the file system, frozen for"
  check_equal "its class" "$(newest db consistency)" snapshot
  check "its window is recorded" python3 -c 'import sys; sys.exit(not 0 < float(sys.argv[1]) < 10000)' "$(newest db window_ms)"
  printf '%s %s\n' "$(newest db id)" "$(newest db instant_ns)" >>"$WORK/taken"
  next_second
done
check_equal "it runs" "$(inspect '{{.State.Status}}' db)" running
nothing_left 1
check_equal "its folder is root's alone" "$(stat -c '%a %u' "$room")" "700 0"

step "killed at any point"
# With a little more to read each time, so that a kill meets a snapshot that is being read, too.
left=0
docker exec db bash -c "head -c 60000000 /dev/urandom >$data/junk"
for ms in 0 50 200; do
  docker exec db bash -c "head -c 20000000 /dev/urandom >$data/junk.$ms"
  coproc events { exec docker events --filter container=db --filter event=pause --format '{{.Action}}'; }
  sleep 0.3
  "$BYGONE" backup db --consistency snapshot >"$OUT" 2>"$ERR" &
  backup=$!
  # shellcheck disable=SC2154  # coproc sets it
  if read -r -t 60 -u "${events[0]}" _; then
    sleep "$(printf '0.%03d' "$ms")"
    kill -9 "$backup" 2>/dev/null || true
  fi
  wait "$backup" || true
  # shellcheck disable=SC2154
  kill "$events_PID" || true
  wait "$events_PID" || true
  [ "$(subvolumes)" = 1 ] || left=$((left + 1))
  case $ms in
    0) check "bygone thaw" "$BYGONE" thaw ;;
    50) check "the next backup" "$BYGONE" backup db --consistency freeze ;;
    *)
      "$BYGONE" daemon >"$OUT" 2>"$ERR" &
      daemon=$!
      wait_for 15 nobody_left || fail "the daemon deletes nothing"
      kill "$daemon"
      wait "$daemon" || true
      ;;
  esac
  check_equal "the database runs" "$(inspect '{{.State.Status}}' db)" running
  nothing_left 1
done
[ "$left" -gt 0 ] || fail "no kill met a snapshot: this proves nothing"
ok "$left of them had left a snapshot"
docker exec db bash -c "rm $data/junk*"

step "what is not ours stays"
btrfs -q subvolume snapshot -r "$ground/pg" "$room/by-hand"
btrfs -q subvolume create "$room/00112233445566778899aabbccddeeff"
uuid=$(btrfs filesystem show "$ground" | sed -n 's/.*uuid: //p' | tr -d -)
origin=$(btrfs subvolume show "$ground/pg" | sed -n 's/^[[:space:]]*UUID:[[:space:]]*//p' | tr -d -)
mkdir -p "$BYGONE_STATE_DIR/snapshots"
printf 'bygone snapshot journal 1\ntime 1\nsnapshot %s %s 00112233445566778899aabbccddeeff %s\nend 1\n' \
  "$uuid" "$room" "$origin" >"$BYGONE_STATE_DIR/snapshots/0.journal"
expect 1 "$BYGONE" thaw
says "is not the snapshot that was made there: it stays"
check_equal "both are there" "$(find "$room" -mindepth 1 -maxdepth 1 | wc -l)" 2
rm "$BYGONE_STATE_DIR/snapshots/0.journal"
btrfs -q subvolume delete "$room"/* >/dev/null

step "every snapshot boots clean"
docker exec db cat /ack/ledger >"$WORK/ledger"
docker rm -fv db >/dev/null
boots() { # ID NANOSECONDS
  local copy=copy-$1 root=$WORK/copy-$1 last
  last=$(awk -v until="$2" '$2 < until {id = $1} END {print id + 0}' "$WORK/ledger")
  [ "$last" -gt 0 ] || fail "nothing was committed before: this proves nothing"
  quietly "$BYGONE" restore "db@id:$1" "$root"
  start_postgres "$copy" "$(echo "$root"/*)"
  check "$copy: pg_amcheck" docker exec "$copy" pg_amcheck -U postgres --all --heapallindexed
  check_equal "$copy: all $last rows from before are there" \
    "$(sql "$copy" "select count(*) from ledger where id <= $last")" "$last"
  check_equal "$copy: the accounts add up" "$(sql "$copy" 'select (select sum(abalance) from pgbench_accounts)
    = (select sum(delta) from pgbench_history)')" t
  docker stop "$copy" >/dev/null
  check "$copy: checksums of all pages" docker run --rm --network none --volumes-from "$copy" "$image" pg_checksums --check
  docker rm -fv "$copy" >/dev/null
}
while read -r id instant; do boots "$id" "$instant" </dev/null; done <"$WORK/taken"

step "auto: several subvolumes, a file, a read-only bind elsewhere"
btrfs -q subvolume create "$ground/a"
mkdir "$ground/b" "$WORK/elsewhere"
echo before | tee "$ground/a/file" "$ground/b/file" "$ground/b/conf" "$WORK/elsewhere/file" >/dev/null
mkdir -p "$ground/engine/inside"
mount --bind "$ground/engine" "$ground/engine" # as an engine does with its data root
echo before >"$ground/engine/inside/file"
docker run -d --name many --network none -v "$ground/engine/inside:/inside" -v "$ground/a:/a" -v "$ground/b:/b" -v "$ground/b/conf:/etc/conf" \
  -v "$WORK/elsewhere:/elsewhere:ro" tools bash -c 'while :; do echo x >>/a/log; echo x >>/b/log; sleep 0.01; done' >/dev/null
wait_for 30 test -s "$ground/b/log"
check "backup" "$BYGONE" backup many
check_equal "its class" "$(newest many consistency)" snapshot
nothing_left 2
quietly "$BYGONE" restore many "$WORK/many"
check_equal "all files" "$(find "$WORK/many" -name file -exec cat {} + | sort | uniq -c | xargs)" "4 before"
check_equal "the file" "$(find "$WORK/many" -name '*conf' -type f -exec cat {} + | sort | uniq -c | xargs)" "2 before"
lines() { wc -l <"$WORK/many/$1/log"; }
behind=$(($(lines a) - $(lines b)))
check_equal "of one moment: a is ahead of b by one line at most" "$((behind == 0 || behind == 1))" 1
check "the next one" "$BYGONE" backup many --json
check_equal "what did not change is known by its times" "$(python3 -c '
import json, sys
print([s for s in map(json.loads, sys.stdin) if s["message_type"] == "summary"][0]["files_new"])' <"$OUT")" 0

step "a nested subvolume, and a volume elsewhere: frozen"
btrfs -q subvolume create "$ground/a/nested"
echo inside >"$ground/a/nested/file"
check "backup" "$BYGONE" -v backup many
says "no snapshot by the file system, but a freeze: .*the subvolume nested is nested in it"
check_equal "its class" "$(newest many consistency)" freeze
quietly "$BYGONE" restore many "$WORK/nested"
check_equal "nothing is missing" "$(cat "$WORK/nested/a/nested/file")" inside
# The roots of both subvolumes have the same inode number.
mount_repository
check_silent "nor in the mount" tree_difference "$ground/a/" "$MNT/many/latest/a/" --exclude log
expect 1 "$BYGONE" backup many --consistency snapshot
says "the subvolume nested is nested in it.*hint: --consistency freeze"
docker rm -fv many >/dev/null
docker run -d --name plain --network none -v "$WORK/elsewhere:/data" tools sleep infinity >/dev/null
expect 1 "$BYGONE" backup plain --consistency snapshot
says "is not on a btrfs.*hint: --consistency freeze"
check "auto" "$BYGONE" backup plain
check_equal "its class" "$(newest plain consistency)" freeze

step "a group, one member on another file system"
docker run -d --name left --network none -l bygone.group=pair -v "$ground/b:/data" tools sleep infinity >/dev/null
docker run -d --name right --network none -l bygone.group=pair -v "$WORK/elsewhere:/data" tools sleep infinity >/dev/null
check "backup" "$BYGONE" backup left right
check_equal "each the best that it can have" "$(newest left consistency) $(newest right consistency)" "snapshot freeze"
check_equal "at one instant" "$(newest left instant)" "$(newest right instant)"
nothing_left 3
docker rm -fv left right plain >/dev/null

step "without the right to delete snapshots: frozen, and none is made"
docker run -d --name held --network none -v "$ground/b:/data" tools sleep infinity >/dev/null
check "backup" setpriv --bounding-set -sys_admin --inh-caps -sys_admin "$BYGONE" -v backup held
says "takes CAP_SYS_ADMIN"
check_equal "its class" "$(newest held consistency)" freeze
nothing_left 3

step "as under systemd, where most is read-only"
sandboxed() { # COMMAND...: nothing of the btrfs can be written to but the state folder
  # shellcheck disable=SC2016
  unshare -m bash -c 'mount --bind "$0/state" "$0/state" && mount -o remount,bind,ro "$0" && exec "$@"' "$ground" "$@"
}
mkdir "$ground/state"
check "backup" sandboxed "$BYGONE" -v backup held
says "no snapshot by the file system, but a freeze: .*Read-only file system"
check "with the state folder on the btrfs" sandboxed env BYGONE_STATE_DIR="$ground/state" "$BYGONE" backup held
check_equal "its class" "$(newest held consistency)" snapshot
check_equal "no snapshot is left" "$(subvolumes)" 3

check "verify --read-data" "$BYGONE" verify --read-data
