use std::path::Path;

use breakglass_verbs::{Request, Verb};

use crate::host_log::{ClientRequest, HostLog};
use crate::output::Output;
use crate::policy::{Limits, Retention};
use crate::text;

/// Exit code of a refusal: nothing was probed, nothing was changed.
pub(crate) const EXIT_REFUSED: u8 = 2;

/// The surroundings of one request.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The guest's id from the policy. Only for messages: the driver knows its guest itself.
    pub guest: &'a str,
    /// The request and its sender.
    pub client: ClientRequest<'a>,
    /// The directory for forensics, with one subdirectory for each capture. Created with mode 0700.
    pub forensics_dir: &'a Path,
    /// How many forensics are kept.
    pub retention: &'a Retention,
    /// The log of the gate's decisions.
    pub host_log: &'a dyn HostLog,
    /// How long the gate waits.
    pub limits: &'a Limits,
}

impl Context<'_> {
    /// Logs one decision, and reports a failure to do so on `out`.
    pub(crate) fn log(&self, decision: &str, out: &mut dyn Output) {
        let result = self.host_log.record(self.client, decision);
        result.unwrap_or_else(|error| out.error(&error));
    }

    /// Refuses the request because of `why`, lists what is `allowed`, and returns the exit code.
    pub fn refuse(&self, why: &str, allowed: &str, out: &mut dyn Output) -> u8 {
        let reason = why.replace('"', "'");
        self.log(&format!("refused reason=\"{reason}\""), out);
        out.error(&format!("refused: {why}; allowed: {allowed}"));
        EXIT_REFUSED
    }

    /// Compares the whole line with the table of verbs.
    ///
    /// # Errors
    /// The exit code of the refusal, which has been reported on `out`.
    pub fn request(&self, out: &mut dyn Output) -> Result<Request, u8> {
        let line = self.client.line;
        Request::parse(line).ok_or_else(|| {
            let why = match line {
                "" => "no verb given".to_owned(),
                _ => format!("\"{}\" is not in the table of verbs", text::ascii(line, 60)),
            };
            self.refuse(&why, &Verb::allowed(), out)
        })
    }
}
