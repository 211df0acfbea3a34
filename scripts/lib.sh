# Shared by the scripts beside it; sourced, not run. Sets strict mode, a sane environment even where
# none was given, and $top.

set -u -o pipefail

: "${PATH:=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}"
case ":$PATH:" in
*:/usr/sbin:*) ;;
*) PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin ;;
esac
: "${USER:=$(id -un)}"
: "${HOME:=$(getent passwd "$(id -u)" | cut -d: -f6)}"
: "${HOME:=/}"
: "${TMPDIR:=/tmp}"
# Programs are asked for output in one language; UTF-8 because the tests' data is.
unset LANG LANGUAGE
LC_ALL=C.UTF-8
export PATH USER HOME TMPDIR LC_ALL

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

say() {
    printf '%s\n' "$*"
}

warn() {
    printf '%s\n' "$*" >&2
}

die() {
    warn "${0##*/}: $*"
    exit 1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

cpu_count() {
    getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1
}

# Runs a command as root: directly, or through sudo where that asks for no password or somebody is
# there to type it.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
        sudo -- "$@"
    else
        warn "${0##*/}: root is needed for: $*"
        return 1
    fi
}
