#!/usr/bin/env bash
# run.sh -- from a fresh clone to a demo, a test run or a benchmark in one command.
# Installs what is missing (Debian 12, apt), builds into build/<preset>, keeps its logs in build/logs.
usage() {
        cat <<'END'
./run.sh demo [--keep]   a primary, two replicas, the daemon, a prefork server, and a story with real requests;
                         --keep leaves it running to look around in, until Ctrl-C
./run.sh test [--full]   every test, in about eight minutes and the builds; --full: at full size, which takes hours
./run.sh test --packages   the packages' life in a bare Debian 12 of their own: installed, used, upgraded, purged (root)
./run.sh package         Debian packages, into build/packages
./run.sh soak SECONDS [--seed N]   hunts for stale reads and lost pins, under faults, for so long
./run.sh fuzz SECONDS [TARGET...]   every fuzzer for so long, two at a time; what they find is kept in build/fuzz
./run.sh bench [--quick] [--plot]   every benchmark: a table, and build/bench.tsv; --quick: in less than a minute;
                         --plot: also build/bench.png, how cost grows
./run.sh build [PRESET]  release (default), dev, asan or tsan
END
}
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"

build_packages=(gcc libc6-dev cmake ninja-build pkg-config
        libsodium-dev liblmdb-dev libpq-dev libevent-dev libjansson-dev)
demo_packages=(python3 postgresql-15)
python_packages=(python3-dev python3-django python3-psycopg2)
bench_packages=(libhiredis-dev libmemcached-dev) # not redis-server and memcached: those would run from then on
test_packages=(make libcriterion-dev clang llvm-14 libclang-rt-14-dev clang-format clang-tidy shellcheck valgrind
        gunicorn uwsgi uwsgi-plugin-python3 python3-greenlet python3-pip python3-venv
        chromium scdoc mandoc systemd python3-seccomp zsh)
package_packages=(debhelper dh-python dpkg-dev fakeroot lintian python3-dev scdoc)
chroot_packages=(debootstrap)

say() { printf '== %s\n' "$*"; }
fail() { printf 'run.sh: %s\n' "$*" >&2; exit 1; }
wrong() { printf 'run.sh: %s: not one of its words\n' "$*" >&2; usage >&2; exit 2; }

as_root() {
        if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

apt() {
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@" \
            >>build/logs/apt.log 2>&1 ||
            { tail -n 20 build/logs/apt.log >&2; fail "apt-get $1 failed: see build/logs/apt.log"; }
}

# Of these packages, the ones that are not installed.
missing() {
        local have p
        have=$(dpkg-query -W -f '${Package}=${db:Status-Status}\n' "$@" 2>/dev/null || true)
        for p in "$@"; do
                grep -qx "$p=installed" <<<"$have" || echo "$p"
        done
}

# postgresql-15 would make and start a database server of its own on this machine: not ours to ask for.
install_postgresql() {
        local conf=/etc/postgresql-common/createcluster.conf mark='# for ./run.sh only' status=0
        apt install --no-install-recommends postgresql-common
        as_root sed -i "\$a create_main_cluster = false $mark" "$conf"
        (apt install --no-install-recommends postgresql-15) || status=$?
        as_root sed -i "/$mark\$/d" "$conf"
        return $status
}

need() {
        local want
        mapfile -t want < <(missing "$@")
        [ ${#want[@]} -gt 0 ] || return 0
        command -v apt-get >/dev/null || fail "missing: ${want[*]}; only Debian's apt is known here"
        [ "$(id -u)" = 0 ] || command -v sudo >/dev/null || fail "missing: ${want[*]}; there is no sudo to install them with"
        say "installing ${want[*]}"
        apt update
        case " ${want[*]} " in *" postgresql-15 "*) install_postgresql ;; esac
        apt install --no-install-recommends "${want[@]}"
}

fetch_promtool() { (cd build/tools/prometheus && apt-get -q download prometheus) >>build/logs/apt.log 2>&1; }

# build/tools/promtool, out of Debian's prometheus: that package would start a server of its own on this machine.
need_promtool() {
        [ ! -x build/tools/promtool ] || return 0
        say "fetching promtool"
        mkdir -p build/tools/prometheus
        fetch_promtool || { apt update && fetch_promtool; } || fail "no promtool to be had: see build/logs/apt.log"
        dpkg-deb -x build/tools/prometheus/prometheus_*.deb build/tools/prometheus
        rm build/tools/prometheus/prometheus_*.deb
        ln -sf prometheus/usr/bin/promtool build/tools/promtool
}

build() { # PRESET [TARGET]
        local log=build/logs/build-$1${2:+-$2}.log from=$SECONDS
        say "building build/$1${2:+: $2}"
        { cmake --preset "$1" && cmake --build --preset "$1" -j "$(nproc)" ${2:+--target "$2"}; } >"$log" 2>&1 ||
            { grep -E -A 12 'FAILED|[Ee]rror' "$log" >&2 || tail -n 40 "$log" >&2
              fail "build/$1 does not build: see $log"; }
        say "built build/$1${2:+: $2} in $((SECONDS - from)) s"
}

# `build_debs REVISION [OPTION...]`: of the tree as it is, into build/packages.  debian/ is in a copy of the tree only.
build_debs() {
        local revision=$1 version tree from=$SECONDS
        shift
        version=$(sed -n 's/^project(pinroute VERSION \([0-9.]*\) .*/\1/p' CMakeLists.txt)
        tree=build/debian/pinroute-$version
        say "building the packages of $version-$revision"
        SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || date +%s)
        DEB_BUILD_OPTIONS="parallel=$(nproc)"
        export SOURCE_DATE_EPOCH DEB_BUILD_OPTIONS
        mkdir -p "$tree" build/packages
        tar -c --exclude=./build --exclude=./.git --exclude=__pycache__ . | tar -x -C "$tree"
        cp -r packaging/debian "$tree"
        packaging/changelog.sh "$version-$revision" "$SOURCE_DATE_EPOCH" >"$tree/debian/changelog"
        (cd "$tree" && dpkg-buildpackage -b -us -uc "$@") >build/logs/package.log 2>&1 ||
            { tail -n 40 build/logs/package.log >&2; fail "the packages do not build: see build/logs/package.log"; }
        mv build/debian/*_"$version-$revision"_* build/packages
        say "built build/packages/*_$version-$revision in $((SECONDS - from)) s"
}

package() {
        [ $# = 0 ] || wrong "package: $1"
        need "${build_packages[@]}" "${package_packages[@]}"
        rm -rf build/debian build/packages
        build_debs 1
        say "lintian"
        # no bug of Debian asks for these packages: they are not for its archive
        lintian --allow-root --fail-on error --suppress-tags initial-upload-closes-no-bugs build/packages/*.changes
}

# The life of a package, step by step: tests/packages/life.py.
live_packages() {
        [ $# = 0 ] || wrong "test --packages: $1"
        need "${build_packages[@]}" "${package_packages[@]}" "${demo_packages[@]}" "${chroot_packages[@]}"
        rm -rf build/debian build/packages
        build_debs 1
        build_debs 2 --no-pre-clean
        as_root /usr/bin/python3 -B tests/packages/life.py build/packages
}

demo() {
        case "${1:-}" in '' | --keep) ;; *) wrong "demo: $1" ;; esac
        need "${build_packages[@]}" "${demo_packages[@]}"
        build release
        PINROUTE_BUILD=$PWD/build/release exec /usr/bin/python3 -B tests/scenario/demo.py "$@"
}

soak() {
        [[ "${*}" =~ ^[1-9][0-9]*(\ --seed\ [0-9]+)?$ ]] || { usage >&2; exit 2; }
        need "${build_packages[@]}" "${demo_packages[@]}"
        build release
        mkdir -p build/release/tests # without the other tests, and what those need
        # shellcheck disable=SC2046
        cc -std=gnu17 -D_GNU_SOURCE -O2 -I. -o build/release/tests/hunter tests/scenario/hunter.c \
            build/release/libpinroute_static.a $(pkg-config --cflags --libs libpq libsodium)
        PINROUTE_BUILD=$PWD/build/release exec /usr/bin/python3 -B tests/scenario/hunter.py "$@"
}

# `run_tests PRESET ARGUMENTS...`: runs ctest there and keeps its log for the tally.  One more at a time than there are
# cores: most of them wait for servers, clocks and deadlines.  With two more a daemon stands still too often.
run_tests() {
        local preset=$1
        shift
        say "tests of build/$preset"
        rm -f "build/$preset/Testing/Temporary/LastTest.log" "build/logs/test-$preset.log"
        ctest --test-dir "build/$preset" --timeout "$test_timeout" --no-tests=error -j "$(($(nproc) + 1))" "$@" || true
        mv "build/$preset/Testing/Temporary/LastTest.log" "build/logs/test-$preset.log" || true
}

# Criterion and the tests' stores want shared memory, and a bare chroot gives its users none: then /dev/shm is a tmpfs that
# only this test run sees (in a chroot / is no mount whose propagation could be changed, but /dev is).  Nor does it give
# out terminals.
with_shared_memory() {
        say "no /dev/shm to write to: this run gets one of its own"
        # shellcheck disable=SC2016
        exec sudo unshare --mount --propagation unchanged sh -c '
                { mount --make-rprivate / || mount --make-rprivate /dev; } 2>/dev/null
                [ -e /dev/pts/ptmx ] || mount -t devpts -o newinstance,ptmxmode=0666 devpts /dev/pts
                mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs /dev/shm && uid=$1 gid=$2 && shift 2 &&
                exec setpriv --reuid "$uid" --regid "$gid" --init-groups env "$@"
        ' sh "$(id -u)" "$(id -g)" HOME="$HOME" PATH="$PATH" ./run.sh "$@"
}

run_all_tests() {
        local from preset
        test_timeout=300
        case "${1:-}" in
        '') ;;
        --full) export PINROUTE_FULL=1; test_timeout=7200 ;;
        *) wrong "test: $1" ;;
        esac
        need "${build_packages[@]}" "${demo_packages[@]}" "${python_packages[@]}" "${test_packages[@]}"
        need_promtool
        [ -w /dev/shm ] || with_shared_memory test "$@"
        for preset in release dev asan tsan; do build "$preset"; done
        build cov units
        build dev analysis
        find build/cov -name '*.gcda' -delete
        from=$SECONDS
        run_tests cov -L '^(unit|coverage)$'
        run_tests dev -L '^(contract|scenario)$'
        run_tests asan -L '^(unit|asan)$'
        run_tests tsan -L '^tsan$'
        say "tests took $((SECONDS - from)) s"
        exec /usr/bin/python3 -B tests/tally.py build/logs/test-{cov,dev,asan,tsan}.log
}

# The table and what is said of a finding: fuzz.py.
fuzz() {
        local target
        [[ ${1:-} =~ ^[1-9][0-9]*$ ]] || { usage >&2; exit 2; }
        for target in "${@:2}"; do
                [ -e "tests/fuzz/fuzz_${target#fuzz_}.c" ] || fail "no fuzzer named $target in tests/fuzz"
        done
        need "${build_packages[@]}" "${python_packages[@]}" "${test_packages[@]}"
        [ -w /dev/shm ] || with_shared_memory fuzz "$@"
        build asan
        PINROUTE_BUILD=$PWD/build/asan exec /usr/bin/python3 -B tests/fuzz/fuzz.py "$@"
}

# `measure SECONDS COMMAND...`: its rows, and no longer than that.
measure() {
        local status=0
        say "measuring: $(basename "$2")" >&2
        timeout --foreground "$@" || status=$?
        case $status in
        0) ;;
        124) fail "$2 took more than $1 s" ;;
        *) fail "$2 failed" ;;
        esac
}

# The table for people; the rows themselves are in build/bench.tsv.
bench() {
        local plot='' quick=() word program
        for word in "$@"; do
                case $word in
                --quick) quick=(--quick) ;;
                --plot) plot=yes ;;
                *) wrong "bench: $word" ;;
                esac
        done
        need "${build_packages[@]}" "${demo_packages[@]}" "${python_packages[@]}" "${bench_packages[@]}" \
            ${plot:+gnuplot-nox}
        [ -w /dev/shm ] || with_shared_memory bench "$@"
        build release
        say "$(nproc) cores: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), Linux $(uname -r)"
        export PINROUTE_BUILD=$PWD/build/release
        {
                for program in route growth crowd; do
                        measure 120 "build/release/bench_$program" "${quick[@]}"
                done
                for program in daemon python; do
                        measure 180 "bench/bench_$program.py" "${quick[@]}"
                done
        } | /usr/bin/python3 -B bench/table.py build/bench.tsv
        [ -z "$plot" ] || gnuplot bench/plot.gp
}

command=${1:-}
[ $# = 0 ] || shift
mkdir -p build/logs
case $command in
demo) demo "$@" ;;
test)
        case ${1:-} in
        --packages) live_packages "${@:2}" ;;
        *) run_all_tests "$@" ;;
        esac
        ;;
package) package "$@" ;;
soak) soak "$@" ;;
fuzz) fuzz "$@" ;;
bench) bench "$@" ;;
build)
        case ${1:-release} in release | dev | asan | tsan) ;; *) wrong "build: $1" ;; esac
        need "${build_packages[@]}"
        build "${1:-release}"
        ;;
help | -h | --help) usage ;;
'') usage >&2; exit 2 ;;
*) wrong "$command" ;;
esac
