#!/usr/bin/env bash
# build-guest.sh OUT   the guest of the tests with a real virtual machine, in the new directory OUT:
#   vmlinuz, initrd.img   Debian's cloud kernel; busybox, dropbear and qemu-guest-agent in memory
#   disk.img              an ext4 data disk of 64 MiB, to be copied for each guest
#   key, key.pub          the key that opens root@guest
# Packages are downloaded by apt and unpacked, never installed. About 5 s after the downloads.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:?usage: build-guest.sh OUT}
export PATH="$PATH:/usr/sbin:/sbin"
work=$out.work
rm -rf "$work" "$out.new"
mkdir -p "$work"/{debs,kernel,tools} "$out.new"

kernel=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ { print $2; exit }')
[ -n "$kernel" ] || { echo "build-guest: apt knows no linux-image-cloud-amd64; run apt-get update" >&2; exit 1; }
tools=(busybox-static dropbear-bin qemu-guest-agent)
# The libraries by the tools' own dependencies: their names differ between Debian's releases.
mapfile -t libraries < <(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts \
  --no-breaks --no-replaces --no-enhances "${tools[@]}" | grep -E '^(lib|zlib)' | sort -u)
# apt drops to an account that may not write here, and says so at length.
(cd "$work/debs" && apt-get download -qq -o Acquire::Retries=5 -o APT::Sandbox::User=root "$kernel" "${tools[@]}" "${libraries[@]}")
for deb in "$work"/debs/*.deb; do
  case $deb in */linux-image-*) dpkg -x "$deb" "$work/kernel" ;; *) dpkg -x "$deb" "$work/tools" ;; esac
done
cp "$work"/kernel/boot/vmlinuz-* "$out.new/vmlinuz"

root=$work/root
libs=$root/lib/x86_64-linux-gnu
mkdir -p "$root"/{bin,sbin,lib64,etc/dropbear,proc,sys,dev,run,tmp,root/.ssh,mnt/data,lib/modules,var/run} "$libs"
find_tool() { find "$work/tools" -type f -path "*/$1" | head -n 1; }
cp "$(find_tool bin/busybox)" "$root/bin/busybox"
cp "$(find_tool sbin/dropbear)" "$root/sbin/dropbear"
cp "$(find_tool sbin/qemu-ga)" "$root/sbin/qemu-ga"
cp -L "$(find "$work/tools" -name 'ld-linux-x86-64.so.2' | head -n 1)" "$root/lib64/"
copy_libraries() {
  local search
  search=$(find "$work/tools" -type d -name x86_64-linux-gnu -path '*lib*' | paste -sd:)
  LD_LIBRARY_PATH=$search ldd "$1" | awk '$2 == "=>" { print $3 }' | while read -r library; do
    cp -L "$library" "$libs/"
  done
}
copy_libraries "$root/sbin/dropbear"
copy_libraries "$root/sbin/qemu-ga"
cp -L "$(find "$work/tools" -name 'libnss_files.so.2' | head -n 1)" "$libs/"

# Loaded by insmod in this order; what is missing is built into the kernel.
for name in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover \
  net_failover virtio_net virtio_blk virtio_console pvpanic pvpanic-mmio; do
  module=$(find "$work/kernel" -name "$name.ko" -o -name "$name.ko.xz" | head -n 1)
  case $module in
    '') continue ;;
    *.xz) xz -dc "$module" >"$root/lib/modules/$name.ko" ;;
    *) cp "$module" "$root/lib/modules/" ;;
  esac
  echo "$name.ko" >>"$root/lib/modules/order"
done

echo 'root:x:0:0:root:/root:/bin/login-shell' >"$root/etc/passwd"
echo 'root:x:0:' >"$root/etc/group"
echo 'root:*:19000:0:99999:7:::' >"$root/etc/shadow"
echo '/bin/login-shell' >"$root/etc/shells"
printf 'passwd: files\ngroup: files\nshadow: files\n' >"$root/etc/nsswitch.conf"
ssh-keygen -q -t ed25519 -N '' -C breakglass-lab -f "$out.new/key"
LD_LIBRARY_PATH=$libs "$(find_tool bin/dropbearkey)" -t ed25519 -f "$root/etc/dropbear/host_key" >/dev/null 2>&1
cp "$out.new/key.pub" "$root/root/.ssh/authorized_keys"
chmod 700 "$root/root" "$root/root/.ssh"
chmod 600 "$root/root/.ssh/authorized_keys"
install -m 0755 "$here/guest-init" "$root/init"
install -m 0755 "$here/guest-heartbeat" "$root/bin/heartbeat"
install -m 0755 "$here/guest-login-shell" "$root/bin/login-shell"
for name in $("$root/bin/busybox" --list); do
  [ -e "$root/bin/$name" ] || ln -s busybox "$root/bin/$name"
done
# The kernel reads lz4's legacy format alone.
(cd "$root" && find . | cpio -o -H newc --quiet -R 0:0) | lz4 -l -q -c >"$out.new/initrd.img"

truncate -s 64M "$out.new/disk.img"
mkfs.ext4 -q -F "$out.new/disk.img"
rm -rf "$work" "$out"
mv "$out.new" "$out"
