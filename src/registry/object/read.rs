//! Reads objects that may come slowly, or break off in the middle.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, GetResult};

use super::Bucket;
use super::error::{from_store, shown};
use crate::registry::SourceError;

/// Attempts in a row that bring no byte.
const FRUITLESS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(100);

/// Where the bytes of an object go.
pub(super) trait Sink {
    fn take(&mut self, bytes: Bytes) -> impl Future<Output = Result<(), SourceError>> + Send;
}

impl Bucket {
    /// Reads an object of a known size to its end. A transfer that breaks off
    /// goes on where it was, as long as attempts bring something; a line on
    /// which nothing comes for `stall` is given up.
    pub(super) async fn read(
        &self,
        key: &Path,
        bytes: u64,
        stall: Duration,
        sink: &mut (impl Sink + Send),
    ) -> Result<(), SourceError> {
        let mut transfer = Transfer { bucket: self, key, bytes, stall, done: 0, tag: None };
        let mut fruitless = 0;
        while transfer.done < bytes {
            let before = transfer.done;
            let broken = match transfer.attempt(sink).await? {
                None => return Ok(()),
                Some(broken) => broken,
            };
            fruitless = if transfer.done > before { 0 } else { fruitless + 1 };
            if fruitless == FRUITLESS {
                return Err(broken);
            }
            tracing::debug!(done = transfer.done, bytes, reason = %broken, "a transfer broke off");
            tokio::time::sleep(PAUSE * 2_u32.pow(fruitless)).await;
        }
        Ok(())
    }

    /// Opens an object, or fails when nothing comes for `stall`.
    pub(super) async fn get(
        &self,
        key: &Path,
        options: GetOptions,
        stall: Duration,
    ) -> Result<Result<GetResult, Error>, SourceError> {
        let got = tokio::time::timeout(stall, self.store.get_opts(key, options)).await;
        got.map_err(|_| stalled(stall))
    }
}

/// What has come of an object.
struct Transfer<'a> {
    bucket: &'a Bucket,
    key: &'a Path,
    bytes: u64,
    stall: Duration,
    done: u64,
    /// Of the object that was begun, so that its rest is not another's.
    tag: Option<String>,
}

impl Transfer<'_> {
    /// One request. Gives none at the end, or why it broke off before.
    async fn attempt(
        &mut self,
        sink: &mut (impl Sink + Send),
    ) -> Result<Option<SourceError>, SourceError> {
        let range = (self.done > 0).then_some(GetRange::Offset(self.done));
        let options = GetOptions { range, if_match: self.tag.clone(), ..GetOptions::default() };
        let got = match self.bucket.get(self.key, options, self.stall).await? {
            Ok(got) => got,
            Err(error) => {
                let error = from_store(&error);
                let may_pass = matches!(error, SourceError::Unreachable(_));
                return if may_pass { Ok(Some(error)) } else { Err(error) };
            }
        };
        if got.meta.size != self.bytes || got.range.start != self.done {
            let (found, stated) = (got.meta.size, self.bytes);
            let reason = format!("{} has {found} bytes, {stated} are stated", self.key);
            return Err(SourceError::Changed(reason));
        }
        self.tag = got.meta.e_tag.clone();
        let mut stream = got.into_stream();
        while self.done < self.bytes {
            let next = tokio::time::timeout(self.stall, stream.next()).await;
            let chunk = match next.map_err(|_| stalled(self.stall))? {
                Some(Ok(chunk)) => chunk,
                Some(Err(error)) => {
                    return Ok(Some(SourceError::Unreachable(shown(&error))));
                }
                None => {
                    let reason = format!("{} breaks off after {} bytes", self.key, self.done);
                    return Ok(Some(SourceError::Unreachable(reason)));
                }
            };
            self.done += chunk.len() as u64;
            if self.done > self.bytes {
                let reason = format!("{} has more than {} bytes", self.key, self.bytes);
                return Err(SourceError::Changed(reason));
            }
            sink.take(chunk).await?;
        }
        Ok(None)
    }
}

pub(super) fn stalled(stall: Duration) -> SourceError {
    SourceError::Unreachable(format!("nothing came for {} ms", stall.as_millis()))
}
