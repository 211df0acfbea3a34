#!/usr/bin/env bash
# The hardening of the programs as built, seen with readelf: flags that configure.ac names but that
# never reach the linker are found here and nowhere else.
set -u

if [ -n "${SANITIZERS:-}" ]; then
    echo "SKIP: a build with sanitizers is not hardened"
    exit 77
fi
if [ -z "${PGHEIR_PROGRAMS// /}" ]; then
    echo "PGHEIR_PROGRAMS names no program" >&2
    exit 1
fi

problems=0
problem() {
    echo "$1: $2"
    problems=$((problems + 1))
}

# needs PROGRAM TEXT PATTERN WHAT: the text must match.
needs() {
    grep -qE -- "$3" <<<"$2" || problem "$1" "$4"
}

check_program() {
    local program=$1 header segments dynamic symbols notes code

    if [ ! -f "$program" ]; then
        problem "$program" "was not built"
        return
    fi
    header=$(LC_ALL=C readelf -hW "$program")
    segments=$(LC_ALL=C readelf -lW "$program")
    dynamic=$(LC_ALL=C readelf -dW "$program")
    symbols=$(LC_ALL=C readelf --dyn-syms -W "$program")

    needs "$program" "$header" 'Type:[[:space:]]+DYN' "is no position independent executable (-pie)"
    needs "$program" "$dynamic" '\(FLAGS_1\).*PIE' "carries no PIE flag"
    needs "$program" "$segments" 'GNU_RELRO' "has no read-only relocations (-z relro)"
    needs "$program" "$dynamic" 'BIND_NOW|\(FLAGS_1\).*NOW' "resolves symbols lazily (-z now)"
    needs "$program" "$segments" 'GNU_STACK.* RW +0x' "has an executable stack (-z noexecstack)"
    needs "$program" "$symbols" '__stack_chk_fail' "has no stack protector"
    if grep -qE ' RWE ' <<<"$segments"; then
        problem "$program" "has a segment that is writable and executable"
    fi
    if grep -qE '\((RPATH|RUNPATH)\)' <<<"$dynamic"; then
        problem "$program" "has a built-in library path"
    fi
    if grep -q '(TEXTREL)' <<<"$dynamic"; then
        problem "$program" "has relocations in its code"
    fi
    if [ "${FORTIFY:-}" = on ]; then
        needs "$program" "$symbols" '__[a-z_]+_chk@' "calls no fortified function (_FORTIFY_SOURCE)"
    fi
    case $header in
    *X86-64*)
        # The mark of the whole program depends on the C library's start files; our code must be
        # ready in any case: main begins with endbr64.
        code=$(LC_ALL=C objdump -d --no-show-raw-insn "$program" | grep -c endbr64)
        [ "$code" -ge 10 ] || problem "$program" "is not compiled with -fcf-protection"
        ;;
    esac
    check_libraries "$program" "$dynamic"
}

# The supervisor is the last net: nothing but libc may be able to break it.
check_libraries() {
    local program=$1 libraries

    libraries=$(sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' <<<"$2" | sort | tr '\n' ' ')
    echo "$program needs: $libraries"
    case $program in
    pgheir)
        [ "$libraries" = "libc.so.6 " ] || problem "$program" "needs more than libc: $libraries"
        ;;
    esac
}

for program in $PGHEIR_PROGRAMS; do
    check_program "$program"
done
echo "binary: $problems problems"
[ "$problems" -eq 0 ]
