//! What an operator is shown of a chain that is followed. Part of the status, so names are stable.

use super::convergence::{Outlook, Trend};
use serde::{Deserialize, Serialize};

/// How far behind its chain a target is, and what the job waits for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Following {
    /// Newest version that was seen of the chain.
    pub tip: u64,
    /// Versions of it that are not applied.
    pub behind: u64,
    /// Versions a second that the chain commits.
    pub chain_versions_per_second: Option<f64>,
    /// Versions a second by which the lag grows; negative where it shrinks.
    pub lag_growth_per_second: Option<f64>,
    /// `unknown`, `close`, `shrinking` or `growing`.
    pub trend: String,
    /// Seconds until the lag is gone, if it shrinks.
    pub seconds_to_catch_up: Option<f64>,
    /// Checkpoints that are kept.
    pub checkpoints: u64,
    /// Bytes on the disk that only they hold on to.
    pub checkpoint_bytes: u64,
    /// What is being waited for, if anything.
    pub waiting: String,
    /// What went wrong last with a checkpoint; it is tried again.
    pub trouble: Option<String>,
    /// The switch that is asked for; beside a node in this process, the one that was begun last.
    pub switch: Option<Switch>,
    /// Why the last attempt to switch came to nothing.
    pub last_failure: Option<String>,
    /// The checkpoint that is read, once it is another one than at first.
    #[serde(skip)]
    pub(in crate::migrator) reading: Option<String>,
    /// The app hash of the snapshot, once it is another one than at first.
    #[serde(skip)]
    pub(in crate::migrator) app_hash: Option<String>,
}

/// A switch that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Switch {
    /// The version at which to switch; none: wherever the node is stopped.
    pub height: Option<u64>,
    /// Unix seconds when it was asked for, or begun.
    pub asked: u64,
    /// Unix seconds after which the request is void.
    pub deadline: Option<u64>,
    /// Whether the node should be stopped now.
    pub ready: bool,
    /// Seconds from the node's end to the switch, or for which commits are held back, as far as can be foreseen.
    pub predicted_pause: Option<f64>,
    /// Most seconds that may be.
    pub max_pause: Option<f64>,
}

impl Following {
    pub(crate) fn set(&mut self, tip: u64, outlook: &Outlook) {
        self.tip = self.tip.max(tip);
        self.behind = outlook.behind;
        self.chain_versions_per_second = outlook.chain;
        self.lag_growth_per_second = outlook.growth;
        self.seconds_to_catch_up = outlook.seconds;
        self.trend = match outlook.trend {
            Trend::Unknown => "unknown",
            Trend::Close => "close",
            Trend::Shrinking => "shrinking",
            Trend::Growing => "growing",
        }
        .to_owned();
    }

    /// How it stands, in words; nothing if nothing was seen yet.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        let behind = match self.behind {
            0 => "everything seen of the node is applied".to_owned(),
            1 => "1 version behind the node".to_owned(),
            n => format!("{n} versions behind the node"),
        };
        let per_second = self.lag_growth_per_second.unwrap_or(0.0).abs();
        match self.trend.as_str() {
            "close" => Some(behind),
            "shrinking" => Some(format!("{behind}, shrinking by {per_second:.1} a second")),
            "growing" => Some(format!(
                "{behind}, NOT CONVERGING: growing by {per_second:.1} a second. Give the migration more (--workers, \
                 --memory-mib, no limits), or the node a slower pace"
            )),
            "unknown" => Some(behind),
            _ => None,
        }
    }
}
