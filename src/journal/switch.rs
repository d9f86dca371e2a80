//! The request to switch: a small file beside the journal, written by whoever asks and read by the process that runs the job.
//!
//! It decides nothing by itself: the flip is recorded in the journal, and only after everything was checked. If the file is lost,
//! somebody has to ask again.

use super::{JournalError, ours, seal};
use crate::disk;
use serde::{Deserialize, Serialize};
use std::{fs::File, io, io::Read as _, path::Path};

const NAME: &str = "switch.json";
const FORMAT: u32 = 1;

/// What an operator asks for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchRequest {
    format: u32,
    /// The version at which to switch; none: wherever the node is stopped.
    pub height: Option<u64>,
    /// Seconds that the chain may stand still at most, as predicted.
    pub max_pause: Option<f64>,
    /// Unix seconds after which the request is void.
    pub deadline: Option<u64>,
    /// Unix seconds when it was made.
    pub asked: u64,
    /// Why it was not carried out, once that is so; it is void then.
    pub failure: Option<String>,
    /// Of the file; last in it.
    seal: Option<String>,
}

impl SwitchRequest {
    /// A request made at this time, in Unix seconds, to switch at this version or wherever the node is stopped.
    #[must_use]
    pub fn new(asked: u64, height: Option<u64>) -> SwitchRequest {
        SwitchRequest { format: FORMAT, asked, height, ..SwitchRequest::default() }
    }

    /// The request, void for this reason.
    #[must_use]
    pub fn failed(self, why: String) -> SwitchRequest {
        SwitchRequest { failure: Some(why), ..self }
    }

    /// Whether it is still to be carried out.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.failure.is_none()
    }

    /// Puts it beside the journal in this directory, in the place of an earlier one.
    ///
    /// # Errors
    /// The file could not be written.
    pub fn write(&self, directory: &Path) -> Result<(), JournalError> {
        ours::check(directory)?;
        let temporary = directory.join("switch.json.new");
        let error = |doing| move |source| JournalError::Io { path: directory.join(NAME), doing, source };
        let text = serde_json::to_vec_pretty(&SwitchRequest { seal: Some(seal::BLANK.to_owned()), ..self.clone() })
            .map_err(|e| JournalError::Database(e.to_string()))?;
        let held = File::open(directory).and_then(ours::Held::wait).map_err(error("lock the directory of"))?;
        // Synced, so that a request outlives a power cut like the journal does: the operator was told that it was made.
        ours::replace(&held, &temporary, &directory.join(NAME), &seal::sealed(text))
            .map_err(|(doing, source)| error(doing)(source))?;
        disk::sync(directory).map_err(error("sync"))
    }

    /// The request beside the journal in this directory, if there is one.
    ///
    /// # Errors
    /// There is one that cannot be read, or that this release does not understand.
    pub fn read(directory: &Path) -> Result<Option<SwitchRequest>, JournalError> {
        let path = directory.join(NAME);
        let mut text = Vec::new();
        match ours::open(&path).and_then(|mut file| file.read_to_end(&mut text)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(JournalError::Io { path, doing: "read", source }),
        }
        let invalid = |what: String| JournalError::Request { path: path.clone(), what };
        // The format first: a later one may have other fields.
        let value: serde_json::Value = serde_json::from_slice(&text).map_err(|error| invalid(error.to_string()))?;
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format == u64::from(FORMAT) => {}
            Some(format) => return Err(invalid(format!("it has format {format}, this release knows {FORMAT}"))),
            None => return Err(invalid("it has no format".to_owned())),
        }
        let mut request: SwitchRequest = serde_json::from_value(value).map_err(|error| invalid(error.to_string()))?;
        if request.seal.take().is_some_and(|seal| !seal::holds(&text, &seal)) {
            return Err(invalid("it is not as it was written: make the request again".to_owned()));
        }
        Ok(Some(request))
    }

    /// Takes the request back. Repeatable.
    ///
    /// # Errors
    /// The file could not be removed.
    pub fn remove(directory: &Path) -> Result<(), JournalError> {
        ours::check(directory)?;
        let error = |doing| move |source| JournalError::Io { path: directory.join(NAME), doing, source };
        let _held = match File::open(directory).and_then(ours::Held::wait) {
            Err(gone) if gone.kind() == io::ErrorKind::NotFound => return Ok(()),
            held => held.map_err(error("lock the directory of"))?,
        };
        let mut any = false;
        for name in ["switch.json.new", NAME] {
            any |= disk::clear(&directory.join(name)).map_err(error("remove"))?;
        }
        // Synced, or a power cut brings back what the operator was told is taken back.
        if any { disk::sync(directory).map_err(error("sync")) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_was_written_until_it_is_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(SwitchRequest::read(dir.path()).unwrap(), None);
        let asked = SwitchRequest { deadline: Some(9), ..SwitchRequest::new(5, Some(7)) };
        asked.write(dir.path()).unwrap();
        assert_eq!(SwitchRequest::read(dir.path()).unwrap(), Some(asked));
        SwitchRequest::remove(dir.path()).unwrap();
        SwitchRequest::remove(dir.path()).unwrap();
        assert_eq!(SwitchRequest::read(dir.path()).unwrap(), None);
    }

    #[test]
    fn a_request_that_is_not_understood_is_an_error_and_none_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let newer = serde_json::to_string(&SwitchRequest { format: 2, ..SwitchRequest::new(5, None) }).unwrap();
        let strange = newer.replacen("2", "1", 1).replacen("height", "hight", 1);
        for text in [newer.as_str(), strange.as_str(), "{", ""] {
            std::fs::write(dir.path().join(NAME), text).unwrap();
            let error = SwitchRequest::read(dir.path()).unwrap_err();
            assert!(matches!(error, JournalError::Request { .. }), "{text}: {error}");
        }
    }
}
