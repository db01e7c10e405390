#!/usr/bin/env bash
# Make a real MySQL server available to the tests, without installing anything on the system.
#
# The stable releases of Debian and Ubuntu have MariaDB or an old MySQL; their rolling suites have a current
# one. This script downloads that server with all libraries that it links to, including the C library. It
# unpacks them into one folder, and writes a `mysqld` there that runs the server with these libraries.
# tests/support/mysql_server.py finds it. To uninstall the server, delete the folder.
#
#   TEST_PARTS_DIR    the folder for downloaded parts of the tests (default: ~/.cache/image-annotation)
#   TEST_MYSQL_URL    the URL of another server; the script then does nothing
set -euo pipefail

readonly PACKAGE=mysql-server-core
readonly PARTS_DIR=${TEST_PARTS_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/image-annotation}
readonly TARGET=$PARTS_DIR/mysql
readonly APT_TRIES=3
# shellcheck source=tests/support/apt_archives.sh
. "$(dirname "${BASH_SOURCE[0]}")/apt_archives.sh"

say() { printf '%s\n' "$*"; }
fail() { say "$*" >&2; exit 1; }

# Succeeds when $1 is a MySQL server of 8.4 or later, and not MariaDB.
is_recent_mysql() {
    local version
    version=$("$1" --no-defaults --version 2>/dev/null) || return 1
    [[ $version != *MariaDB* && $version =~ Ver\ ([0-9]+)\.([0-9]+)\. ]] || return 1
    ((BASH_REMATCH[1] > 8 || (BASH_REMATCH[1] == 8 && BASH_REMATCH[2] >= 4)))
}

# Writes an apt configuration that uses only the proxy, the credentials and the keys of this machine. Its list of
# installed packages is empty, so that apt downloads every dependency, also those that the system has.
write_apt_configuration() {
    local work=$1 address=$2 keyring=$3 family suite architecture candidate
    family=$(family_of "$address")
    suite=sid
    [[ $family == debian ]] || suite=devel
    for candidate in /usr/share/keyrings/"$family"-archive-keyring.{pgp,gpg}; do
        [[ -n $keyring || ! -f $candidate ]] || keyring=$candidate
    done
    architecture=$(dpkg --print-architecture)

    rm -rf "$work"
    mkdir -p "$work"/{state/lists/partial,cache/archives/partial}
    : >"$work/status"
    printf 'deb [arch=%s%s] %s %s main\n' \
        "$architecture" "${keyring:+ signed-by=$keyring}" "$address" "$suite" >"$work/sources.list"
    cat >"$work/apt.conf" <<CONFIGURATION
#clear APT::Architectures;
#clear APT::Default-Release;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
APT::Architectures { "$architecture"; };
APT::Sandbox::User "";
APT::Update::Error-Mode "any";
// A rolling suite expires after days, and a mirror may be older than that. Signatures are still checked.
Acquire::Check-Valid-Until "false";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::http::Timeout "60";
Acquire::https::Timeout "60";
Dir::State "$work/state";
Dir::State::status "$work/status";
Dir::Cache "$work/cache";
Dir::Etc::sourcelist "$work/sources.list";
Dir::Etc::sourceparts "-";
Dir::Etc::preferences "-";
Dir::Etc::preferencesparts "-";
CONFIGURATION
}

# Downloads the package. After a failure both steps are repeated, because a rolling archive may change between
# the update and the download.
download_packages() {
    local work=$1 try
    for ((try = 1; try <= APT_TRIES; try++)); do
        if apt-get -q -c "$work/apt.conf" update >"$work/log" 2>&1 &&
            apt-get -q -c "$work/apt.conf" install --download-only --yes --no-install-recommends \
                "$PACKAGE" >>"$work/log" 2>&1; then
            return 0
        fi
        grep -E '^[EW]:' "$work/log" >&2 || tail -n 5 "$work/log" >&2
        sleep "$try"
    done
    return 1
}

unpack() {
    local archives=$1 root=$2 archive
    mkdir "$root"
    for archive in "$archives"/*.deb; do
        dpkg-deb -x "$archive" "$root" || return 1
    done
    rm -rf "$root"/usr/share/{doc,man,locale,info}
}

# Writes a script that starts the server with the loader of its own C library, which may be newer than the
# system's.
write_launcher() {
    local root=$1 loader
    loader=$(cd "$root" && compgen -G 'usr/lib/*-linux-gnu*/ld*.so.[0-9]' | head -n 1)
    [[ -n $loader ]] || return 1
    cat >"$root/mysqld" <<LAUNCHER
#!/bin/sh
# The arguments come first, because mysqld accepts --no-defaults only as its first option.
root=\$(cd "\$(dirname "\$0")" && pwd)
exec "\$root/$loader" --library-path "\$root/${loader%/*}" "\$root/usr/sbin/mysqld" "\$@" \\
    --basedir="\$root/usr" --lc-messages-dir="\$root/usr/share/mysql" \\
    --character-sets-dir="\$root/usr/share/mysql/charsets" --plugin-dir="\$root/usr/lib/mysql/plugin"
LAUNCHER
    chmod +x "$root/mysqld"
}

install_from() {
    local work=$1 address=$2 keyring=$3
    write_apt_configuration "$work/apt" "$address" "$keyring"
    download_packages "$work/apt" || return 1
    unpack "$work/apt/cache/archives" "$work/mysql" || return 1
    write_launcher "$work/mysql" && is_recent_mysql "$work/mysql/mysqld"
}

if [[ -n ${TEST_MYSQL_URL:-} ]]; then
    say "TEST_MYSQL_URL is set: the tests use that server."
    exit 0
fi
if on_path=$(command -v mysqld) && is_recent_mysql "$on_path"; then
    say "The tests use the MySQL on PATH: $on_path"
    exit 0
fi
if is_recent_mysql "$TARGET/mysqld"; then
    say "The tests use the MySQL unpacked in $TARGET"
    exit 0
fi
for tool in apt-get dpkg dpkg-deb flock; do
    command -v "$tool" >/dev/null ||
        fail "MySQL cannot be downloaded without $tool. Install MySQL 8.4 or later so that mysqld is on PATH, or set TEST_MYSQL_URL."
done

mkdir -p "$PARTS_DIR"
exec 9>"$PARTS_DIR/mysql.lock"
flock 9
if is_recent_mysql "$TARGET/mysqld"; then # Another run installed it while this one waited for the lock.
    say "The tests use the MySQL unpacked in $TARGET"
    exit 0
fi
rm -rf "$PARTS_DIR"/mysql.unpacking.* # Left by a run that was killed.
work=$(mktemp -d "$PARTS_DIR/mysql.unpacking.XXXXXX")
trap 'rm -rf "$work"' EXIT

candidates=$(archive_candidates)
while IFS='|' read -r _ address keyring <&3; do
    [[ -n $address ]] || continue
    say "Fetching $PACKAGE from $address"
    if install_from "$work" "$address" "$keyring"; then
        # A rename is atomic, so that no other process sees an incomplete server.
        rm -rf "$TARGET"
        mv -T "$work/mysql" "$TARGET"
        say "The tests use the MySQL unpacked in $TARGET: $("$TARGET/mysqld" --no-defaults --version)"
        exit 0
    fi
    rm -rf "${work:?}"/*
done 3<<<"$candidates"
fail "MySQL could not be downloaded from this machine's apt sources. Install MySQL 8.4 or later so that mysqld is on PATH, or set TEST_MYSQL_URL."
