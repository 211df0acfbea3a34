#!/usr/bin/env bash
# docs/configuration.md says what the option table says.
set -u
srcdir=${srcdir:-.}

if ! tests/docs/describe_config | diff -u "$srcdir/docs/configuration.md" -; then
    echo "docs/configuration.md is not what src/codec/conf_table.c says: run make update-docs" >&2
    exit 1
fi
