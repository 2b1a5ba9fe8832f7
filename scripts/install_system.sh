#!/bin/sh
# Run Hyper-Pi as services of your user (systemd). Nothing needs root.
#
# usage: scripts/install_system.sh [--up] [--remove]
#   (nothing)   the node of this machine
#   --up        also hypivisor and Pi-DE
#   --remove    end and take away both; agents go on
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
units=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user
up=no
remove=no
for argument in "$@"; do
    case $argument in
    --up) up=yes ;;
    --remove) remove=yes ;;
    *)
        sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
    esac
done

command -v systemctl >/dev/null || { echo "there is no systemd here; see deploy/README.md" >&2; exit 1; }

if [ "$remove" = yes ]; then
    systemctl --user disable --now hyperpi-up.service hyperpi-node.service 2>/dev/null || true
    rm -f "$units/hyperpi-up.service" "$units/hyperpi-node.service"
    systemctl --user daemon-reload
    echo "removed; ~/.local/bin/hyperpi stays"
    exit 0
fi

mkdir -p "$units" "$HOME/.local/bin"
[ -e "$HOME/.local/bin/hyperpi" ] || ln -s "$root/run" "$HOME/.local/bin/hyperpi"
"$HOME/.local/bin/hyperpi" version
cp "$root/deploy/hyperpi-node.service" "$units/"
wanted=hyperpi-node.service
if [ "$up" = yes ]; then
    cp "$root/deploy/hyperpi-up.service" "$units/"
    wanted="$wanted hyperpi-up.service"
fi
systemctl --user daemon-reload
# shellcheck disable=SC2086  # a list of units
systemctl --user enable $wanted
# A node that restores its disk takes long until it serves, and goes on with that without us.
code=0
# shellcheck disable=SC2086
timeout 60 systemctl --user start $wanted || code=$?
case $code in
0) state=running ;;
124) state="still starting, see systemctl --user status" ;;
*) exit "$code" ;;
esac
echo "$state: $wanted; also while you are not logged in after: loginctl enable-linger"
