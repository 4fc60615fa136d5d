#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Databases that are written to all the time are backed up several times in a row, in each
# consistency class; every snapshot, restored, boots clean: its engine's own check passes, and what
# was acknowledged before the snapshot's instant is there.
#
#   BYGONE_E2E_ROUNDS    snapshots in a row of each database and class, default 2
#   BYGONE_E2E_CLASSES   of native, freeze, snapshot, stop, default native and freeze; with
#                        snapshot, the data is on a btrfs
#   BYGONE_E2E_SCALE     of pgbench, default 3: 16 MB each
. "$(dirname "$0")/lib.sh"

rounds=${BYGONE_E2E_ROUNDS:-2}
classes=${BYGONE_E2E_CLASSES:-native freeze}
scale=${BYGONE_E2E_SCALE:-3}

start_engine
"$HERE/make-db-image" || skip "the database images could not be made (no package mirror?)"
new_repository
ground=$WORK/data
mkdir "$ground"
if [[ $classes = *snapshot* ]]; then
  if command -v mkfs.btrfs >/dev/null && truncate -s 4G "$WORK/btrfs.img" && mkfs.btrfs -q "$WORK/btrfs.img" &&
    mount -o loop "$WORK/btrfs.img" "$ground"; then
    ok "the data is on a btrfs"
  else
    echo "LEFT OUT: snapshot: there is no btrfs here"
    classes=${classes/snapshot/}
  fi
fi

databases=(pg maria aof rdb lite)
[ "$classes" != native ] || databases=(pg) # nobody else has it
declare -A image_of=([pg]=postgres:15 [maria]=mariadb:10.11 [aof]=redis:7 [rdb]=redis:7 [lite]=sqlite:3)
declare -A folder_of=([pg]=/var/lib/postgresql/data [maria]=/var/lib/mysql [aof]=/data [rdb]=/data [lite]=/data)

# Starts a database on a folder: run DATABASE CONTAINER FROM.
run() {
  local arguments=() command=()
  mkdir -p "$3"
  case $1 in
    pg)
      arguments=(-e POSTGRES_PASSWORD=only-a-test -e "POSTGRES_INITDB_ARGS=--data-checksums --no-sync")
      command=(-c max_wal_size=64MB)
      ;;
    maria) arguments=(-e MARIADB_ROOT_PASSWORD=only-a-test -e MARIADB_DATABASE=test -e MYSQL_PWD=only-a-test) ;;
    aof) command=(redis-server --appendonly yes --appendfsync always --auto-aof-rewrite-min-size 64kb) ;;
    rdb) command=(redis-server --save "1 1") ;;
    lite) command=(bash -c 'trap exit TERM; sleep infinity & wait') ;;
  esac
  docker run -d --name "$2" --network none --tmpfs /ack:mode=1777 -v "$3:${folder_of[$1]}" \
    "${arguments[@]}" "bygone-test/${image_of[$1]}" "${command[@]}" >/dev/null
}

# Whether it answers: up DATABASE CONTAINER.
up() {
  case $1 in
    pg) docker exec "$2" pg_isready -q -U postgres ;;
    maria) docker exec "$2" mariadb -e 'select 1' ;;
    aof | rdb) docker exec "$2" redis-cli ping | grep -q PONG ;;
    lite) return 0 ;;
  esac
}

# One answer: ask DATABASE CONTAINER QUESTION.
ask() {
  case $1 in
    pg) docker exec "$2" psql -qAtX -U postgres -c "$3" ;;
    maria) docker exec "$2" mariadb -N test -e "$3" ;;
    aof | rdb) docker exec "$2" bash -c 'redis-cli --raw <<<"$1"' _ "$3" ;;
    lite) docker exec "$2" sqlite3 /data/app.db "$3" ;;
  esac
}

# --- the load -----------------------------------------------------------------------------------
# A client writes one number after the other, each in a transaction with something else; the moment
# at which a commit was acknowledged is noted beside, on a tmpfs.

# shellcheck disable=SC2016  # bash of the container
noted='while read -r id; do [ -z "$id" ] || echo "$id ${EPOCHREALTIME/./}000"; done >/ack/ledger'
# statements STATEMENT FIRST: it with FIRST and what follows in place of @, at most a hundred a second.
# shellcheck disable=SC2016
statements='exec {idle}<> <(:); for ((id = $1; ; id++)); do echo "${0//@/$id}"; read -t 0.01 -u "$idle"; done'

create() { # DATABASE
  case $1 in
    pg)
      docker exec pg pgbench -qi -s "$scale" -U postgres postgres >"$WORK/pgbench" 2>&1
      ask pg pg 'create table ledger (id bigint primary key); create extension amcheck'
      ;;
    maria)
      ask maria maria 'create table ledger (id bigint primary key, note char(36), key (note));
        create table sums (total bigint); insert into sums values (0)'
      ;;
    lite)
      ask lite lite 'pragma journal_mode = wal; create table ledger (id integer primary key, note text unique);
        create table sums (total integer); insert into sums values (0)' >/dev/null
      ;;
  esac
}

write() { # DATABASE
  local statement client last='select coalesce(max(id), 0) from ledger'
  case $1 in
    pg)
      statement='insert into ledger values (@) returning id;'
      client='psql -qAtX -U postgres'
      # -n: or it would empty the history when it begins anew after a stop.
      docker exec -d pg pgbench -n -U postgres -c 2 -R 400 -T 36000 postgres
      ;;
    maria)
      statement='begin; insert into ledger values (@, uuid()); update sums set total = total + @; commit; select @;'
      client='mariadb -N --unbuffered test'
      ;;
    aof | rdb)
      # The script is a transaction, and its answer the number.
      statement='eval "redis.call('"'SET', 'last', ARGV[1]) redis.call('RPUSH', 'ledger', ARGV[1]) return ARGV[1]"'" 0 @'
      client='redis-cli --raw'
      last='GET last'
      ;;
    lite)
      statement='begin; insert into ledger values (@, hex(randomblob(200))); update sums set total = total + @; commit; select @;'
      client='stdbuf -oL sqlite3 /data/app.db'
      ;;
  esac
  docker exec -d "$1" bash -c "bash -c '$statements' \"\$0\" \"\$1\" | $client | $noted" \
    "$statement" $(($(ask "$1" "$1" "$last") + 1))
  wait_for 60 written "$1" || fail "nothing is written to $1" 1
}
written() { docker exec "$1" grep -qs . /ack/ledger; } # DATABASE

# Keeps what was noted; it goes with a container's stop. Not through `docker exec`, whose output may
# be cut off when the command ends.
keep_ledger() { cat "/proc/$(inspect '{{.State.Pid}}' "$1")/root/ack/ledger" >>"$WORK/ledger.$1"; } # DATABASE

# --- the proof ----------------------------------------------------------------------------------

# The engine's own check of a running copy, and what the load must have left: prove DATABASE CONTAINER LAST,
# where LAST is the last number that was acknowledged before the instant.
prove() {
  local db=$1 copy=$2 last=$3
  case $db in
    pg)
      check "$copy: pg_amcheck" docker exec "$copy" pg_amcheck -U postgres --all --heapallindexed
      check_equal "$copy: the accounts add up" "$(ask pg "$copy" 'select (select sum(abalance) from pgbench_accounts)
        = (select sum(delta) from pgbench_history)')" t
      check_equal "$copy: $last acknowledged rows" "$(ask pg "$copy" "select count(*) from ledger where id <= $last")" "$last"
      docker stop "$copy" >/dev/null
      check "$copy: checksums of all pages" docker run --rm --network none --volumes-from "$copy" \
        "bygone-test/${image_of[pg]}" pg_checksums --check
      ;;
    maria)
      check "$copy: mariadb-check" docker exec "$copy" mariadb-check --all-databases --check --extended
      if grep -vE ' OK$' "$OUT"; then fail "$copy: mariadb-check complains"; fi
      check_equal "$copy: $last acknowledged rows" "$(ask maria "$copy" "select count(*) from ledger where id <= $last")" "$last"
      check_equal "$copy: the sum is that of the rows" \
        "$(ask maria "$copy" 'select total = (select sum(id) from ledger) from sums')" 1
      ;;
    aof | rdb)
      local count
      count=$(ask "$db" "$copy" 'GET last')
      check_equal "$copy: the list is as long as its last number says" "$(ask "$db" "$copy" 'LLEN ledger')" "$count"
      check_equal "$copy: it ends with it" "$(ask "$db" "$copy" 'LINDEX ledger -1')" "$count"
      # With an append-only file each answer is on disk; without it, what the last dump of its own had.
      [ "$count" -ge "$last" ] || fail "$copy: $count, and $last was acknowledged"
      ok "$copy: $count, $last or more"
      ;;
    lite)
      check_equal "$copy: integrity_check" "$(ask lite "$copy" 'pragma integrity_check')" ok
      check_equal "$copy: $last acknowledged rows" "$(ask lite "$copy" "select count(*) from ledger where id <= $last")" "$last"
      check_equal "$copy: the sum is that of the rows" \
        "$(ask lite "$copy" 'select total = (select sum(id) from ledger) from sums')" 1
      ;;
  esac
}

# Restores a snapshot, checks its files where an engine has a tool for that, and boots it.
boots() { # DATABASE ID NANOSECONDS
  local db=$1 id=$2 instant=$3 copy=$1-$2 last root=$WORK/copies/$1-$2 data
  last=$(awk -v until="$instant" '$2 < until {id = $1} END {print id + 0}' "$WORK/ledger.$db")
  [ "$last" -gt 0 ] ||
    fail "$db: of $(wc -l <"$WORK/ledger.$db") numbers, $(head -n 1 "$WORK/ledger.$db") being the first, none was acknowledged before $id, taken at '$instant': this proves nothing"
  quietly "$BYGONE" restore "$db@id:$id" "$root"
  data=$(echo "$root"/*)
  case $db in
    aof)
      check "$copy: redis-check-aof" docker run --rm --network none -v "$data:/data" "bygone-test/${image_of[aof]}" \
        bash -c 'redis-check-aof /data/appendonlydir/*.manifest'
      ;;
    rdb)
      check "$copy: redis-check-rdb" docker run --rm --network none -v "$data:/data:ro" "bygone-test/${image_of[rdb]}" \
        redis-check-rdb /data/dump.rdb
      last=1
      ;;
  esac
  run "$db" "$copy" "$data"
  wait_for 60 up "$db" "$copy" || { docker logs "$copy" | tail -n 20; fail "$copy does not come up"; }
  prove "$db" "$copy" "$last"
  docker rm -fv "$copy" >/dev/null
  rm -rf -- "$root"
}

# Runs a function for all databases at once, and shows what each said: at_once FUNCTION DATABASE...
at_once() {
  local function=$1 db failed=
  shift
  declare -A jobs
  for db in "$@"; do
    (OUT=$WORK/out.$db ERR=$WORK/err.$db && "$function" "$db") >"$WORK/said.$db" 2>&1 </dev/null &
    jobs[$db]=$!
  done
  for db in "$@"; do
    wait "${jobs[$db]}" || failed+=" $db"
    cat "$WORK/said.$db"
  done
  [ -z "$failed" ] || fail "$function:$failed" 1
}

step "databases under load"
begin() { # DATABASE
  run "$1" "$1" "$ground/$1"
  wait_for 120 up "$1" "$1" || fail "$1 does not come up"
  create "$1"
  write "$1"
}
# After it was stopped and started.
go_on() { # DATABASE
  wait_for 60 up "$1" "$1" || fail "$1 does not come up again"
  write "$1"
}
at_once begin "${databases[@]}"

# The databases that have a class: all but native, which is PostgreSQL's.
having() { if [ "$1" = native ]; then echo pg; else echo "${databases[*]}"; fi; }

for class in $classes; do
  step "$rounds snapshots in a row: $class"
  for ((round = 1; round <= rounds; round++)); do
    for db in $(having "$class"); do
      [ "$class" != stop ] || keep_ledger "$db"
      quietly "$BYGONE" backup "$db" --consistency "$class"
      check_equal "$round of $db" "$(newest "$db" consistency)" "$class"
      echo "$class $(newest "$db" id) $(newest "$db" instant_ns)" >>"$WORK/taken.$db"
    done
    [ "$class" != stop ] || at_once go_on "${databases[@]}"
  done
done

step "every one boots clean"
for db in "${databases[@]}"; do keep_ledger "$db"; done
docker rm -fv "${databases[@]}" >/dev/null
boot_all() { # DATABASE
  local class id instant
  while read -r class id instant; do
    boots "$1" "$id" "$instant"
    printf 'ok: %s, %s: %s boots clean\n' "$1" "$class" "$id"
  done <"$WORK/taken.$1"
}
at_once boot_all "${databases[@]}"
check "verify --read-data" "$BYGONE" verify --read-data
