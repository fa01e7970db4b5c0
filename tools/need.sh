# SPDX-License-Identifier: Apache-2.0
# need -- sourced by ./run and ./test: installs Debian packages that are missing, and says which.

packages_build="gcc g++ meson ninja-build pkgconf libssl-dev libsimdjson-dev liblua5.4-dev
libsqlite3-dev libmongoc-dev libcurl4-openssl-dev libpq-dev libpg-query-dev libyaml-dev libpcre2-dev libmicrohttpd-dev libgnutls28-dev libzstd-dev zlib1g-dev libcsv-dev
libsodium-dev"
packages_test="libcmocka-dev clang clang-format-14 clang-tidy-14 libclang-rt-14-dev llvm-14 curl default-jre-headless make maven
libtest-json-schema-acceptance-perl nodejs openssl postgresql python3-pytest zstd"
# What ./run services starts.
packages_services="default-jre-headless maven postgresql python3"
# What builds FerretDB; another one than Debian's is as good.
if ! command -v go >/dev/null; then
    packages_test="$packages_test golang-go"
    packages_services="$packages_services golang-go"
fi

# Prints those of the packages that are not installed.
missing_of() {
    local installed package
    # dpkg also tells of packages that it only knows of: `not-installed`.
    installed=$(dpkg-query -W -f=':${db:Status-Status} ${Package}:\n' "$@" 2>/dev/null || true)
    for package in "$@"; do
        case "$installed" in
        *":installed $package:"*) ;;
        *) echo "$package" ;;
        esac
    done
}

# Installs the packages that are missing. Where apt is not there or fails, the build itself will say
# what it lacks.
need() {
    local missing log as_root=
    if ! command -v apt-get >/dev/null; then
        return 0
    fi
    missing=$(missing_of "$@" | tr '\n' ' ')
    [ -n "$missing" ] || return 0
    [ "$(id -u)" = 0 ] || as_root=sudo
    # Its package would start a server of its own.
    case "$missing" in
    *postgresql*) echo 'create_main_cluster = false' |
        $as_root sh -c 'mkdir -p /etc/postgresql-common && cd /etc/postgresql-common &&
            [ -e createcluster.conf ] || cat >createcluster.conf' ;;
    esac
    echo "installing with ${as_root:+$as_root }apt: $missing"
    # shellcheck disable=SC2086
    log=$({ $as_root apt-get -qq update &&
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
            $missing; } 2>&1) || echo "$log
apt failed: going on with what is here" >&2
}

# build_in FOLDER TARGET...: sets the folder up where that was not done, builds quietly, and prints
# the whole log when it fails. SETUP holds more arguments for meson.
build_in() {
    local folder=$1 log=$1.log
    shift
    if [ ! -f "$folder/build.ninja" ]; then
        echo "setting up $folder"
        rm -rf "$folder"
        # shellcheck disable=SC2086
        meson setup "$folder" ${SETUP:-} >"$log" 2>&1 || { cat "$log" >&2; return 1; }
    fi
    ninja -C "$folder" "$@" >"$log" 2>&1 || { grep -v '^\[' "$log" >&2; return 1; }
    rm -f "$log"
}
