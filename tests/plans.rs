//! The plan files in `migrations/` are plans, and the one that explains every key does.

use std::{
    fs,
    path::{Path, PathBuf},
};
use storeshift::plan::{self, At, Parts, Plan, Tuning};

fn migrations() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations")
}

fn written(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, text).unwrap();
    file
}

/// The keys a plan file may have, from what the parser says when it meets another.
fn keys(before: &str) -> Vec<String> {
    let file = written(&format!("source = \"a\"\ntarget = \"b\"\n{before}\nno_such_key = 1"));
    let error = plan::read(file.path()).unwrap_err().to_string();
    let (_, expected) = error.split_once("expected").unwrap_or_else(|| panic!("{error}"));
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_plan_file_is_a_plan() {
    let mut plans = Vec::new();
    for entry in fs::read_dir(migrations()).unwrap() {
        let path = entry.unwrap().path();
        let (_, plan, _) = plan::read(&path).unwrap_or_else(|error| panic!("{error}"));
        plans.push((path.file_name().unwrap().to_str().unwrap().to_owned(), plan.at, plan.parts));
    }
    plans.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = [
        ("demo.toml", At::Latest, Parts::Both),
        ("full.toml", At::Latest, Parts::Both),
        ("history.toml", At::Oldest, Parts::Both),
        ("proofs-only.toml", At::Latest, Parts::Sc),
        ("queries-only.toml", At::Latest, Parts::Ss),
    ];
    assert_eq!(plans, expected.map(|(name, at, parts)| (name.to_owned(), at, parts)));
}

#[test]
fn the_plan_file_that_explains_every_key_has_every_key_with_its_default() {
    let text = fs::read_to_string(migrations().join("full.toml")).unwrap();
    let uncommented: String = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|first: char| first == '[' || first.is_ascii_lowercase()) => rest,
            _ => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let keys = [keys(""), keys("[tuning]")].concat();
    assert!(keys.iter().any(|key| key == "source") && keys.iter().any(|key| key == "workers"), "{keys:?}");
    for key in keys {
        let stands = |line: &str| line.starts_with(&format!("{key} = ")) || line == format!("[{key}]");
        assert_eq!(uncommented.lines().filter(|line| stands(line)).count(), 1, "{key}");
    }
    let (_, plan, tuning) = plan::read(written(&uncommented).path()).unwrap();
    assert_eq!(Plan { app_hash: None, ..plan }, Plan::new());
    let defaults = Tuning::default();
    // These have no default that could be written: left out, nothing is asked for, and what is free decides.
    assert!(tuning.switch_at.is_some() && tuning.checkpoints.is_some());
    let left_out = Tuning { workers: defaults.workers, switch_at: None, checkpoints: None, ..tuning };
    assert_eq!(left_out, defaults);
}
