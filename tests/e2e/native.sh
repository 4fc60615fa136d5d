#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# PostgreSQL in its own backup mode: nobody is paused, and a restored snapshot boots by itself with
# all that was committed before the mode's end. With the WAL and a tablespace in volumes of their own;
# in a group with somebody who follows it; where the mode is not to be had, the containers are
# frozen, with the reason; killed midway, bygone leaves nothing behind in the database.
. "$(dirname "$0")/lib.sh"

start_engine
"$HERE/make-db-image" || skip "the database images could not be made (no package mirror?)"
new_repository
image=bygone-test/postgres:15
data=/var/lib/postgresql/data

start_postgres() { # NAME [DOCKER OPTION...] [-- SERVER OPTION...]
  local name=$1 options=()
  shift
  while [ $# -gt 0 ] && [ "$1" != -- ]; do options+=("$1") && shift; done
  [ $# = 0 ] || shift
  docker run -d --name "$name" --network none --tmpfs /ack:mode=1777 -e POSTGRES_PASSWORD=only-a-test \
    -e "POSTGRES_INITDB_ARGS=--data-checksums --no-sync ${INITDB:-}" "${options[@]}" "$image" \
    -c max_wal_size=64MB "$@" >/dev/null
  wait_for 60 docker exec "$name" pg_isready -q -U postgres || fail "$name does not come up" 1
}
sql() { docker exec "$1" psql -qAtX -U "${DBUSER:-postgres}" -d postgres -c "$2"; } # CONTAINER STATEMENT

# One number after another; the moment at which its commit was acknowledged is noted beside.
load() { # CONTAINER
  docker exec "$1" pgbench -qi -s "${2:-3}" -U "${DBUSER:-postgres}" postgres >/dev/null 2>&1
  sql "$1" 'create table ledger (id bigint primary key); create extension amcheck'
  docker exec -d "$1" pgbench -U "${DBUSER:-postgres}" -c 2 -R 300 -T 3600 postgres
  # shellcheck disable=SC2016
  docker exec -d "$1" bash -c 'for ((id = 1; ; id++)); do echo "insert into ledger values ($id) returning id;"; sleep 0.01; done |
    psql -qAtX -U "$0" -d postgres | while read -r id; do [ -z "$id" ] || echo "$id ${EPOCHREALTIME/./}000"; done >/ack/ledger' \
    "${DBUSER:-postgres}"
  wait_for 60 docker exec "$1" grep -qs . /ack/ledger || fail "nothing is written to $1" 1
}

# A restored copy in the folder ROOT runs as NAME: what its snapshot of NANOSECONDS must have.
prove() { # COPY SOURCE NANOSECONDS
  local last
  last=$(awk -v until="$3" '$2 < until {id = $1} END {print id + 0}' "$WORK/ledger.$2")
  [ "$last" -gt 0 ] || fail "nothing was committed before: this proves nothing"
  check "$1: pg_amcheck" docker exec "$1" pg_amcheck -U "${DBUSER:-postgres}" --all --heapallindexed
  check_equal "$1: all $last rows from before the end are there" \
    "$(sql "$1" "select count(*) from ledger where id <= $last")" "$last"
  check_equal "$1: the accounts add up" "$(sql "$1" 'select (select sum(abalance) from pgbench_accounts)
    = (select sum(delta) from pgbench_history)')" t
  docker stop "$1" >/dev/null
  check "$1: checksums of all pages" docker run --rm --network none --volumes-from "$1" "${@:4}" "$image" pg_checksums --check
  docker rm -fv "$1" >/dev/null
}

# Commits one number after another, and passes each on when its commit is acknowledged.
pass_on() { # CONTAINER
  # shellcheck disable=SC2016
  docker exec -d "$1" bash -c 'coproc PSQL { psql -qAtX -U postgres -d postgres; }; for ((id = 1; ; id++)); do
    echo "insert into ledger values ($id) returning id;" >&"${PSQL[1]}"; read -r done <&"${PSQL[0]}"
    echo "$done" >/bus/new; mv /bus/new /bus/n; done'
}

never_paused() { # CONTAINER...
  check_equal "nobody was paused" "$(docker events --since 0 --until "$(date +%s)" --filter event=pause | wc -l)" 0
}

step "a database that does not stand still"
start_postgres db -v "pgdata:$data" -- -c archive_mode=on -c 'archive_command=false'
sql db "select pg_create_physical_replication_slot('standby', true)" >/dev/null
load db
for round in 1 2; do
  sleep 1
  check "backup $round" "$BYGONE" backup db
  says "in the database's backup mode"
  check_equal "its class" "$(newest db consistency)" native
  printf '%s %s\n' "$(newest db id)" "$(newest db instant_ns)" >>"$WORK/taken"
  next_second
done
never_paused
check_equal "no slot of ours is left" "$(sql db 'select slot_name from pg_replication_slots')" standby

step "killed midway"
session() { sql db "select 1 from pg_stat_activity where application_name = 'bygone'"; }
in_backup() { [ -n "$(sql db "select 1 from pg_replication_slots where slot_name like 'bygone%'")" ]; }
gone() { [ -z "$(session)" ] && ! in_backup; }
killed=no
for _ in 1 2 3 4 5; do
  "$BYGONE" backup db --rescan >"$OUT" 2>"$ERR" &
  backup=$!
  while kill -0 "$backup" 2>/dev/null && ! in_backup; do :; done
  kill -9 "$backup" 2>/dev/null && killed=yes
  wait "$backup" || true
  [ "$killed" = no ] || break
done
check_equal "bygone was killed in backup mode" "$killed" yes
wait_for 30 gone || fail "its session goes on"
ok "the database has left backup mode by itself"
check "the next backup" "$BYGONE" backup db
says "in the database's backup mode"
printf '%s %s\n' "$(newest db id)" "$(newest db instant_ns)" >>"$WORK/taken"
docker exec db cat /ack/ledger >"$WORK/ledger.db"
docker rm -fv db >/dev/null

step "every snapshot boots by itself"
while read -r id instant; do
  root=$WORK/copy-$id
  quietly "$BYGONE" restore "db@id:$id" "$root"
  for gone in postmaster.pid postmaster.opts pg_replslot/standby; do
    [ ! -e "$root/pgdata/$gone" ] || fail "$gone was captured"
  done
  check_equal "the label has an owner" "$(stat -c '%u %a' "$root/pgdata/backup_label")" \
    "$(stat -c '%u %a' "$root/pgdata/PG_VERSION")"
  segments=$(find "$root/pgdata/pg_wal" -maxdepth 1 -name '0*' | wc -l)
  [ "$segments" -le 8 ] || fail "$segments segments of WAL for a backup of seconds"
  start_postgres "copy-$id" -v "$root/pgdata:$data" </dev/null
  docker logs "copy-$id" >"$OUT" 2>"$ERR" </dev/null
  says 'consistent recovery state reached'
  prove "copy-$id" db "$instant" </dev/null
done <"$WORK/taken"

step "in a group"
# It writes down what the database has committed. The mode ends while it stands still, so that the
# database of an instant has all that its file names.
docker run -d --name follower --network none --label bygone.group=shop --label bygone.volumes.exclude=bus \
  -v follower:/data -v bus:/bus tools bash -c "$FOLLOW" >/dev/null
start_postgres shop --label bygone.group=shop --label bygone.volumes.exclude=bus -v "shop:$data" -v bus:/bus
sql shop 'create table ledger (id bigint primary key)'
docker exec shop chmod 777 /bus
pass_on shop
wait_for 20 docker exec follower ls /data/log || fail "nothing reaches the follower"
for round in 1 2 3; do
  check "backup $round" "$BYGONE" backup shop follower
  next_second
done
check_equal "one in its backup mode, the other frozen" "$(newest shop consistency) $(newest follower consistency)" \
  "native freeze"
docker rm -fv shop follower >/dev/null
for back in '' '~1' '~2'; do
  quietly "$BYGONE" restore "shop@latest$back" "$WORK/shop$back"
  named=$("$BYGONE" cat "follower@latest$back:/data/log" | tail -n 1)
  start_postgres copy-shop -v "$WORK/shop$back/shop:$data"
  has=$(sql copy-shop 'select max(id) from ledger')
  [ "$has" -ge "$named" ] || fail "the follower knows of $named, the database only of $has"
  ok "the database has $((has - named)) rows more than the follower knows of"
  docker rm -fv copy-shop >/dev/null
done

step "two databases in a group"
# The second one is given only what the first one has committed. One of them ends its backup mode
# while the other stands still.
for name in first second; do
  start_postgres "$name" --label bygone.group=two --label bygone.volumes.exclude=bus2 -v "$name:$data" -v bus2:/bus
  sql "$name" 'create table ledger (id bigint primary key)'
done
docker exec first chmod 777 /bus
pass_on first
# shellcheck disable=SC2016
docker exec -d second bash -c 'seen=; coproc PSQL { psql -qAtX -U postgres -d postgres; }; while :; do
  read -r n </bus/n && [ "$n" != "$seen" ] || continue
  echo "insert into ledger values ($n) returning id;" >&"${PSQL[1]}"; read -r seen <&"${PSQL[0]}"; done'
has_rows() { [ -n "$(sql second 'select id from ledger limit 1')" ]; }
wait_for 20 has_rows || fail "nothing reaches the second"
for round in 1 2 3; do
  check "backup $round" "$BYGONE" backup first second
  next_second
done
check_equal "one in its backup mode, the other frozen" \
  "$(printf '%s\n' "$(newest first consistency)" "$(newest second consistency)" | sort | xargs)" "freeze native"
docker rm -fv first second >/dev/null
for back in '' '~1' '~2'; do
  for name in first second; do
    quietly "$BYGONE" restore "$name@latest$back" "$WORK/two$back/$name"
    start_postgres "copy-$name" -v "$WORK/two$back/$name/$name:$data"
  done
  first=$(sql copy-first 'select max(id) from ledger')
  second=$(sql copy-second 'select max(id) from ledger')
  [ "$second" -le "$first" ] || fail "the second has $second, the first only $first"
  ok "the second has nothing that the first lacks ($second, $first)"
  docker rm -fv copy-first copy-second >/dev/null
done

step "WAL and a tablespace in volumes of their own, another user, below the root"
mkdir -p "$WORK/"{wal,ts/fast,cluster}
chown -R 999:999 "$WORK/"{wal,ts}
DBUSER=owner
volumes() { printf '%s\n' -v "$1/cluster:/var/lib/postgresql" -v "$1/wal:/wal" -v "$1/ts:/ts"; } # ROOT
mapfile -t options < <(volumes "$WORK")
options+=(-e POSTGRES_USER=owner -e PGDATA=/var/lib/postgresql/15/main)
INITDB='--waldir=/wal/pg' start_postgres far "${options[@]}"
sql far "create tablespace fast location '/ts/fast'"
load far
sql far 'alter table pgbench_history set tablespace fast'
check "backup" "$BYGONE" backup far --consistency native
instant=$(newest far instant_ns)
docker exec far cat /ack/ledger >"$WORK/ledger.far"

step "without psql it is frozen"
docker exec far rm /usr/bin/psql
check "backup" "$BYGONE" backup far
says 'warning: not captured natively: psql cannot be run'
check_equal "its class" "$(newest far consistency)" freeze
expect 1 "$BYGONE" backup far --consistency native
says 'psql cannot be run in it.*hint: --consistency freeze'
docker rm -fv far >/dev/null

quietly "$BYGONE" restore "far@latest~1" "$WORK/far"
check_equal "it has a map of tablespaces" "$(cut -d' ' -f2 "$WORK/far/var-lib-postgresql/15/main/tablespace_map")" /ts/fast
mv "$WORK/far/var-lib-postgresql" "$WORK/far/cluster"
mapfile -t options < <(volumes "$WORK/far")
options+=(-e POSTGRES_USER=owner -e PGDATA=/var/lib/postgresql/15/main)
start_postgres copy-far "${options[@]}"
prove copy-far far "$instant" -e PGDATA=/var/lib/postgresql/15/main
check "verify --read-data" "$BYGONE" verify --read-data
