#!/bin/sh
# Writes a random password into each file that compose.yaml names, unless it is there already.
set -eu
cd "$(dirname "$0")"
for name in superuser_password replication_password rewind_password rest_password; do
    [ -s "$name" ] || head -c 18 /dev/urandom | base64 | tr '+/' '-_' >"$name"
    # Compose hands the file into the container as it is, where the user postgres must read it.
    chmod 644 "$name"
done
