use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;

use super::rows::{self, Progress};
use crate::error::LogError;
use crate::store::Reader;
use breakglass_model::IncidentId;

/// An incident's export, block by block: about 256 KiB at a time, whatever the log's length. It
/// ends with an error where the log can't be read to its end, so that half of one is never taken
/// for a whole.
pub struct Export(Pin<Box<dyn Stream<Item = Result<Bytes, LogError>> + Send>>);

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export").finish_non_exhaustive()
    }
}

impl Stream for Export {
    type Item = Result<Bytes, LogError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl Export {
    pub(crate) async fn begin(incident: IncidentId, reader: Reader) -> Result<Export, LogError> {
        let begun = reader.ask(move |connection| rows::begin(connection, incident));
        let (header, progress) = begun.await?.ok_or(LogError::NotFound { incident })?;
        let first = futures_util::stream::iter([Ok(Bytes::from(header))]);
        let events = futures_util::stream::try_unfold((progress, reader), |(progress, reader)| {
            next(progress, reader)
        });
        Ok(Export(Box::pin(futures_util::StreamExt::chain(
            first, events,
        ))))
    }
}

async fn next(
    mut progress: Progress,
    reader: Reader,
) -> Result<Option<(Bytes, (Progress, Reader))>, LogError> {
    if progress.is_done() {
        return Ok(None);
    }
    let asked = reader.ask(move |connection| {
        let lines = rows::page(connection, &mut progress)?;
        Ok((lines, progress))
    });
    let (lines, progress) = asked.await?;
    if lines.is_empty() {
        let reason = "events of the incident are missing, or it was removed meanwhile".to_owned();
        return Err(LogError::Unreadable { reason });
    }
    Ok(Some((Bytes::from(lines), (progress, reader))))
}
