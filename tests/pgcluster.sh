#!/usr/bin/env bash
# pgcluster.sh -- a throw-away PostgreSQL cluster: node 0 is the primary, nodes 1..NREP stream from it.
# Owns everything in $DIR but nothing else; as root the servers run as user postgres.
usage() {
        cat <<'END'
DIR=/some/new/dir pgcluster.sh COMMAND       environment of `up`, remembered in DIR: NREP (2), PORT, CONF
  up              start it and wait until every replica streams; roles postgres, app (owns database app) and
                  pinroute (pg_monitor, for checks), all without a password, on 127.0.0.1 and a socket in DIR
  down            stop every node, frozen or crashed ones included, and remove it
  status          one line per node: number, port, pid, state, timeline, position
  port N, pid N   print it
  q N SQL         run SQL on node N in database $DB (app), rows as plain a|b lines
  lag N DELAY     recovery_min_apply_delay of replica N, such as 300ms; 0 ends it
  freeze N        SIGSTOP the server and its processes; thaw N: SIGCONT
  stop N [MODE]   fast (default), smart or immediate; start N: start it again and wait until it answers
  kill N          SIGKILL the server and its processes, as a power failure would; start N brings it back
  crash N         SIGKILL one process of it: the server restarts itself, a replica from an older position
  promote N       make replica N a primary; follow N M: replica N streams from node M from now on
  demote N M      start N, a primary that was stopped, as a replica of M; it must have nothing that M lacks
  rejoin N M      whatever has become of N: it is a replica of M from now on, with a copy of M's data
Without PORT every node takes a free port of its own; with it, node N listens on PORT+N.
CONF holds further lines for postgresql.conf of every node.
END
}
set -euo pipefail
bin=/usr/lib/postgresql/15/bin
dir=${DIR:-}

fail() { echo "pgcluster: $*" >&2; exit 1; }

# Runs a command as the servers' user, with nothing of the caller's environment.
as_server() {
        local user=()
        [ "$(id -u)" != 0 ] || user=(setpriv --reuid=postgres --regid=postgres --init-groups)
        "${user[@]}" env -i PATH="$bin:/usr/bin:/bin" HOME="$dir" LC_ALL=C "$@"
}

sql() { # N DATABASE SQL...: each SQL is a transaction of its own
        local node=$1 database=$2 each=()
        shift 2
        for s in "$@"; do each+=(-c "$s"); done
        env -i PATH=/usr/bin:/bin LC_ALL=C "$bin/psql" -XAtq -v ON_ERROR_STOP=1 -h "$dir" -p "$(port "$node")" \
            -U postgres -d "$database" "${each[@]}"
}

port() { cat "$dir/n$1.port"; }
pid() { head -n 1 "$dir/n$1/postmaster.pid" 2>/dev/null; }
alive() { [ -n "${1:-}" ] && grep -q '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$1/status" 2>/dev/null; } # no zombie
nodes() { seq 0 "$(cat "$dir/nrep")"; }

# The processes that a server has forked, from /proc: a bare system has no pgrep.
children() { { grep -lE "^PPid:[[:space:]]+$1\$" /proc/[0-9]*/status 2>/dev/null || true; } | cut -d/ -f3; }

# `wait_for SECONDS COMMAND...`: until it succeeds.
wait_for() {
        local until=$((${EPOCHREALTIME/[.,]/} + $1 * 1000000))
        shift
        until "$@" >/dev/null 2>&1; do
                [ "${EPOCHREALTIME/[.,]/}" -lt "$until" ] || return 1
                sleep 0.02
        done
}
gone() { ! alive "$1"; }

# Has whoever adopts orphans buried node N's last server?  A zombie would keep the next one from starting.
buried() {
        local p
        p=$(head -n 1 "$dir/.s.PGSQL.$(port "$1").lock" 2>/dev/null) || return 0
        [ -z "$p" ] || [ ! -e "/proc/$p" ] || alive "$p"
}

launch() { # N: on its remembered port; what pg_ctl says of a stale postmaster.pid is no news
        local said status=0 # through a file: a server would keep the end of a pipe open, and its reader waiting
        wait_for 30 buried "$1" || true
        said=$(mktemp)
        as_server pg_ctl -D "$dir/n$1" -o "-p $(port "$1")" -l "$dir/n$1.log" -w -t 60 -s start 2>"$said" || status=$?
        grep -v 'another server might be running' "$said" >&2 || true
        rm -f "$said"
        return $status
}

# The first start of node N: on PORT+N, or on a port that turns out to be free.  Below the range from which the
# kernel takes ports for outgoing connections.
launch_anew() {
        local n=$1
        if [ -n "${PORT:-}" ]; then
                echo $((PORT + n)) >"$dir/n$n.port"
                launch "$n"
                return
        fi
        for _ in 1 2 3 4 5 6 7 8 9 10; do
                echo $((20000 + SRANDOM % 12000)) >"$dir/n$n.port"
                (: <"/dev/tcp/127.0.0.1/$(port "$n")") 2>/dev/null && continue
                launch "$n" 2>"$dir/n$n.start" && return
                grep -q 'could not bind' "$dir/n$n.log" || break
                rm -f "$dir/n$n.log"
        done
        cat "$dir/n$n.start" "$dir/n$n.log" >&2
        return 1
}

settings() {
        cat <<END
listen_addresses = '127.0.0.1'
unix_socket_directories = '$dir'
fsync = off
full_page_writes = off
synchronous_commit = local
shared_buffers = 16MB
dynamic_shared_memory_type = mmap
max_connections = 100
wal_keep_size = 128MB
wal_receiver_status_interval = 1s
wal_receiver_timeout = 5s
wal_sender_timeout = 5s
wal_retrieve_retry_interval = 200ms
jit = off
autovacuum = off
restart_after_crash = on
${CONF:-}
END
}

upstream() { echo "host=127.0.0.1 port=$(port "$2") user=postgres application_name=n$1"; } # of N, from M

make_primary() {
        as_server initdb -D "$dir/n0" -U postgres -A trust -N --locale=C -E UTF8 --no-instructions >"$dir/initdb.log"
        settings | as_server tee -a "$dir/n0/postgresql.conf" >/dev/null
        launch_anew 0
        sql 0 postgres "create role app login" "create role pinroute login" "grant pg_monitor to pinroute" \
            "create database app owner app"
}

copy() { as_server pg_basebackup -d "$(upstream "$1" "$2")" -D "$dir/n$1" -R -X stream -c fast --no-sync; } # of M, as N

make_replica() {
        copy "$1" 0
        launch_anew "$1"
}

streaming() { [ "$(sql 0 postgres "select count(*) from pg_stat_replication where state = 'streaming'")" = "$1" ]; }

up() {
        local nrep=${NREP:-2} n
        [ -x "$bin/postgres" ] || fail "PostgreSQL 15 is not in $bin (package postgresql-15)"
        [ "${#dir}" -le 90 ] || fail "$dir: too long a path for a Unix socket"
        mkdir -p "$dir"
        [ ! -e "$dir/nrep" ] || fail "$dir already holds a cluster"
        chmod 755 "$dir"
        [ "$(id -u)" != 0 ] || chown postgres: "$dir"
        as_server test -w "$dir" || fail "$dir: the servers' user cannot write there"
        echo "$nrep" >"$dir/nrep"
        make_primary
        for n in $(seq 1 "$nrep"); do make_replica "$n"; done
        wait_for 20 streaming "$nrep" || fail "not every replica streams: see $dir/n*.log"
}

freeze() { # the server first: what is stopped forks no more
        local p
        p=$(pid "$1")
        kill -STOP "$p"
        # shellcheck disable=SC2046
        kill -STOP $(children "$p") 2>/dev/null || true
}

thaw() {
        local p
        p=$(pid "$1")
        # shellcheck disable=SC2046
        kill -CONT $(children "$p") "$p" 2>/dev/null || true
}

power_off() { # a stale postmaster.pid stays behind; the next start copes with it
        local p all
        p=$(pid "$1") || return 0
        alive "$p" || return 0
        kill -STOP "$p"
        all="$p $(children "$p")"
        # shellcheck disable=SC2086
        kill -KILL $all 2>/dev/null || true
        for p in $all; do wait_for 10 gone "$p" || fail "process $p of node $1 does not die"; done
        ipcrm -m "$(sed -n '7s/.* //p' "$dir/n$1/postmaster.pid")" 2>/dev/null || true # nobody else would
}

demote() {
        echo "primary_conninfo = '$(upstream "$1" "$2")'" | as_server tee -a "$dir/n$1/postgresql.auto.conf" >/dev/null
        as_server touch "$dir/n$1/standby.signal"
        launch "$1"
}

rejoin() {
        power_off "$1"
        rm -rf "${dir:?}/n$1"
        copy "$1" "$2"
        launch "$1"
}

down() {
        local n p
        [ -e "$dir/nrep" ] || return 0
        for n in $(nodes); do
                p=$(pid "$n") || continue
                alive "$p" || continue
                thaw "$n"
                kill -QUIT "$p" 2>/dev/null || true
        done
        for n in $(nodes); do
                p=$(pid "$n") || continue
                wait_for 5 gone "$p" || power_off "$n"
        done
        rm -rf "$dir"/n[0-9]* "$dir"/.s.PGSQL.* "$dir/initdb.log" "$dir/nrep"
        rmdir "$dir" 2>/dev/null || true
}

status() {
        local n p
        for n in $(nodes); do
                p=$(pid "$n") || p=
                if ! alive "$p"; then
                        printf '%s\t%s\t-\tstopped\n' "$n" "$(port "$n")"
                elif grep -q '^State:[[:space:]]*T' "/proc/$p/status"; then
                        printf '%s\t%s\t%s\tfrozen\n' "$n" "$(port "$n")" "$p"
                else
                        printf '%s\t%s\t%s\t%s\n' "$n" "$(port "$n")" "$p" "$(sql "$n" postgres "$(position)")"
                fi
        done
}

position() {
        cat <<'END'
select case when pg_is_in_recovery()
  then concat_ws(E'\t', 'replica', coalesce((select received_tli from pg_stat_wal_receiver), 0), pg_last_wal_replay_lsn())
  else concat_ws(E'\t', 'primary', left(pg_walfile_name(pg_current_wal_insert_lsn()), 8), pg_current_wal_insert_lsn())
end
END
}

reconfigure() { sql "$1" postgres "alter system set $2 = '$3'" "select pg_reload_conf()" >/dev/null; }

crash() {
        local p
        p=$(sql "$1" postgres "select pid from pg_stat_activity where backend_type = 'background writer'")
        kill -KILL "$p"
        wait_for 5 gone "$p"
}

command=${1:-}
case $command in
'' | help | -h | --help) usage; exit 2 ;;
esac
[ -n "$dir" ] || fail "set DIR to the cluster's directory"
[ "$command" = up ] || [ "$command" = down ] || [ -e "$dir/nrep" ] || fail "$dir holds no cluster"
[ $# -lt 2 ] || [ -e "$dir/n$2.port" ] || fail "$dir has no node $2"
case $command:$# in
up:1 | down:1 | status:1) "$command" ;;
port:2 | freeze:2 | thaw:2 | crash:2) "$command" "$2" ;;
pid:2) pid "$2" || fail "node $2 is not running" ;;
q:3) sql "$2" "${DB:-app}" "$3" ;;
lag:3) reconfigure "$2" recovery_min_apply_delay "$3" ;;
follow:3) reconfigure "$2" primary_conninfo "$(upstream "$2" "$3")" ;;
stop:2 | stop:3) as_server pg_ctl -D "$dir/n$2" -m "${3:-fast}" -w -s stop ;;
start:2) launch "$2" ;;
kill:2) power_off "$2" ;;
demote:3 | rejoin:3) "$command" "$2" "$3" ;;
promote:2) as_server pg_ctl -D "$dir/n$2" -w -s promote ;;
*) usage >&2; exit 2 ;;
esac
