#!/usr/bin/env bash
# Build the three container images without a daemon and without a registry. Run this as root on Debian.
#
#   tests/images/build.sh STORE [TAG [PART...]]    STORE: the folder for the built images, in buildah's format
#                                                  PART: a folder with a Dockerfile (default: all of them)
#
# The base images of the Dockerfiles are in registries, which may not be reachable. This script builds a substitute
# base image with the same names: Debian's packages of the same Python version, in the same layout. The substitute and
# the wheels are cached between runs. Environment variables:
#
#   TEST_PARTS_DIR    the cache folder for such parts of the tests (default: ~/.cache/image-annotation)
#   PYTHON            the Python whose pip downloads the wheels (default: python3)
set -euo pipefail

readonly STORE=$1 TAG=${2:-latest}
readonly PYTHON=${PYTHON:-python3}
readonly PARTS_DIR=${TEST_PARTS_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/image-annotation}/images
# The Debian release of python:3.13-slim-trixie. Its own Python version is 3.13 as well.
readonly SUITE=trixie
readonly TOOLS=(buildah mmdebstrap netavark)

readonly EVERY_PART=(web_app lambda_functions/annotation lambda_functions/thumbnail)
PARTS=("${@:3}")
((${#PARTS[@]})) || PARTS=("${EVERY_PART[@]}")
readonly EX_UNAVAILABLE=69 # From sysexits.h. Here: this machine cannot build images.

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=tests/support/apt_archives.sh
. tests/support/apt_archives.sh

fail() { printf '%s\n' "$*" >&2; exit 1; }
unavailable() { printf '%s\n' "$*" >&2; exit "$EX_UNAVAILABLE"; }

images() { buildah --root "$STORE/images" --runroot "$STORE/run" --storage-driver "$(<"$STORE/driver")" "$@"; }

# Overlays avoid copying the base image for every stage. They do not work inside a folder that is itself an overlay.
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
    ((EUID == 0)) || unavailable "Only root can build images without a daemon. Run this as root or in a container."
    command -v buildah >/dev/null && command -v mmdebstrap >/dev/null && return
    command -v apt-get >/dev/null || unavailable "Tools to build the images are missing. Install ${TOOLS[*]}."
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends "${TOOLS[@]}" >/dev/null
}

# Build a file system with Python and pip at the paths of both real base images. The packages are only unpacked and
# their install scripts are not run, which takes seconds instead of a minute.
make_base() {
    local address keyring work root bin
    [[ ! -f $BASE_TAR ]] || return 0
    rm -f "$PARTS_DIR/$SUITE"-*.tar
    work=$(mktemp -d "$PARTS_DIR/unpacking.XXXXXX")
    root=$work/root
    # Use the proxy and certificates of this machine, if configured.
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
        unavailable "No apt source of this machine offers Debian $SUITE, which the images need. Add one to the apt sources."
    cat "$root"/usr/share/ca-certificates/mozilla/*.crt >"$root/etc/ssl/certs/ca-certificates.crt"
    rm -rf "$root"/usr/share/{doc,man,locale,info,perl}
    for bin in usr/local/bin var/lang/bin; do
        mkdir -p "$root/$bin"
        ln -s /usr/bin/python3 "$root/$bin/python3.13"
        ln -s python3.13 "$root/$bin/python3"
        ln -s /usr/bin/pip "$root/$bin/pip"
    done
    tar -C "$root" -cf "$work/root.tar" .
    mv "$work/root.tar" "$BASE_TAR"
    rm -rf "$work"
}

# The name contains a hash of the function, so the substitute is rebuilt when the function changes.
BASE_TAR=$PARTS_DIR/$SUITE-$(declare -f make_base | sha256sum | head -c 16).tar
readonly BASE_TAR

# Download all wheels that the images pin, and print their folder. The pip of this machine downloads them, so the build
# needs neither a package index nor certificates. The C library of both real base images supports manylinux_2_28.
fetch_wheels() {
    local lists=("${EVERY_PART[@]/%//requirements.txt}") list key work platform
    # pyvips has no wheel, so pip builds it in the image. It needs setuptools and pkgconfig for that.
    local options=(--quiet --disable-pip-version-check --no-deps --only-binary :all: --no-binary pyvips --python-version 3.13)
    key=$(sort -u "${lists[@]}" | sha256sum)
    if [[ ! -d $PARTS_DIR/wheels-${key:0:16} ]]; then
        work=$(mktemp -d "$PARTS_DIR/fetching.XXXXXX")
        for platform in manylinux_2_28 manylinux_2_17 manylinux2014; do
            options+=(--platform "${platform}_$(uname -m)")
        done
        for list in "${lists[@]}"; do
            "$PYTHON" -m pip download "${options[@]}" --find-links "$work" --dest "$work" --requirement "$list" >&2
        done
        "$PYTHON" -m pip download "${options[@]}" --dest "$work" setuptools pkgconfig >&2
        rm -rf "$PARTS_DIR"/wheels-*
        mv -T "$work" "$PARTS_DIR/wheels-${key:0:16}"
    fi
    printf '%s\n' "$PARTS_DIR/wheels-${key:0:16}"
}

base_of() { sed -n 's/^ARG BASE=//p' "$1/Dockerfile"; }

# Give the substitute the names and settings of the base images in the Dockerfiles.
name_base() {
    local container
    container=$(images from scratch)
    images add --quiet "$container" "$BASE_TAR" / >/dev/null
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
exec 9>"$PARTS_DIR/lock" # Only one run at a time creates the parts. A second run waits and uses them.
flock 9
rm -rf "$PARTS_DIR"/{unpacking,fetching}.* # Remove the remains of a killed run.
make_base &
making=$!
wheels=$(fetch_wheels)
wait "$making"
flock -u 9

printf '[global]\nno-index = true\nfind-links = /wheels\n' >"$STORE/pip.conf"
if [[ ! -f $STORE/driver ]]; then # The store is new.
    choose_driver >"$STORE/driver"
    name_base
fi
builds=()
for part in "${PARTS[@]}"; do
    build "$part" "$wheels" &
    builds+=($!)
done
for build in "${builds[@]}"; do
    wait "$build"
done
