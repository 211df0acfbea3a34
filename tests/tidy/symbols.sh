#!/usr/bin/env bash
# What libcore.a and libmodel.a ask of the outside: nothing that reads a clock, draws a random
# number, allocates, logs or does I/O. A plain build only: sanitizers add calls of their own.
set -u
export LC_ALL=C

if [ -n "${SANITIZERS:-}" ]; then
    echo "SKIP: sanitizers add calls of their own"
    exit 77
fi
nm=${NM:-nm}

# libc functions that compute from their arguments alone, and what the compiler adds.
allowed='^(mem(cpy|set|cmp|move|chr)|bcmp|str(len|cmp|ncmp|nlen|chr)|__(memcpy|memset|memmove)_chk'
allowed+='|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_)$'
# Of libbase.a only what lies in these objects: pure text, and the end of the process.
base_objects='^(assert|str|prng|crc32c)\.o$'

defined_by() {
    "$nm" --defined-only -g "$1" 2>/dev/null | awk 'NF == 3 { print $3 }'
}

problems=0
if [ -z "$(defined_by libcore.a)$(defined_by libmodel.a)" ]; then
    echo "libcore.a and libmodel.a define nothing: nothing to look at" >&2
    exit 1
fi
known=$(
    defined_by libcore.a
    defined_by libmodel.a
    "$nm" --defined-only -g libbase.a 2>/dev/null | awk -v wanted="$base_objects" '
        /^[a-z0-9_]+\.o:$/ { object = substr($0, 1, length($0) - 1) }
        NF == 3 && object ~ wanted { print $3 }'
)
for library in libcore.a libmodel.a; do
    wanted=$("$nm" -u "$library" | awk '$1 == "U" { print $2 }' | sort -u)
    for symbol in $wanted; do
        grep -qxF -- "$symbol" <<<"$known" && continue
        grep -qE -- "$allowed" <<<"$symbol" && continue
        echo "$library asks for $symbol"
        problems=$((problems + 1))
    done
    # No state of its own, either: everything lives in what the caller passes.
    for symbol in $("$nm" "$library" | awk '$2 ~ /^[bBdDC]$/ { print $3 }'); do
        # Tables of pointers are constant, but need relocation: .data.rel.ro shows as d.
        objdump -t "$library" | grep -qE "\.data\.rel\.ro[^[:space:]]*[[:space:]].* $symbol\$" &&
            continue
        echo "$library has the variable $symbol"
        problems=$((problems + 1))
    done
done
echo "symbols: $problems problems"
[ "$problems" -eq 0 ]
