//! The samples of one series, in files to which every run of it adds, so that a series may be measured in pieces.

use super::{
    knobs::Knobs,
    pairs::Sample,
    statistics::{quantile, sorted},
    trial::{Met, Switched},
};
use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

/// A switch, as it is kept.
#[derive(Clone, Debug)]
pub struct Switch {
    pub met: Option<Met>,
    pub commits: u64,
    pub in_flight: bool,
    /// Milliseconds: of the first commit on store/v2, usually of one before, and from the request to the first.
    pub pause: f64,
    pub usual: f64,
    pub took: f64,
}

/// Everything that was measured.
pub struct Taken {
    pub syncs: Vec<f64>,
    pub samples: Vec<Sample>,
    pub switches: Vec<Result<Switch, String>>,
    /// Load of the machine, and time, at the begin and at the end of each piece.
    pub loads: Vec<String>,
    /// Cores that others used during the runs of each pair.
    pub disturbed: Vec<(f64, f64)>,
    /// Milliseconds for which the gate was closed at a switch of the large chain.
    pub closed: Vec<f64>,
}

pub struct Series {
    base: PathBuf,
    knobs: Knobs,
}

impl Series {
    /// Goes on with a series that is not whole, and else begins one.
    pub fn open(work: &Path, knobs: &Knobs) -> io::Result<Series> {
        let series = Series { base: work.join(format!("series-{}", knobs.series())), knobs: *knobs };
        if series.is_whole()? {
            for part in ["syncs", "pairs", "switches", "loads", "disturbed", "closed"] {
                fs::remove_file(series.path(part)).or_else(|error| match error.kind() {
                    io::ErrorKind::NotFound => Ok(()),
                    _ => Err(error),
                })?;
            }
        }
        Ok(series)
    }

    fn path(&self, part: &str) -> PathBuf {
        self.base.with_extension(format!("{part}.tsv"))
    }

    fn lines(&self, part: &str) -> io::Result<Vec<String>> {
        match fs::read_to_string(self.path(part)) {
            Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn add(&self, part: &str, lines: &str) -> io::Result<()> {
        OpenOptions::new().create(true).append(true).open(self.path(part))?.write_all(lines.as_bytes())
    }

    pub fn is_whole(&self) -> io::Result<bool> {
        Ok(self.pairs_done()? >= self.knobs.pairs && self.switches_done()? >= self.knobs.switches)
    }

    pub fn pairs_done(&self) -> io::Result<u64> {
        let last = self.lines("pairs")?.last().and_then(|line| Some(Sample::read(line)?.pair));
        Ok(last.map_or(0, |last| last + 1))
    }

    pub fn add_disturbed(&self, cores: [f64; 2]) -> io::Result<()> {
        self.add("disturbed", &format!("{}\t{}\n", cores[0], cores[1]))
    }

    pub fn add_closed(&self, closed: Option<f64>) -> io::Result<()> {
        closed.map_or(Ok(()), |closed| self.add("closed", &format!("{closed}\n")))
    }

    pub fn switches_done(&self) -> io::Result<u64> {
        Ok(self.lines("switches")?.len() as u64)
    }

    pub fn load(&self, when: &str) -> io::Result<()> {
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').take(3).collect::<Vec<_>>().join(" ");
        self.add("loads", &format!("{when} {load}\n"))
    }

    pub fn add_syncs(&self, times: &[Duration]) -> io::Result<()> {
        let lines: String = times.iter().map(|time| format!("{:.4}\n", time.as_secs_f64() * 1e3)).collect();
        self.add("syncs", &lines)
    }

    pub fn add_pair(&self, lines: &str) -> io::Result<()> {
        self.add("pairs", lines)
    }

    pub fn add_switch(&self, switched: &Result<Switched, String>) -> io::Result<()> {
        let line = match switched {
            Err(error) => {
                eprintln!("live: {error}");
                format!("failed\t{}", error.replace(['\n', '\t'], " "))
            }
            Ok(of) => {
                let last = of.before.rchunks(30).next().unwrap_or_default();
                let (usual, pause) = (quantile(&sorted(last.iter().copied()), 0.5), of.pause.unwrap_or(f64::NAN));
                let took = of.took.map_or(f64::NAN, |took| took.as_secs_f64() * 1e3);
                let met = of.met.map_or("-".to_owned(), |met| format!("{met:?}"));
                format!("{met}\t{}\t{}\t{pause:.3}\t{usual:.3}\t{took:.3}", of.commits, of.in_flight)
            }
        };
        self.add("switches", &(line + "\n"))
    }

    pub fn read(&self) -> io::Result<Taken> {
        let syncs = self.lines("syncs")?.iter().filter_map(|line| line.parse().ok()).collect();
        let samples = self.lines("pairs")?.iter().filter_map(|line| Sample::read(line)).collect();
        let switches = self.lines("switches")?.iter().map(|line| Switch::read(line)).collect();
        let disturbed = self.lines("disturbed")?;
        let cores = |line: &String| {
            let (without, with) = line.split_once('\t')?;
            Some((without.parse().ok()?, with.parse().ok()?))
        };
        let disturbed = disturbed.iter().filter_map(cores).collect();
        let loads = self.lines("loads")?;
        let closed = self.lines("closed")?.iter().filter_map(|line| line.parse().ok()).collect();
        Ok(Taken { syncs, samples, switches, loads, disturbed, closed })
    }
}

impl Switch {
    fn read(line: &str) -> Result<Switch, String> {
        let words: Vec<&str> = line.split('\t').collect();
        let [met, commits, in_flight, pause, usual, took] = words.as_slice() else { return Err(line.to_owned()) };
        let number = |text: &str| text.parse().map_err(|_| line.to_owned());
        let all = [Met::Before, Met::Inside, Met::Decided, Met::After];
        Ok(Switch {
            met: all.into_iter().find(|one| format!("{one:?}") == *met),
            commits: commits.parse().map_err(|_| line.to_owned())?,
            in_flight: *in_flight == "true",
            pause: number(pause)?,
            usual: number(usual)?,
            took: number(took)?,
        })
    }
}
