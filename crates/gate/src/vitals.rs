//! The vital signs of guest and host as one JSON object.

use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Map, Value, json};

use crate::driver::{Driver, Evidence};
use crate::policy::Limits;
use crate::text;
use crate::verdict::judge;

/// Maximum pause between the two samples of the disk counters: the operator is waiting.
const SAMPLE_GAP_MAX: Duration = Duration::from_secs(1);
/// Timeout for the counters of a monitor that has just answered.
const COUNTERS_TIMEOUT: Duration = Duration::from_secs(2);
/// Timeout for a file of the host's kernel.
const HOST_FILE_TIMEOUT: Duration = Duration::from_secs(1);

/// Samples everything. `latency` is how long the monitor took to report its run state. Unknown values
/// are null.
pub(crate) fn sample(
    evidence: &Evidence,
    latency: Duration,
    driver: &mut dyn Driver,
    limits: &Limits,
) -> Value {
    let mut vitals = evidence.json();
    let mut add = |key: &str, value| vitals[key] = value;
    let host = |driver: &mut dyn Driver, file: &str| {
        driver
            .read_host_file(file, HOST_FILE_TIMEOUT)
            .unwrap_or_default()
    };
    let process = evidence.process();
    add("verdict", json!(judge(evidence).to_string()));
    add("monitor_ms", json!(process.map(|_| latency.as_millis())));
    let now = host(driver, "/proc/uptime");
    let now = now
        .split('.')
        .next()
        .and_then(|seconds| seconds.parse::<u64>().ok());
    let up = now
        .zip(process)
        .map(|(now, process)| now.saturating_sub(process.started / 100));
    add("uptime_s", json!(up));
    for resource in ["cpu", "io", "memory"] {
        let pressure = host(driver, &format!("/proc/pressure/{resource}"));
        add(&format!("host_{resource}_pressure"), averages(&pressure));
    }
    // Distinguishes a panicked guest, which spins, from one that waits for its disk: neither writes.
    let cpu_time = |driver: &mut dyn Driver| {
        let path = format!("/proc/{}/stat", process?.pid);
        let stat = driver.read_host_file(&path, HOST_FILE_TIMEOUT);
        Some((Instant::now(), ticks(&stat.ok()?)?))
    };
    let earlier = cpu_time(driver);
    // A silent monitor is not asked twice more.
    let disk = match evidence.run_state() {
        Some(_) => rates(driver, limits),
        None => {
            thread::sleep(limits.sample_gap.min(SAMPLE_GAP_MAX / 2));
            Value::Null
        }
    };
    add("disk", disk);
    let share = earlier
        .zip(cpu_time(driver))
        .map(|((from, earlier), (to, later))| {
            // A tick is a hundredth of a second.
            later.saturating_sub(earlier) * 1_000
                / u64::try_from((to - from).as_millis())
                    .unwrap_or(u64::MAX)
                    .max(1)
        });
    add("cpu_percent", json!(share));
    add("time", json!(text::utc_ms(SystemTime::now())));
    vitals
}

/// Processor time of user and kernel in a line of `/proc/PID/stat`.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

/// The ten-second averages in percent, by `some` and `full`, of lines `some avg10=0.12 avg60=…`.
fn averages(pressure: &str) -> Value {
    let average = |line: &str| {
        let mut words = line.split([' ', '=']);
        let (name, value) = (words.next()?, words.nth(1)?.parse::<f64>().ok()?);
        Some((name.to_owned(), json!(value)))
    };
    match pressure.lines().filter_map(average).collect::<Map<_, _>>() {
        averages if averages.is_empty() => Value::Null,
        averages => averages.into(),
    }
}

/// What the guest's disks did per second, from two samples of their counters.
fn rates(driver: &mut dyn Driver, limits: &Limits) -> Value {
    let mut count = || {
        let timeout = COUNTERS_TIMEOUT.min(limits.ask);
        let answer = driver.query_monitor("query-blockstats", Value::Null, timeout);
        Some((Instant::now(), answer.ok()?))
    };
    let Some((from, earlier)) = count() else {
        return Value::Null;
    };
    thread::sleep(limits.sample_gap.min(SAMPLE_GAP_MAX));
    let Some((to, later)) = count() else {
        return Value::Null;
    };
    let ms = u64::try_from((to - from).as_millis())
        .unwrap_or(u64::MAX)
        .max(1);
    let rate = |counter: &str| {
        let more = sum(&later, counter).zip(sum(&earlier, counter));
        more.map(|(later, earlier)| later.saturating_sub(earlier).saturating_mul(1_000) / ms)
    };
    json!({
        "writes_per_s": rate("wr_operations"), "bytes_written_per_s": rate("wr_bytes"),
        "reads_per_s": rate("rd_operations"), "bytes_read_per_s": rate("rd_bytes"),
        "sampled_ms": ms, "writes": sum(&later, "wr_operations"),
    })
}

/// The sum of one counter over all disks; none if no disk has it.
fn sum(answer: &Value, counter: &str) -> Option<u64> {
    let disks = answer.as_array().into_iter().flatten();
    disks
        .filter_map(|disk| disk.pointer("/stats")?.get(counter)?.as_u64())
        .reduce(u64::saturating_add)
}
