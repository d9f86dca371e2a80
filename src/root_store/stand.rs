//! What a root store stands on: a layout, and which of its versions can be read.

use super::{
    Span, StoreError, View,
    layout::{self, Layout, info_of},
    retained::Retained,
};
use crate::model::Version;
use std::sync::Arc;

/// A layout with its versions; below it, the one it took the place of, if that is kept.
pub(super) struct Stand {
    pub layout: Arc<dyn Layout>,
    pub retained: Arc<Retained>,
    pub older: Option<Arc<Stand>>,
}

impl Stand {
    pub fn on(layout: Arc<dyn Layout>, older: Option<Arc<Stand>>) -> Result<Stand, StoreError> {
        Stand::at(layout, older, None)
    }

    /// With the oldest version of the layout, if that is known.
    pub fn at(
        layout: Arc<dyn Layout>,
        older: Option<Arc<Stand>>,
        oldest: Option<Version>,
    ) -> Result<Stand, StoreError> {
        let retained = match layout.latest()? {
            None => Retained::new(Version(0), None),
            Some(latest) => {
                let info = Arc::new(info_of(layout.as_ref(), latest)?);
                let oldest = oldest.map_or_else(|| layout::oldest(layout.as_ref(), latest), Ok)?;
                Retained::new(oldest, Some(info))
            }
        };
        Ok(Stand { layout, retained, older })
    }

    /// All versions that can be read.
    pub fn span(&self) -> Option<Span> {
        let own = self.retained.span()?;
        let older = self.older.as_ref().and_then(|older| older.span());
        // Without a gap, or what is in between would be promised.
        let oldest = older
            .filter(|older| older.latest.next() >= own.oldest)
            .map_or(own.oldest, |older| older.oldest.min(own.oldest));
        Some(Span { oldest, latest: own.latest })
    }

    /// The state at a version.
    pub fn view(self: &Arc<Stand>, version: Version) -> Result<View, StoreError> {
        let there = self.span();
        match self.retained.hold(version) {
            Ok(hold) => {
                let latest = self.retained.latest().filter(|latest| latest.version == version);
                let info = latest.map_or_else(|| info_of(self.layout.as_ref(), version).map(Arc::new), Ok)?;
                Ok(View::new(self.clone(), info, hold))
            }
            Err(_) => match &self.older {
                Some(older) if self.retained.span().is_some_and(|own| version < own.oldest) => {
                    older.view(version).map_err(|error| match error {
                        StoreError::NoVersion { asked, .. } => StoreError::NoVersion { asked, there },
                        error => error,
                    })
                }
                _ => Err(StoreError::NoVersion { asked: version, there }),
            },
        }
    }
}
