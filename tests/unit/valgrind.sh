#!/usr/bin/env bash
# valgrind.sh TEST: a unit test under valgrind, for make check-valgrind. Skipped if it needs a
# system call that this valgrind does not know (3.19 has no pidfd_open).
set -u
found=125
log=$(mktemp) || exit 99
trap 'rm -f "$log"' EXIT

if ! command -v valgrind >/dev/null; then
    echo "valgrind is missing: apt-get install valgrind"
    exit 99
fi
valgrind -q --error-exitcode=$found --leak-check=full --show-leak-kinds=definite,indirect,possible \
    --errors-for-leak-kinds=definite,indirect,possible "$@" >"$log" 2>&1
rc=$?
cat "$log"
if [ $rc -ne 0 ] && [ $rc -ne $found ] && grep -q 'unhandled .* syscall' "$log"; then
    exit 77
fi
exit $rc
