#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# PostgreSQL in its own backup mode: nobody is paused, and a restored snapshot boots by itself with
# all that was committed before the mode's end. With the WAL and a tablespace in volumes of their own;
# where the mode is not to be had, the containers are frozen, with the reason; killed midway, bygone
# leaves nothing behind in the database.
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

never_paused() { # CONTAINER...
  check_equal "nobody was paused" "$(docker events --since 0 --until "$(date +%s)" --filter event=pause | wc -l)" 0
}

step "a database that does not stand still"
start_postgres db -v "pgdata:$data" -- -c archive_mode=on -c 'archive_command=false'
sql db "select pg_create_physical_replication_slot('standby', true)" >/dev/null
load db
for round in 1 2 3; do
  sleep 1
  check "backup $round" "$BYGONE" backup db
  says "in the database's backup mode"
  check_equal "its class" "$(newest db consistency)" native
  printf '%s %s\n' "$(newest db id)" "$(newest db instant_ns)" >>"$WORK/taken"
  next_second
done
never_paused
check_equal "no slot of ours is left" "$(sql db 'select slot_name from pg_replication_slots')" standby
docker exec db cat /ack/ledger >"$WORK/ledger.db"

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
