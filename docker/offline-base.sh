#!/bin/sh
# Makes the base image that docker/Dockerfile names, from Debian's package archive instead of a
# registry, for machines that reach the one but not the other. Needs root, debootstrap and docker.
# Does nothing if the image is there already.
set -eu

image=debian:bookworm-slim
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}

if docker image inspect "$image" >/dev/null 2>&1; then
    echo "$image is there"
    exit 0
fi
command -v debootstrap >/dev/null || {
    echo "offline-base.sh: debootstrap is missing: apt-get install debootstrap" >&2
    exit 1
}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
trap 'exit 1' INT TERM
debootstrap --variant=minbase bookworm "$root" "$mirror"
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
tar -C "$root" -c . | docker import --change 'CMD ["bash"]' - "$image"
