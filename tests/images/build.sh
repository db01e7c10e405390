#!/usr/bin/env bash
# Build the three images for real, without a daemon and without a registry. As root on Debian.
#
#   tests/images/build.sh STORE [TAG [PART...]]    STORE: a folder for the built images, as buildah keeps them
#                                                  PART: one that has a Dockerfile (default: each)
#
# What the Dockerfiles build on is in registries, which may not be in reach. A stand-in takes its names: Debian's
# packages of the same Python, laid out as the original is. The stand-in and the wheels are kept between runs:
#
#   TEST_PARTS_DIR    where such parts of the tests live (default: ~/.cache/image-annotation)
#   PYTHON            whose pip fetches the wheels (default: python3)
set -euo pipefail

readonly STORE=$1 TAG=${2:-latest}
readonly PYTHON=${PYTHON:-python3}
readonly PARTS_DIR=${TEST_PARTS_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/image-annotation}/images
# The Debian that python:3.13-slim-trixie is made of. Its own Python is 3.13, too.
readonly SUITE=trixie
readonly TOOLS=(buildah mmdebstrap netavark)

readonly EVERY_PART=(web_app lambda_functions/annotation lambda_functions/thumbnail)
PARTS=("${@:3}")
((${#PARTS[@]})) || PARTS=("${EVERY_PART[@]}")
readonly EX_UNAVAILABLE=69 # Of sysexits.h: this machine cannot do it.

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=tests/support/apt_archives.sh
. tests/support/apt_archives.sh

fail() { printf '%s\n' "$*" >&2; exit 1; }
unavailable() { printf '%s\n' "$*" >&2; exit "$EX_UNAVAILABLE"; }

images() { buildah --root "$STORE/images" --runroot "$STORE/run" --storage-driver "$(<"$STORE/driver")" "$@"; }

# Overlays save copying the base for every stage. A folder that is an overlay itself cannot hold any.
choose_driver() {
    local try=$STORE/try
    mkdir -p "$try"/{lower,upper,work,merged}
    if mount -t overlay overlay -o "lowerdir=$try/lower,upperdir=$try/upper,workdir=$try/work" "$try/merged" 2>/dev/null; then
        umount "$try/merged"
        echo overlay
    else
        echo vfs
    fi
    rm -r "$try"
}

install_tools() {
    ((EUID == 0)) || unavailable "Without a daemon, only root can build images: run this as root, or in a container."
    command -v buildah >/dev/null && command -v mmdebstrap >/dev/null && return
    command -v apt-get >/dev/null || unavailable "The images are built with ${TOOLS[*]}: install these."
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends "${TOOLS[@]}" >/dev/null
}

# A file system with Python and pip, which has its places in both real bases. Its packages are only unpacked, and
# nothing of theirs is run: that takes seconds, not a minute.
make_stand_in() {
    local address keyring work root bin
    [[ ! -f $STAND_IN ]] || return 0
    rm -f "$PARTS_DIR/$SUITE"-*.tar
    work=$(mktemp -d "$PARTS_DIR/unpacking.XXXXXX")
    root=$work/root
    # The machine's own proxy and certificates, if it has any.
    apt-config dump --no-empty | grep -E '^Acquire::https?::' >"$work/apt.conf" || true
    while IFS='|' read -r _ address keyring; do
        [[ $(family_of "$address") == debian ]] || continue
        [[ -n $keyring ]] || keyring=/usr/share/keyrings/debian-archive-keyring.gpg
        rm -rf "$root"
        mmdebstrap --quiet --mode=root --variant=extract --format=directory --aptopt="$work/apt.conf" \
            --include=base-files,base-passwd,libc-bin,libstdc++6,coreutils,dash,ca-certificates,python3,python3-pip \
            "$SUITE" "$root" "deb [signed-by=$keyring] $address $SUITE main" && break
    done < <(archive_candidates)
    [[ -x $root/usr/bin/python3 ]] ||
        unavailable "No apt source of this machine offers Debian's $SUITE, which the images stand on here."
    cat "$root"/usr/share/ca-certificates/mozilla/*.crt >"$root/etc/ssl/certs/ca-certificates.crt"
    rm -rf "$root"/usr/share/{doc,man,locale,info,perl}
    for bin in usr/local/bin var/lang/bin; do
        mkdir -p "$root/$bin"
        ln -s /usr/bin/python3 "$root/$bin/python3.13"
        ln -s python3.13 "$root/$bin/python3"
        ln -s /usr/bin/pip "$root/$bin/pip"
    done
    tar -C "$root" -cf "$work/root.tar" .
    mv "$work/root.tar" "$STAND_IN"
    rm -rf "$work"
}

# Made anew when the way to make it changes.
STAND_IN=$PARTS_DIR/$SUITE-$(declare -f make_stand_in | sha256sum | head -c 16).tar
readonly STAND_IN

# Prints the folder with every wheel that the images pin. Fetched with the machine's own pip, so that a build needs
# neither its index nor its certificates. manylinux_2_28 is what the C library of both real bases can run.
fetch_wheels() {
    local lists=("${EVERY_PART[@]/%//requirements.txt}") list key work platform
    local options=(--quiet --disable-pip-version-check --no-deps --only-binary :all: --python-version 3.13)
    key=$(sort -u "${lists[@]}" | sha256sum)
    if [[ ! -d $PARTS_DIR/wheels-${key:0:16} ]]; then
        work=$(mktemp -d "$PARTS_DIR/fetching.XXXXXX")
        for platform in manylinux_2_28 manylinux_2_17 manylinux2014; do
            options+=(--platform "${platform}_$(uname -m)")
        done
        for list in "${lists[@]}"; do
            "$PYTHON" -m pip download "${options[@]}" --find-links "$work" --dest "$work" --requirement "$list" >&2
        done
        rm -rf "$PARTS_DIR"/wheels-*
        mv -T "$work" "$PARTS_DIR/wheels-${key:0:16}"
    fi
    printf '%s\n' "$PARTS_DIR/wheels-${key:0:16}"
}

base_of() { sed -n 's/^ARG BASE=//p' "$1/Dockerfile"; }

# Gives the stand-in the names that the Dockerfiles build on, and the settings that these bases have.
name_stand_in() {
    local container
    container=$(images from scratch)
    images add --quiet "$container" "$STAND_IN" / >/dev/null
    images config --env PATH=/usr/local/bin:/usr/bin "$container"
    images commit --quiet "$container" "$(base_of web_app)" >/dev/null
    images config --env PATH=/var/lang/bin:/usr/bin --env LAMBDA_TASK_ROOT=/var/task --workingdir /var/task "$container"
    images commit --quiet --rm "$container" "$(base_of lambda_functions/thumbnail)" >/dev/null
}

build() {
    local part=$1 wheels=$2
    images bud --quiet --isolation chroot --pull-never --format docker \
        --volume "$wheels:/wheels:ro" --volume "$STORE/pip.conf:/etc/pip.conf:ro" \
        --file "$part/Dockerfile" --tag "localhost/$(basename "$part"):$TAG" . >"$STORE/$(basename "$part").log" 2>&1 ||
        fail "$part: $(cat "$STORE/$(basename "$part").log")"
}

install_tools
mkdir -p "$PARTS_DIR" "$STORE"
exec 9>"$PARTS_DIR/lock" # One run at a time makes the parts; a second finds them made.
flock 9
rm -rf "$PARTS_DIR"/{unpacking,fetching}.* # Left by a run that was killed.
make_stand_in &
making=$!
wheels=$(fetch_wheels)
wait "$making"
flock -u 9

printf '[global]\nno-index = true\nfind-links = /wheels\n' >"$STORE/pip.conf"
if [[ ! -f $STORE/driver ]]; then # A new store.
    choose_driver >"$STORE/driver"
    name_stand_in
fi
builds=()
for part in "${PARTS[@]}"; do
    build "$part" "$wheels" &
    builds+=($!)
done
for build in "${builds[@]}"; do
    wait "$build"
done
