//! What became of the faults: a line for each place and kind of fault, printed as a table, and judged.

use std::{collections::BTreeMap, fmt::Write as _};

/// What became of one fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Noticed, and named as one chunk (in a source: as a file, a store or a version); whether redoing it made the target what it was.
    Chunk { repaired: bool },
    /// Noticed, and named: a store, a file, the root, a commit info, a watermark, more than one chunk.
    Found { repaired: bool },
    /// Noticed only when compared with the source.
    BySource,
    /// Not noticed, and whatever can be read is what it was.
    Harmless,
    /// Not noticed, and what is read is an older state of the chain, whole and with its own app hash.
    #[cfg_attr(not(feature = "rocksdb"), allow(dead_code, reason = "only databases on the disk can be older"))]
    Older,
    /// Not noticed, and something else is read.
    Silent,
    /// The library panicked.
    Panic,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Line {
    injected: u64,
    found: u64,
    chunk: u64,
    repaired: u64,
    by_source: u64,
    harmless: u64,
    older: u64,
    silent: u64,
    panics: u64,
}

/// The lines of one test.
#[derive(Default)]
pub struct Table {
    lines: BTreeMap<(String, &'static str), Line>,
    /// The first faults that should not be.
    bad: Vec<String>,
}

impl Table {
    pub fn count(&mut self, place: &str, kind: &'static str, fate: Fate, what: impl FnOnce() -> String) {
        let line = self.lines.entry((place.to_owned(), kind)).or_default();
        line.injected += 1;
        match fate {
            Fate::Chunk { repaired } => {
                (line.found, line.chunk) = (line.found + 1, line.chunk + 1);
                line.repaired += u64::from(repaired);
            }
            Fate::Found { repaired } => {
                line.found += 1;
                line.repaired += u64::from(repaired);
            }
            Fate::BySource => (line.found, line.by_source) = (line.found + 1, line.by_source + 1),
            Fate::Harmless => line.harmless += 1,
            Fate::Older => (line.harmless, line.older) = (line.harmless + 1, line.older + 1),
            Fate::Silent => line.silent += 1,
            Fate::Panic => line.panics += 1,
        }
        if matches!(fate, Fate::Silent | Fate::Panic) && self.bad.len() < 400 {
            self.bad.push(format!("{fate:?}: {place}, {kind}: {}", what()));
        }
    }

    /// Takes up what another table has counted.
    #[cfg_attr(not(feature = "rocksdb"), allow(dead_code, reason = "only faults on the disk are dealt out"))]
    pub fn add(&mut self, other: Table) {
        for (place, line) in &other.lines {
            self.lines.entry(place.clone()).or_default().add(line);
        }
        self.bad.extend(other.bad);
    }

    /// What every fault of these kinds came to; to be held against what is expected.
    pub fn sum(&self, of: impl Fn(&str, &str) -> bool) -> Line {
        let mut sum = Line::default();
        for ((place, kind), line) in &self.lines {
            if of(place, kind) {
                sum.add(line);
            }
        }
        sum
    }

    /// Prints it, past the harness, and fails if a fault went unnoticed or there was a panic.
    #[track_caller]
    pub fn judge(&self, name: &str) {
        let mut text = format!(
            "\n{name}\n{:<34} {:<14} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>6} {:>7} {:>7}\n",
            "place",
            "fault",
            "injected",
            "found",
            "named",
            "repaired",
            "by source",
            "harmless",
            "older",
            "silent",
            "panics"
        );
        let all = self.sum(|_, _| true);
        let (total, bits) = (("all".to_owned(), ""), ("all".to_owned(), "bit"));
        let all_bits = self.sum(|_, kind| kind == "bit");
        for ((place, kind), line) in self.lines.iter().chain([(&bits, &all_bits), (&total, &all)]) {
            let Line { injected, found, chunk, repaired, by_source, harmless, older, silent, panics } = line;
            writeln!(
                text,
                "{place:<34} {kind:<14} {injected:>9} {found:>9} {chunk:>9} {repaired:>9} {by_source:>9} {harmless:>9} \
                 {older:>6} {silent:>7} {panics:>7}"
            )
            .unwrap();
        }
        use std::io::Write as _;
        std::io::stderr().write_all(text.as_bytes()).unwrap();
        assert!(self.bad.is_empty(), "{name}:\n{}", self.bad.join("\n"));
        assert_eq!(all.silent + all.panics, 0);
        assert!(all.found > 0, "{name}: nothing was found");
    }
}

impl Line {
    fn add(&mut self, other: &Line) {
        self.injected += other.injected;
        self.found += other.found;
        self.chunk += other.chunk;
        self.repaired += other.repaired;
        self.by_source += other.by_source;
        self.harmless += other.harmless;
        self.older += other.older;
        self.silent += other.silent;
        self.panics += other.panics;
    }

    pub fn injected(&self) -> u64 {
        self.injected
    }

    #[cfg(feature = "rocksdb")]
    pub fn found(&self) -> u64 {
        self.found
    }

    #[cfg(feature = "rocksdb")]
    pub fn repaired(&self) -> u64 {
        self.repaired
    }

    pub fn harmless(&self) -> u64 {
        self.harmless
    }
}

/// How much is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Scale(Option<u64>);

impl Scale {
    pub fn asked() -> Scale {
        match std::env::var("STORESHIFT_PROOF") {
            Err(_) => Scale(Some(1)),
            Ok(all) if all == "all" => Scale(None),
            Ok(number) => Scale(Some(number.parse().expect("STORESHIFT_PROOF is a number or `all`"))),
        }
    }

    /// So many random faults: this many by default, that many in all.
    pub fn random(self, sample: u64, all: u64) -> u64 {
        self.0.map_or(all, |times| (sample * times).min(all))
    }

    /// Every how many-th of so many faults is injected, where by default about `sample` of them are.
    pub fn stride(self, of: usize, sample: u64) -> usize {
        self.0.map_or(1, |times| (of as u64 / (sample * times).max(1)).max(1) as usize)
    }
}
