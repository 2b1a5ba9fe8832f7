#!/bin/sh
# Check the web app's JSDoc types with tsc, and run its tests. The compiler is kept in a cache folder outside
# the tree, so that the app itself needs no package.json.
#
# usage: scripts/check_js.sh [--types | --tests]     (default: both)
set -eu

TYPESCRIPT=7.0.2
INTEGRITY="sha512-8FYau96o3NKOhbjKi/qNvG/W5jhzxkbdm5sj9AbZ/5T5sWqn3hJgLfGx27sRKZWTvyzCP8dLRBTf5tBTSRVUNA=="

root=$(cd "$(dirname "$0")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/hyperpi-test/tsc-$TYPESCRIPT

types() {
    if [ ! -x "$cache/node_modules/.bin/tsc" ]; then
        mkdir -p "$cache"
        npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$cache" "typescript@$TYPESCRIPT"
        grep -qF "$INTEGRITY" "$cache/package-lock.json" || { echo "typescript: not the content that was pinned" >&2; exit 1; }
    fi
    "$cache/node_modules/.bin/tsc" --noEmit --project "$root/tests/pide_js/tsconfig.json"
}

tests() {
    node --test "$root"/tests/pide_js/*.test.js
}

case "${1:-}" in
    --types) types ;;
    --tests) tests ;;
    *) types && tests ;;
esac
