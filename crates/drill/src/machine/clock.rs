use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// The drill's time, and the date that belongs to it.
///
/// Everything that the machine does by itself (boot, leak, restart) is a function of this time, so a
/// test moves the clock instead of sleeping.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    began: Timestamp,
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    System(Instant),
    #[cfg(test)]
    Manual(std::sync::Arc<std::sync::Mutex<Duration>>),
}

impl Clock {
    /// The system's time; the drill begins now.
    pub(crate) fn system() -> Clock {
        Clock {
            began: Timestamp::now(),
            source: Source::System(Instant::now()),
        }
    }

    /// A clock that only a test moves.
    #[cfg(test)]
    pub(crate) fn manual() -> Clock {
        let source = Source::Manual(std::sync::Arc::default());
        Clock {
            began: Timestamp::from_second(1_800_000_000).unwrap(),
            source,
        }
    }

    #[cfg(test)]
    pub(crate) fn advance(&self, by: Duration) {
        if let Source::Manual(elapsed) = &self.source {
            *elapsed.lock().unwrap() += by;
        }
    }

    pub(crate) fn now(&self) -> Moment {
        let elapsed = match &self.source {
            Source::System(began) => began.elapsed(),
            #[cfg(test)]
            Source::Manual(elapsed) => *elapsed.lock().unwrap(),
        };
        Moment(0).plus(elapsed)
    }

    /// Blocks the calling thread for `time`; advances a manual clock instead.
    pub(crate) fn wait(&self, time: Duration) {
        match &self.source {
            Source::System(_) => std::thread::sleep(time),
            #[cfg(test)]
            Source::Manual(_) => self.advance(time),
        }
    }

    /// The date of a moment, in UTC.
    pub(crate) fn date(&self, moment: Moment) -> Timestamp {
        let date = self
            .began
            .saturating_add(SignedDuration::from_millis(moment.0));
        date.unwrap_or(self.began)
    }
}

/// Milliseconds since the drill began; negative before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Moment(pub(crate) i64);

impl Moment {
    /// The moment `seconds` before the drill began.
    pub(crate) const fn before(seconds: i64) -> Moment {
        Moment(-seconds * 1000)
    }

    pub(crate) fn plus(self, time: Duration) -> Moment {
        let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        Moment(self.0.saturating_add(millis))
    }

    /// The time from `earlier` to this moment; zero if `earlier` is later.
    pub(crate) fn since(self, earlier: Moment) -> Duration {
        let millis = self.0.saturating_sub(earlier.0);
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }
}
