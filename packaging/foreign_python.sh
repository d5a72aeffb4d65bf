#!/usr/bin/env bash
# Unpacks Debian's Python of another architecture into a folder, with NumPy, OpenMP's runtime and the headers: what is
# built for that architecture can be built against it and tried under qemu-user. Nothing is installed, nothing in it runs.
#
#   packaging/foreign_python.sh arm64|armhf FOLDER
#
# Wants Debian or Ubuntu (apt-get, dpkg). The interpreter then is run by packaging/foreign_run.sh.
set -euo pipefail

arch="$1"
root="$(mkdir -p "$2" && cd "$2" && pwd)"
state="$root/.apt"
ready="$root/.complete"
[ -e "$ready" ] && exit 0

mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$state/parts"
touch "$state/status" "$state/sources.list"
# The distribution's own sources; others may have nothing for this architecture.
if [ -e /etc/apt/sources.list.d/debian.sources ]; then
    cp /etc/apt/sources.list.d/debian.sources "$state/parts/"
else
    cp /etc/apt/sources.list "$state/"
fi

foreign_apt() {
    apt-get -qq -o APT::Architecture="$arch" -o APT::Architectures::="$arch" -o APT::Install-Recommends=0 \
        -o Dir::State="$state" -o Dir::State::status="$state/status" -o Dir::State::lists="$state/lists" \
        -o Dir::Cache="$state/cache" -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts="$state/parts" \
        -o Acquire::Languages=none -o Debug::NoLocking=1 "$@"
}

foreign_apt update || true # a list that cannot be had may be one that is not needed
foreign_apt --download-only -y install python3 python3-numpy libpython3-dev libgomp1 >/dev/null
for package in "$state"/cache/archives/*.deb; do
    dpkg -x "$package" "$root"
done

# Links that start at / would leave the folder.
find "$root" -type l -lname '/*' | while read -r link; do
    ln -sfnr "$root$(readlink "$link")" "$link"
done
rm -rf "$state"
touch "$ready"
