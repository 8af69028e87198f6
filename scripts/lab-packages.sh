#!/usr/bin/env bash
# Installs QEMU, libvirt, and the tools that build the guest, for the tests with a real virtual machine. Safe
# to run again; asks no questions.
set -euo pipefail

source "$(dirname "$0")/packages.sh"
missing=()
need() { PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }
need qemu-system-x86_64 qemu-system-x86
need libvirtd libvirt-daemon
need virsh libvirt-clients
need cpio cpio
need lz4 lz4
need xz xz-utils
need mkfs.ext4 e2fsprogs
need ssh-keygen openssh-client
[ -e /usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so ] ||
  missing+=(libvirt-daemon-driver-qemu)
[ ${#missing[@]} -gt 0 ] || exit 0

sudo=$([ "$(id -u)" = 0 ] || echo sudo)
install=($sudo env DEBIAN_FRONTEND=noninteractive "${APT[@]}" install -y --no-install-recommends)
$sudo "${APT[@]}" update

# All of QEMU's packages must have one version. If a newer qemu-utils was installed from the backports,
# stable's QEMU would remove it: then install QEMU from the backports too, or, if those are unavailable,
# downgrade qemu-utils to stable's version.
if apt-get install -s --no-install-recommends "${missing[@]}" | grep -q '^Remv qemu-utils '; then
  release=$(. /etc/os-release && echo "$VERSION_CODENAME")
  list=/etc/apt/sources.list.d/breakglass-backports.list
  # The source of the machine's other packages of this release.
  origin=$(apt-get indextargets --format '$(SUITE) $(CODENAME) $(REPO_URI)' |
    awk -v release="$release" '$1 == release || $2 == release { print $3; exit }')
  echo "deb ${origin:?no package source of $release is configured} $release-backports main" |
    $sudo tee "$list" >/dev/null
  if $sudo "${APT[@]}" update &&
    "${install[@]}" -t "$release-backports" qemu-system-x86 qemu-utils >/dev/null; then
    :
  else
    $sudo rm -f "$list"
    $sudo "${APT[@]}" update
    stable=$(apt-cache policy qemu-system-x86 | awk '/Candidate:/ { print $2 }')
    "${install[@]}" --allow-downgrades qemu-system-x86 "qemu-utils=$stable" >/dev/null
  fi
fi
"${install[@]}" "${missing[@]}" >/dev/null
