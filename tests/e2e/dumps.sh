#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Dumps of real databases: found, made in their containers, seen in the mount, and played into a fresh
# server, whose rows are those of the first. A second dump adds little; one that fails is loud, leaves
# no file, and leaves the volumes theirs. A dump beside a busy database has whole transactions. Any
# command makes a dump, too.
. "$(dirname "$0")/lib.sh"

start_engine
"$HERE/make-db-image" || skip "the database images could not be made (no package mirror?)"
new_repository

# Starts a server: run CONTAINER IMAGE [DOCKER OPTION...] [-- COMMAND...].
run() {
  local name=$1 image=bygone-test/$2 options=()
  shift 2
  while [ $# -gt 0 ] && [ "$1" != -- ]; do
    options+=("$1")
    shift
  done
  docker run -d --name "$name" --network none "${options[@]}" "$image" "${@:2}" >/dev/null
}
pg() { docker exec -i "$1" psql -qAtX -U app -d "$2" "${@:3}"; }                       # CONTAINER DATABASE [OPTION...]
maria() { docker exec -i -e MYSQL_PWD=only-a-test "$1" mariadb -N "${@:2}"; }          # CONTAINER [OPTION...]
redis() { docker exec -i -e REDISCLI_AUTH="only a test" "$1" redis-cli --raw "${@:2}"; } # CONTAINER WORD...
lite() { docker exec -i "$1" sqlite3 "$2" "${@:3}"; }                                  # CONTAINER FILE [STATEMENT]
up() {
  case $1 in
    pg*) docker exec "$1" pg_isready -q -U app -d postgres ;;
    maria*) maria "$1" -e 'select 1' ;;
    redis*) redis "$1" ping | grep -q PONG ;;
    lite*) return 0 ;;
  esac
}
start() { # CONTAINER
  case $1 in
    pg*) run "$1" postgres:15 -e POSTGRES_USER=app -e POSTGRES_PASSWORD=only-a-test -e POSTGRES_INITDB_ARGS=--no-sync ;;
    maria*)
      # The password is in a file, as with Docker's secrets.
      run "$1" mariadb:10.11 -e MARIADB_ROOT_PASSWORD_FILE=/run/secret -v "$WORK/secret:/run/secret:ro"
      ;;
    redis*) run "$1" redis:7 "${@:2}" -- redis-server --appendonly yes --requirepass "only a test" ;;
    lite*) run "$1" sqlite:3 -v "$1:/data" -- bash -c 'trap exit TERM; sleep infinity & wait' ;;
  esac
}
echo only-a-test >"$WORK/secret"

step "databases with something in them"
databases=(pg maria redis lite)
for db in "${databases[@]}"; do start "$db"; done
for db in "${databases[@]}"; do wait_for 90 up "$db" || fail "$db does not come up"; done

pg pg postgres <<'SQL'
create role reader login password 'secret'; create database "shop/2; x";
create table plain (id int primary key, note text);
insert into plain select i, md5(i::text) from generate_series(1, 100) i;
SQL
pg pg 'shop/2; x' <<'SQL'
create table items (id int primary key, note text);
insert into items select i, md5(i::text) || md5((i + 1)::text) from generate_series(1, 60000) i;
create function twice(int) returns int language sql as 'select 2 * $1'; grant select on items to reader;
SQL
maria maria <<'SQL'
create database shop; use shop;
create table items (id int primary key, note varchar(80), bits varbinary(16));
insert into items select seq, concat(md5(seq), md5(seq + 1)), unhex(md5(seq)) from seq_1_to_60000;
create procedure hello() select 'hello'; create user reader identified by 'secret'; grant select on shop.* to reader;
create trigger upper before insert on items for each row set new.note = upper(new.note);
SQL
for ((i = 1; i <= 20000; i++)); do printf 'SET key:%s value:%s:%s\n' "$i" "$((i * 7919))" "$((i * 104729))"; done |
  redis redis >/dev/null
redis redis RPUSH list a b c >/dev/null
lite lite /data/app.db "pragma journal_mode = wal; create table items (id integer primary key, note text);
  insert into items select value, hex(value * 7919) from generate_series(1, 20000)" >/dev/null

step "dumped as they are found"
mount_repository
take() { # EXIT OPTION...
  local code=$1 db
  shift
  expect "$code" "$BYGONE" backup "$@"
}
take 0 "${databases[@]}" --dump auto
for db in "${databases[@]}"; do appears "$db"; done
dumps_of() { echo "$MNT/$1/latest/.bygone/dumps"; }
for file in globals.sql postgres.sql app.sql 'shop%2F2; x.sql'; do
  check "pg has $file" test -s "$(dumps_of pg)/$file"
done
check_equal "and nothing else" "$(find "$(dumps_of pg)" -type f | wc -l)" 4
check "maria has mariadb.sql" test -s "$(dumps_of maria)/mariadb.sql"
check "redis has redis.rdb" test -s "$(dumps_of redis)/redis.rdb"
check "lite has app.db.sql" test -s "$(dumps_of lite)/sqlite/lite/app.db.sql"

step "into fresh servers"
copies=(pg2 maria2 lite2)
for db in "${copies[@]}"; do start "$db"; done
cp -- "$(dumps_of redis)/redis.rdb" "$WORK/dump.rdb"
mkdir "$WORK/redis2"
cp -- "$WORK/dump.rdb" "$WORK/redis2/dump.rdb"
run redis2 redis:7 -v "$WORK/redis2:/data" -- redis-server --requirepass "only a test"
copies+=(redis2)
for db in "${copies[@]}"; do wait_for 90 up "$db" || fail "$db does not come up"; done

for file in globals.sql postgres.sql 'shop%2F2; x.sql'; do
  # Of the roles, that of the new server is there already.
  docker exec -i pg2 psql -qX -U app -d postgres <"$(dumps_of pg)/$file" >"$OUT" 2>"$ERR"
  if grep ERROR "$ERR" | grep -v 'role "app" already exists'; then fail "psql complains about $file"; fi
done
question='select count(*), sum(hashtext(note)) from items'
check_equal "PostgreSQL: the rows" "$(pg pg2 'shop/2; x' -c "$question")" "$(pg pg 'shop/2; x' -c "$question")"
check_equal "of the other database, too" "$(pg pg2 postgres -c 'select count(*) from plain')" 100
check_equal "and the functions" "$(pg pg2 'shop/2; x' -c 'select twice(21)')" 42
check_equal "and the rights of a role" "$(pg pg2 'shop/2; x' -c "select has_table_privilege('reader', 'items', 'select')")" t

check "MariaDB: mariadb <mariadb.sql" maria maria2 <"$(dumps_of maria)/mariadb.sql"
question='select count(*), sum(crc32(note)), sum(crc32(bits)) from shop.items'
check_equal "the rows" "$(maria maria2 -e "$question")" "$(maria maria -e "$question")"
check_equal "the procedures" "$(maria maria2 -e 'call shop.hello')" hello
check_equal "the triggers" "$(maria maria2 -e "insert into shop.items values (0, 'abc', ''); select note from shop.items where id = 0")" ABC
check_equal "the users" "$(docker exec -e MYSQL_PWD=secret maria2 mariadb -N -u reader -e "$question" | wc -l)" 1

check_equal "Redis: the keys" "$(redis redis2 DBSIZE)" "$(redis redis DBSIZE)"
check_equal "the values" "$(redis redis2 GET key:12345)" "$(redis redis GET key:12345)"
check_equal "the lists" "$(redis redis2 LRANGE list 0 -1 | tr '\n' ' ')" "a b c "
check "redis-check-rdb" docker exec redis2 redis-check-rdb /data/dump.rdb

check "SQLite: sqlite3 new.db <app.db.sql" lite lite2 /data/new.db <"$(dumps_of lite)/sqlite/lite/app.db.sql"
question='select count(*), sum(id * length(note)) from items'
check_equal "the rows" "$(lite lite2 /data/new.db "$question")" "$(lite lite /data/app.db "$question")"
docker rm -fv "${copies[@]}" >/dev/null

step "the next dump adds little"
pg pg 'shop/2; x' -c "update items set note = 'changed' where id = 30000"
maria maria -e "update shop.items set note = 'changed' where id = 30000"
lite lite /data/app.db "update items set note = 'changed' where id = 10000"
# What a dump adds beyond the volumes: the next backup reads the same volumes, which autovacuum must
# not change in between.
pg pg 'shop/2; x' -c 'vacuum analyze' -c checkpoint
quietly "$BYGONE" backup pg maria lite
take 0 pg maria lite --dump auto
for db in pg maria lite; do
  added=$(newest "$db" data_added)
  [ "$added" -lt 200000 ] || fail "the second dump of $db adds $added bytes"
  ok "the second dump of $db adds $added bytes"
done

step "under load"
pg pg postgres -c 'create database bench'
docker exec pg pgbench -q -i -s 5 -U app bench >/dev/null 2>&1
docker exec pg pgbench -c 4 -T 600 -U app bench >"$WORK/pgbench" 2>&1 &
PIDS+=($!)
transactions() { pg pg bench -c 'select count(*) from pgbench_history'; }
is_busy() { [ "$(transactions)" -gt 500 ]; }
wait_for 30 is_busy || { cat "$WORK/pgbench"; fail "pgbench does nothing"; }
before=$(transactions)
next_second
take 0 pg --dump postgres
after=$(transactions)
[ "$after" -gt $((before + 100)) ] || fail "only $((after - before)) transactions went on beside the backup"
appears pg
start pg3
wait_for 90 up pg3 || fail "pg3 does not come up"
check "psql <bench.sql" docker exec -i pg3 psql -qX -v ON_ERROR_STOP=1 -U app -d postgres <"$(dumps_of pg)/bench.sql"
dumped=$(pg pg3 bench -c 'select count(*) from pgbench_history')
{ [ "$dumped" -ge "$before" ] && [ "$dumped" -le "$after" ]; } || fail "the dump has $dumped transactions, not $before to $after"
ok "of $after transactions the dump has $dumped"
# Each transaction adds the same to one row of each table.
check_equal "and each of them whole" t "$(pg pg3 bench -c "
  select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history)
    and (select sum(bbalance) from pgbench_branches) = (select sum(delta) from pgbench_history)
    and (select sum(tbalance) from pgbench_tellers) = (select sum(delta) from pgbench_history)
    and (select count(*) from pgbench_accounts) = 500000")"
docker rm -fv pg3 >/dev/null
docker exec pg pkill -INT -x pgbench
pg pg postgres -c 'drop database bench with (force)'

step "what fails is loud"
docker exec -e MYSQL_PWD=only-a-test maria mariadb -e "alter user root@localhost identified by 'changed'"
next_second
take 22 maria --dump auto
says 'dump mariadb.sql: exit code 2'
says 'Access denied'
never_says only-a-test
appears maria
check_equal "there is no dump" "$(find "$(dumps_of maria)" -name mariadb.sql)" ""
check "but its reason" grep -q 'Access denied' "$(dumps_of maria)/mariadb.sql.failed"
check "and the volume" test -e "$MNT/maria/latest"/*/ibdata1
"$BYGONE" snapshots maria >"$OUT"
says 'hook or dump failed'

take 22 pg --dump mysql
says 'dump mysql.sql: exit code 2'
# The server is killed in the middle of the dump.
pg pg postgres -c 'create table slow as select repeat(md5(i::text), 2000) as note from generate_series(1, 4000) i'
docker exec -d pg bash -c 'until pkill -KILL -x pg_dump; do sleep 0.01; done'
next_second
take 22 pg --dump postgres
appears pg
check_equal "one dump is missing" "$(find "$(dumps_of pg)" -name '*.failed' | wc -l)" 1
check_equal "the others are there" "$(find "$(dumps_of pg)" -name '*.sql' | wc -l)" 3

step "any command, by label"
own() { # NAME COMMAND
  docker run -d --name "$1" --network none --label "bygone.dump.command=$2" --label bygone.dump.file=own.txt \
    -v "$1:/data" tools bash -c 'echo data >/data/file; sleep infinity' >/dev/null
  wait_for 10 docker exec "$1" bash -c '[ -s /data/file ]' || fail "$1 does not run"
}
# Nothing of what came stands there as a dump, the reason does, and the volume is saved.
is_no_dump() { # NAME REASON
  appears "$1"
  check_equal "$1 has no dump" "$(find "$(dumps_of "$1")" -type f -printf '%f\n')" own.txt.failed
  check "but its reason" grep -qE "$2" "$(dumps_of "$1")/own.txt.failed"
  check_equal "and the volume" "$(cat "$MNT/$1/latest/$1/file")" data
}
own good 'bash -c "cat /data/file; seq 100000"'
take 0 good
appears good
check_equal "what it printed is the dump" "$(sha256sum <"$(dumps_of good)/own.txt")" "$( (echo data; seq 100000) | sha256sum)"
check_equal "and it is named" "$(find "$(dumps_of good)" -type f -printf '%f\n')" own.txt
own bad 'bash -c "seq 100000; echo no way >&2; exit 3"'
take 22 bad
says 'dump own.txt: exit code 3'
is_no_dump bad 'exit code 3.*no way'
own missing 'no-such-program --all'
take 22 missing
is_no_dump missing 'no-such-program'
own cut 'bash -c "seq 100000; sleep 61"'
# Kills the command alone, by its id on this host.
kill_command() { docker top cut -eo pid,args | awk '/ sleep 61$/ { print $1 }' | xargs -r kill -9; }
{ until docker top cut -eo pid,args | grep -q ' sleep 61$'; do sleep 0.1; done; kill_command; } >/dev/null 2>&1 &
take 22 cut
is_no_dump cut 'exit code 137'
own ended 'bash -c "seq 100000; sleep 62"'
{ until docker top ended | grep -q 'sleep 62'; do sleep 0.1; done; docker kill ended; } >/dev/null 2>&1 &
take 22 ended
is_no_dump ended '.'
check_equal "a container that ended meanwhile stays so" "$(inspect '{{.State.Status}}' ended)" exited

step "the end"
docker stop -t 1 lite >/dev/null
take 0 lite --dump auto
take 22 lite --dump sqlite
says 'does not run'
check "verify --read-data" "$BYGONE" verify --read-data
