//! An incident as one verifiable file, for an archive or for another log.
//!
//! ```text
//! {"breakglass_export":1,"incident":"…","target":"devvm","drill":false,"events":17,"head_hash":"…","breakglass":"0.1.0"}
//! {"seq":1,"kind":"incident_opened","at":"…","actor":"…", … ,"hash":"…"}
//! …
//! ```
//!
//! JSON lines: a header, then every event byte for byte as it was chained, with its hash, as the
//! event stream sends it too. The chain proves all of the header but the version of the breakglass
//! that wrote it. Pictures of the screen are not in it.

mod file;
mod import;
mod offline;
mod rows;
mod stream;

pub use file::{ExportError, verify_export};
pub use import::{Imported, import};
pub use offline::export_from;
pub use stream::Export;

use serde::{Deserialize, Serialize};

use breakglass_model::IncidentId;

/// The only format so far.
const FORMAT: u32 = 1;
/// How an error says it.
const NOT_ONE: &str = "it is no export of an incident";

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    breakglass_export: u32,
    incident: IncidentId,
    target: String,
    drill: bool,
    /// How many events follow.
    events: u64,
    /// The last one's hash; lower-case hex.
    head_hash: String,
    /// The version of the program that wrote it.
    breakglass: String,
}

impl Header {
    /// The header's line, without its end.
    fn written(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }

    /// The header of this line, or why it is none.
    fn parse(line: &[u8]) -> Result<Header, String> {
        let header: Header =
            serde_json::from_slice(line).map_err(|error| format!("{NOT_ONE}: {error}"))?;
        match header.breakglass_export {
            // Written in one way alone, so that a header that was touched is never the same.
            FORMAT if header.written().is_ok_and(|written| written == line) => Ok(header),
            FORMAT => Err(format!("{NOT_ONE}: its header is not as it was written")),
            newer => Err(format!(
                "it has export format {newer} and this breakglass knows {FORMAT}; install the newer one"
            )),
        }
    }
}
