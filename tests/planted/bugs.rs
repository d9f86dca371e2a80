//! The planted bugs as they are written down, and a file's text with its bugs in it.

use serde::Deserialize;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// One bug.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bug {
    pub name: String,
    /// From the root of the checkout.
    pub file: String,
    /// What is there, once in the file.
    pub from: String,
    /// What takes its place, with the bug if `crate::planted("name")` says so.
    pub to: String,
    /// What breaks in the world because of it.
    pub what: String,
    /// Tests that are to catch it, the quickest first: a filter of `--test memory`, or of `--lib` after `lib `.
    pub by: Vec<String>,
}

#[derive(Deserialize)]
struct File {
    bug: Vec<Bug>,
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All bugs, by area.
pub fn all() -> Vec<Bug> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(root().join("tests/planted")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        toml::from_str::<File>(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())).bug
    };
    files.into_iter().flat_map(read).collect()
}

impl Bug {
    /// What does not hold of it by itself.
    pub fn what_is_wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut must = |holds: bool, what: &str| {
            if !holds {
                wrong.push(format!("{}: {what}", self.name));
            }
        };
        let kebab = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        must(self.name.bytes().all(kebab), "its name is not in kebab case");
        must(self.to.contains(&format!("crate::planted(\"{}\")", self.name)), "it does not ask whether it is chosen");
        must(self.from != self.to && !self.what.is_empty() && !self.by.is_empty(), "something is missing");
        must(self.by.iter().all(|filter| is_there(filter)), "there are no such tests");
        wrong
    }
}

/// Whether there is a test, or a module of tests, of that name.
fn is_there(filter: &str) -> bool {
    let (name, roots) = match filter.strip_prefix("lib ") {
        Some(name) => (name, ["src"]),
        None => (filter, ["tests/memory"]),
    };
    let mut parts: Vec<&str> = name.split("::").filter(|part| !part.is_empty()).collect();
    let test = if name.ends_with("::") { None } else { parts.pop() };
    let mut places: Vec<PathBuf> = roots.iter().map(|place| root().join(place)).collect();
    for part in parts {
        // Tests of a file are in a module `tests` in it or beside it.
        let below = |place: PathBuf| {
            let inside = if place.is_file() { Some(place.clone()).filter(|_| part == "tests") } else { None };
            let folder = if place.is_file() { place.with_extension("") } else { place };
            let folder = if folder.ends_with("mod") { folder.parent().unwrap().to_owned() } else { folder };
            [
                Some(folder.join(part)).filter(|path| path.is_dir()),
                Some(folder.join(format!("{part}.rs"))).filter(|path| path.is_file()),
                Some(folder.join("mod.rs")).filter(|path| path.is_file() && part == "tests"),
                inside,
            ]
        };
        places = places.into_iter().flat_map(below).flatten().collect();
    }
    let Some(test) = test else { return !places.is_empty() };
    places.iter().any(|place| texts(place).iter().any(|text| text.contains(&format!("fn {test}"))))
}

fn texts(place: &Path) -> Vec<String> {
    if place.is_file() {
        return vec![fs::read_to_string(place).unwrap()];
    }
    fs::read_dir(place).unwrap().flat_map(|entry| texts(&entry.unwrap().path())).collect()
}

/// A file with all of its bugs in it.
pub fn planted(file: &str, bugs: &[&Bug]) -> Result<String, String> {
    let text = fs::read_to_string(root().join(file)).map_err(|error| format!("{file}: {error}"))?;
    let mut places = Vec::new();
    for bug in bugs {
        let found: Vec<usize> = text.match_indices(bug.from.as_str()).map(|(at, _)| at).collect();
        match found[..] {
            [at] => places.push((at, *bug)),
            _ => return Err(format!("{}: {file} has its snippet {} times, and not once", bug.name, found.len())),
        }
    }
    places.sort_by_key(|(at, _)| *at);
    let (mut out, mut end) = (String::new(), 0);
    for (at, bug) in places {
        let between =
            text.get(end..at).ok_or_else(|| format!("{}: {file} has another bug in its snippet", bug.name))?;
        out.push_str(between);
        out.push_str(&bug.to);
        end = at + bug.from.len();
    }
    out.push_str(&text[end..]);
    Ok(out)
}
