//! The machine as it is on a good day: `devvm`, a small Debian with one service that matters.

use super::clock::Moment;
use super::content::Content;
use super::disk::Disk;
use super::guest::Guest;
use super::journal::Journal;
use super::process::Footprint;
use super::unit::UnitFile;

const MIB: u64 = 1 << 20;

/// The guest, booted at `booted`.
pub(super) fn guest(booted: Moment) -> Guest {
    Guest::boot(disk(booted), units(), Journal::default(), booted)
}

fn disk(booted: Moment) -> Disk {
    let mut disk = Disk::new(40_000 * MIB);
    let old = Moment::before(64 * 86_400);
    for dir in [
        "/boot", "/dev", "/home", "/media", "/mnt", "/opt", "/proc", "/run", "/srv", "/sys",
    ] {
        disk.put(dir, None, "root", 0o755, old);
    }
    disk.put("/root", None, "root", 0o700, old);
    disk.put("/tmp", None, "root", 0o1777, old);
    disk.put("/home/breakglass", None, "breakglass", 0o755, old);
    for (path, mebibytes) in SYSTEM {
        disk.put(
            path,
            Some(Content::Binary {
                size: mebibytes * MIB,
            }),
            "root",
            0o644,
            old,
        );
    }
    for (path, text) in TEXTS {
        disk.put(
            path,
            Some(Content::Text((*text).to_owned())),
            "root",
            0o644,
            old,
        );
    }
    for (path, line, mebibytes) in LOGS {
        let log = Content::Log {
            line,
            size: mebibytes * MIB,
        };
        disk.put(path, Some(log), "root", 0o640, booted);
    }
    disk.put("/var/lib/app", None, "app", 0o755, old);
    disk.put(
        "/var/lib/app/data.db",
        Some(Content::Binary { size: 2_210 * MIB }),
        "app",
        0o640,
        Moment::before(3_900),
    );
    disk.put("/var/log/app", None, "app", 0o755, old);
    disk.put(
        "/var/log/app/access.log",
        Some(Content::Log {
            line: "10.0.10.4 - \"GET /healthz\" 200 12 0.004",
            size: 96 * MIB,
        }),
        "app",
        0o644,
        Moment::before(3_900),
    );
    disk
}

const SYSTEM: &[(&str, u64)] = &[
    ("/boot/initrd.img-6.1.0-28-cloud-amd64", 27),
    ("/boot/vmlinuz-6.1.0-28-cloud-amd64", 8),
    ("/swapfile", 1_024),
    ("/usr/bin/python3.11", 7),
    ("/usr/lib/x86_64-linux-gnu/libLLVM-14.so.1", 118),
    ("/usr/lib/modules/6.1.0-28-cloud-amd64/kernel.tar", 94),
    ("/usr/lib/os.img", 1_380),
    ("/usr/share/locale/locale-archive", 212),
    ("/opt/app/bin/app", 38),
    ("/opt/app/bin/report-worker", 21),
    (
        "/var/cache/apt/archives/linux-image-6.1.0-29-cloud-amd64.deb",
        31,
    ),
    ("/var/cache/apt/pkgcache.bin", 44),
    ("/var/lib/dpkg/info.tar", 36),
    ("/var/log/journal/4b1f0c/system.journal", 152),
    ("/var/backups/dpkg.status.0", 3),
];

const TEXTS: &[(&str, &str)] = &[
    ("/etc/hostname", "devvm\n"),
    (
        "/etc/os-release",
        "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nVERSION=\"12 (bookworm)\"\nID=debian\n",
    ),
    ("/etc/debian_version", "12.8\n"),
    (
        "/etc/fstab",
        "/dev/vda1 / ext4 errors=remount-ro 0 1\n/swapfile none swap sw 0 0\n",
    ),
    ("/etc/hosts", "127.0.0.1 localhost\n127.0.1.1 devvm\n"),
    (
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/bash\napp:x:998:998::/var/lib/app:/usr/sbin/nologin\nbreakglass:x:1000:1000::/home/breakglass:/bin/bash\n",
    ),
    (
        "/etc/app/app.toml",
        "listen = \"0.0.0.0:8080\"\ndata = \"/var/lib/app\"\nlog_level = \"info\"\n",
    ),
    (
        "/etc/logrotate.d/app",
        "/var/log/app/access.log {\n    daily\n    rotate 7\n    compress\n    missingok\n}\n",
    ),
];

const LOGS: &[(&str, &str, u64)] = &[
    (
        "/var/log/auth.log",
        "devvm sshd[611]: Server listening on 0.0.0.0 port 22.",
        2,
    ),
    (
        "/var/log/syslog",
        "devvm systemd[1]: Finished logrotate.service - Rotate log files.",
        21,
    ),
    (
        "/var/log/dpkg.log",
        "status installed libc-bin:amd64 2.36-9+deb12u9",
        1,
    ),
];

fn units() -> Vec<UnitFile> {
    let unit = |name, description, command, user, mebibytes, cpu| UnitFile {
        name,
        description,
        command,
        user,
        footprint: Footprint::steady(mebibytes),
        cpu,
        needs_disk: 0,
    };
    let app = unit(
        "app.service",
        "The application",
        "/opt/app/bin/app --config /etc/app/app.toml",
        "app",
        412,
        31,
    );
    vec![
        unit(
            "systemd-journald.service",
            "Journal Service",
            "/lib/systemd/systemd-journald",
            "root",
            17,
            1,
        ),
        unit(
            "systemd-logind.service",
            "User Login Management",
            "/lib/systemd/systemd-logind",
            "root",
            8,
            0,
        ),
        unit(
            "dbus.service",
            "D-Bus System Message Bus",
            "/usr/bin/dbus-daemon --system --nofork",
            "messagebus",
            5,
            0,
        ),
        unit(
            "cron.service",
            "Regular background program processing daemon",
            "/usr/sbin/cron -f",
            "root",
            3,
            0,
        ),
        unit(
            "qemu-guest-agent.service",
            "QEMU Guest Agent",
            "/usr/sbin/qemu-ga",
            "root",
            4,
            0,
        ),
        unit(
            "ssh.service",
            "OpenBSD Secure Shell server",
            "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups",
            "root",
            9,
            0,
        ),
        UnitFile {
            needs_disk: 64 * MIB,
            ..app
        },
        unit(
            "report-worker.service",
            "Nightly report worker",
            "/opt/app/bin/report-worker --queue nightly",
            "app",
            148,
            12,
        ),
    ]
}
