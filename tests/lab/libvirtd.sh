#!/usr/bin/env bash
# libvirtd.sh DIR   a real libvirtd in the foreground, whose every file lies in DIR. To be run by
# `unshare --mount --propagation private`: the system's libvirt directories are replaced by
# DIR's for it and its guests alone, so a libvirtd of the machine's own is not touched, and needs
# neither systemd, polkit nor D-Bus. Its socket is DIR/run/libvirt-sock, QEMU's pid files are in DIR/run/qemu.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:?usage: libvirtd.sh DIR}
export PATH="$PATH:/usr/sbin:/sbin"

# The QEMU driver starts for no account but the packaged one, which Debian makes with its
# systemd integration; here it exists for this process alone.
if ! getent passwd libvirt-qemu >/dev/null; then
  for file in passwd group; do cp "/etc/$file" "$dir/$file"; done
  echo 'libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin' >>"$dir/passwd"
  echo 'libvirt-qemu:x:64055:' >>"$dir/group"
  for file in passwd group; do mount --bind "$dir/$file" "/etc/$file"; done
fi

bind() { mkdir -p "$dir/$1" "$2"; mount --bind "$dir/$1" "$2"; }
bind etc /etc/libvirt
bind run /run/libvirt
bind lib /var/lib/libvirt
bind cache /var/cache/libvirt
bind log /var/log/libvirt
cp "$here/qemu.conf" "$dir/etc/qemu.conf"
cat >"$dir/libvirtd.conf" <<CONF
listen_tls = 0
listen_tcp = 0
unix_sock_rw_perms = "0700"
auth_unix_ro = "none"
auth_unix_rw = "none"
log_level = 3
log_outputs = "3:file:$dir/libvirtd.log"
CONF
exec libvirtd -f "$dir/libvirtd.conf" -p "$dir/libvirtd.pid"
