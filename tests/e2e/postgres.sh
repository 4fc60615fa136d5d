#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A PostgreSQL that is written to all the time is backed up by freezing it; every snapshot, copied
# out of the mount, starts, passes pg_amcheck and holds what was committed before its freeze. Then
# a backup is killed while the database is frozen, and `bygone thaw` puts it right.
. "$(dirname "$0")/lib.sh"

start_engine
"$HERE/make-db-image" || skip "the database images could not be made (no package mirror?)"
new_repository
image=bygone-test/postgres:15
data=/var/lib/postgresql/data

start_postgres() { # NAME DATA [DOCKER OPTION...]
  local name=$1 from=$2
  shift 2
  docker run -d --name "$name" --network none --tmpfs /ack:mode=1777 \
    -e POSTGRES_PASSWORD=only-a-test -v "$from:$data" "$@" "$image" -c max_wal_size=256MB >/dev/null
  wait_for 60 docker exec "$name" pg_isready -q -U postgres || fail "$name does not come up" 1
}
sql() { docker exec "$1" psql -qAtX -U postgres -c "$2"; } # CONTAINER STATEMENT

step "a database under load"
start_postgres db pgdata
docker exec db pgbench -qi -s 10 -U postgres postgres >/dev/null 2>&1
sql db 'create table ledger (id bigint primary key); create extension amcheck'
docker exec -d db bash -c 'pgbench -U postgres -c 4 -T 3600 -P 1 postgres 2>/ack/pgbench.log'
# One row after another; the moment at which its commit was acknowledged is noted beside.
docker exec -d db bash -c '
  for ((id = 1; ; id++)); do
    psql -qX -U postgres -c "insert into ledger values ($id)" && echo "$id $(date +%s%N)" >>/ack/ledger
  done'
progress() { docker exec db grep -c '^progress' /ack/pgbench.log; }
at_work() { [ "$(progress)" -ge "$1" ]; }
wait_for 60 at_work 4 || fail "pgbench does not run"

backup_under_load() {
  local before
  before=$(progress)
  check "backup of the running database" "$BYGONE" backup db --consistency freeze
  check_equal "it is running" "$(inspect '{{.State.Status}}' db)" running
  check_equal "the snapshot is consistent" "$(newest db consistency)" freeze
  wait_for 60 at_work $((before + 3)) || fail "pgbench went no further after the backup"
  if docker exec db grep -E 'abort|error' /ack/pgbench.log; then fail "pgbench saw an error"; fi
}
backup_under_load
first_instant=$(newest db instant_ns)
next_second
backup_under_load
second_instant=$(newest db instant_ns)
docker exec db cat /ack/ledger >"$WORK/ledger"

step "every snapshot boots"
mount_repository
mapfile -t listed < <(instants db)
check_equal "two instants are listed" "${#listed[@]}" 2

boot_copy() { # INSTANT NANOSECONDS
  local copy=$WORK/copy-$2 last
  last=$(awk -v until="$2" '$2 < until {id = $1} END {print id + 0}' "$WORK/ledger")
  [ "$last" -gt 0 ] || fail "nothing was committed before $1: this proves nothing"
  mkdir "$copy"
  check "$1: rsync out of the mount" rsync -aHAX "$MNT/db/$1/pgdata/" "$copy/"
  check_silent "$1: the copy is the snapshot" tree_difference "$MNT/db/$1/pgdata/" "$copy/"
  start_postgres second "$copy"
  check "$1: pg_amcheck" docker exec second pg_amcheck -U postgres --all --heapallindexed
  check_equal "$1: all $last transactions from before the freeze are there" \
    "$(sql second "select count(*) from ledger where id <= $last")" "$last"
  check_equal "$1: the accounts add up" "$(sql second 'select (select sum(abalance) from pgbench_accounts)
    = (select sum(delta) from pgbench_history)')" t
  docker rm -f second >/dev/null
}
boot_copy "${listed[0]}" "$first_instant"
boot_copy "${listed[1]}" "$second_instant"

step "a recovery container sees a snapshot"
instant=$(date -d "${listed[1]}" +%Y-%m-%dT%H-%M-%S)
check "docker run -v MNT/db/$instant/pgdata:/restore:ro" docker run --rm --network none \
  --entrypoint cat -v "$MNT/db/$instant/pgdata:/restore:ro" "$image" /restore/PG_VERSION
check_equal "it is PostgreSQL 15's" "$(cat "$OUT")" 15
check "and it cannot write" docker run --rm --network none --entrypoint bash \
  -v "$MNT/db/$instant/pgdata:/restore:ro" "$image" -c '! touch /restore/x 2>/dev/null'

step "killed while frozen"
docker run -d --name other --network none -v otherdata:/data tools sleep infinity >/dev/null
docker pause other >/dev/null
# A kill can come too late; then the next round tries again, with more to do under the freeze.
killed=no
for round in 1 2 3 4 5 6 7 8; do
  docker exec -d db pgbench -qi -s $((round * 10)) -U postgres postgres
  sleep 1
  coproc events { exec docker events --filter container=db --filter event=pause --format '{{.Action}}'; }
  sleep 0.3
  "$BYGONE" backup db --consistency freeze >"$OUT" 2>"$ERR" &
  backup=$!
  # shellcheck disable=SC2154  # coproc sets it
  if read -r -t 60 -u "${events[0]}" _; then kill -9 "$backup" || true; fi
  wait "$backup" || true
  # shellcheck disable=SC2154
  kill "$events_PID" || true
  wait "$events_PID" || true
  if [ "$(inspect '{{.State.Paused}}' db)" = true ]; then
    killed=yes
    break
  fi
done
check_equal "the database is frozen and nobody is left to thaw it" "$killed" yes
check "bygone thaw" "$BYGONE" thaw
check_equal "the database runs" "$(inspect '{{.State.Status}}' db)" running
check_equal "what somebody else paused is still paused" "$(inspect '{{.State.Status}}' other)" paused
check "it answers" sql db 'select 1'
check "thaw again has nothing to do" "$BYGONE" thaw

step "a paused container is backed up and stays paused"
check "backup of the paused container" "$BYGONE" backup other
check_equal "it is still paused" "$(inspect '{{.State.Status}}' other)" paused
check "backup of the database after all that" "$BYGONE" backup db --consistency freeze
check "verify --read-data" "$BYGONE" verify --read-data
