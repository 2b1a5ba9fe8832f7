#!/bin/sh
# Install ACP agents for the tests that drive real ones, in a cache folder outside the tree: OpenCode, a program
# of its own, and pi-acp, which needs Node.js 20 and the pi that scripts/fetch_pi.sh installs.
#
# usage: scripts/fetch_acp.sh
#
# Prints the folder of the programs.
set -eu

opencode=1.18.33
pi_acp=0.0.34
pi=1.5.2
cache=${XDG_CACHE_HOME:-$HOME/.cache}/hyperpi-test/acp-$opencode-$pi_acp
npm="npm --silent --no-audit --no-fund --ignore-scripts"
programs=$cache/bin

if [ ! -x "$programs/opencode" ]; then
    case $(uname -s)-$(uname -m) in
    Linux-x86_64) platform=linux-x64 ;;
    Linux-aarch64) platform=linux-arm64 ;;
    Darwin-arm64) platform=darwin-arm64 ;;
    Darwin-x86_64) platform=darwin-x64 ;;
    *)
        echo "no OpenCode for $(uname -s) on $(uname -m)" >&2
        exit 1
        ;;
    esac
    mkdir -p "$programs"
    $npm install --prefix "$cache" "opencode-$platform@$opencode" "pi-acp@$pi_acp" >&2
    ln -sf "$("$(dirname "$0")/fetch_pi.sh" "$pi")" "$programs/pi"
    ln -sf ../node_modules/.bin/pi-acp "$programs/pi-acp"
    ln -sf "../node_modules/opencode-$platform/bin/opencode" "$programs/opencode"
fi
echo "$programs"
