use breakglass_model::OutputStream;

use crate::measurement::{self, Measurement};

/// The gate's output of one probe.
#[derive(Debug, Default)]
pub(crate) struct GateOutput {
    measurement: Option<Measurement>,
    /// The first line that is not from the gate.
    noise: Option<String>,
}

impl GateOutput {
    pub(crate) fn push(&mut self, stream: OutputStream, line: &str) {
        if stream != OutputStream::Stdout {
            return;
        }
        let measurement = measurement::parse(line);
        let is_verdict = line.starts_with("verdict: ");
        if measurement.is_none() && !is_verdict && !line.trim().is_empty() {
            self.noise.get_or_insert_with(|| line.to_owned());
        }
        self.measurement = measurement.or(self.measurement.take());
    }

    /// The last measurement, with a note about other output.
    pub(crate) fn into_measurement(self) -> Option<Measurement> {
        let mut measurement = self.measurement?;
        if let Some(line) = self.noise {
            let note = format!("something on the host prints before or after the gate: {line}");
            measurement.machine.notes.push(note);
        }
        Some(measurement)
    }
}
