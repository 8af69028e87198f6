//! A deadline for any operation that may hang.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Runs `work` on a thread and returns its result. `what` names it in the error.
///
/// A read can hang in the kernel (`/proc` of a wedged process, a cluster file system), where
/// nothing can interrupt it. After `timeout` the thread is therefore abandoned.
///
/// # Errors
/// Those of `work`, and the timeout.
pub(crate) fn with_timeout<T: Send + 'static>(
    timeout: Duration,
    what: &str,
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let spawned = thread::Builder::new().spawn(move || drop(sender.send(work())));
    spawned.map_err(|error| format!("{what}: no thread can be started: {error}"))?;
    receiver.recv_timeout(timeout).unwrap_or_else(|_| {
        let seconds = timeout.as_secs_f32();
        Err(format!("{what}: no answer within {seconds} s"))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn work_that_hangs_is_abandoned_after_its_timeout() {
        let began = Instant::now();
        let hang = || {
            thread::sleep(Duration::from_secs(60));
            Ok(())
        };
        let result = with_timeout(Duration::from_millis(50), "the file", hang);
        assert_eq!(result.unwrap_err(), "the file: no answer within 0.05 s");
        assert!(began.elapsed() < Duration::from_secs(30));
    }
}
