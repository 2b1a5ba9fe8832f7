#!/bin/sh
# Check the types of pi-socket with tsc. Compiler and types are kept in a cache folder outside the tree.
set -eu

TYPESCRIPT=7.0.2
TYPES_NODE=20.19.25 # the oldest Node.js that pi-socket runs on

root=$(cd "$(dirname "$0")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/hyperpi-test/tsc-node-$TYPESCRIPT

if [ ! -x "$cache/node_modules/.bin/tsc" ]; then
    mkdir -p "$cache"
    npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$cache" \
        "typescript@$TYPESCRIPT" "@types/node@$TYPES_NODE"
fi
"$cache/node_modules/.bin/tsc" --project "$root/node/pi_socket/tsconfig.json" --typeRoots "$cache/node_modules/@types"
