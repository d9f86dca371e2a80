//! The layers of the code, held as data: what each module may import. Whatever is not listed fails.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// What each module may import of the crate. A module's name allows all of it, a longer path that item only.
const ALLOWED: &[(&str, &[&str])] = &[
    // Pure, from the bottom up.
    ("disk", &[]),
    ("model", &[]),
    ("iavl", &["model"]),
    ("machine", &["model"]),
    ("plan", &["model"]),
    ("progress", &[]),
    // Decides when work goes on, given the time.
    ("governor", &["plan::Yielding", "progress::Stop"]),
    // The edges, strangers to each other. The journal keeps what others own as records of its own.
    ("source", &["disk", "iavl", "model"]),
    ("target", &["disk", "iavl", "model"]),
    ("journal", &["disk", "iavl::SpineNode", "machine", "model", "plan"]),
    // Examines the source alone.
    ("doctor", &["iavl", "model", "plan", "progress", "source"]),
    // What a step does. Never the journal: only the driver orders durability.
    ("phases", &["governor", "iavl", "machine::Verified", "model", "plan", "progress", "source", "target"]),
    // The library's error knows what can fail below it.
    (
        "error",
        &[
            "iavl::ProveError",
            "iavl::tree::TreeError",
            "journal::JournalError",
            "machine::Refusal",
            "model::Verdict",
            "phases::PhaseError",
            "plan::PlanError",
            "source",
            "target::TargetError",
        ],
    ),
    ("reconcile", &["error", "journal::SourceIdentity", "machine", "source", "target"]),
    (
        "migrator",
        &[
            "disk",
            "error",
            "governor",
            "iavl",
            "journal",
            "machine",
            "model",
            "phases",
            "plan",
            "progress",
            "reconcile",
            "source",
            "target",
        ],
    ),
    // What a node embeds. It commits by itself; of the error below it knows what the kinds are.
    ("root_store", &["error", "iavl", "model", "source", "target"]),
    // Both beside each other, in one process.
    (
        "live",
        &["error", "governor", "journal", "machine", "migrator", "model", "plan", "progress", "root_store", "target"],
    ),
    (
        "cli",
        &["doctor", "error", "journal", "machine", "migrator", "model", "plan", "progress", "source", "target::Place"],
    ),
];

/// Source files that are longer than they should be, and why.
const LONG: &[(&str, usize, &str)] = &[];

/// Lines of a file without its tests, at most.
const LONGEST: usize = 500;
const MEDIAN: usize = 200;

struct Source {
    /// From src/, e.g. `iavl/tree/mod.rs`.
    path: String,
    text: String,
}

impl Source {
    /// The top-level module the file belongs to.
    fn module(&self) -> &str {
        self.path.split(['/', '.']).next().unwrap_or_default()
    }

    /// How many `super::` lead from the file to the crate's root.
    fn depth(&self) -> usize {
        let directories = self.path.matches('/').count();
        if self.path.ends_with("/mod.rs") { directories } else { directories + 1 }
    }

    /// Without comments and without `#[cfg(test)]` modules.
    fn code(&self) -> String {
        let mut code = String::new();
        let mut test = None;
        let mut skip = false;
        for line in self.text.lines() {
            let indent = line.len() - line.trim_start().len();
            if let Some(outer) = test {
                if line.trim_end() == format!("{}}}", " ".repeat(outer)) {
                    test = None;
                }
                continue;
            }
            if std::mem::take(&mut skip) {
                if line.trim_end().ends_with('{') {
                    test = Some(indent);
                }
                continue;
            }
            if line.trim() == "#[cfg(test)]" {
                skip = true;
                continue;
            }
            if !line.trim_start().starts_with("//") {
                code.push_str(line);
                code.push('\n');
            }
        }
        code
    }
}

fn sources() -> Vec<Source> {
    fn walk(directory: &Path, root: &Path, found: &mut Vec<Source>) {
        let mut entries: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                walk(&path, root, found);
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push(Source { path: path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), text });
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    assert!(found.len() > 50);
    found
}

/// Not tests, and not the two files that tie everything together.
fn layered(sources: &[Source]) -> impl Iterator<Item = &Source> {
    sources.iter().filter(|source| {
        let tests = source.path.contains("/tests/") || source.path.ends_with("/tests.rs");
        !tests && !["lib.rs", "main.rs"].contains(&source.path.as_str())
    })
}

/// The paths below the crate's root that follow `text`, which begins after `crate::`: of `model::{Hash, tree::{A, B}}`
/// these are `model::Hash`, `model::tree::A` and `model::tree::B`.
fn paths(text: &str) -> Vec<String> {
    fn parse<'a>(mut text: &'a str, before: &str, found: &mut Vec<String>) -> &'a str {
        let mut path = before.to_owned();
        loop {
            text = text.trim_start();
            if let Some(mut rest) = text.strip_prefix('{') {
                loop {
                    rest = parse(rest, &path, found).trim_start();
                    match rest.strip_prefix(',') {
                        Some(after) if after.trim_start().starts_with('}') => rest = after.trim_start(),
                        Some(after) => {
                            rest = after;
                            continue;
                        }
                        None => {}
                    }
                    return rest.strip_prefix('}').unwrap_or_default();
                }
            }
            let end = text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '*').unwrap_or(text.len());
            let (name, rest) = text.split_at(end);
            if !path.is_empty() && !name.is_empty() {
                path.push_str("::");
            }
            path.push_str(name);
            text = rest;
            match text.strip_prefix("::") {
                Some(rest) => text = rest,
                None => break,
            }
        }
        found.push(path);
        let text = text.trim_start();
        let Some(renamed) = text.strip_prefix("as ") else { return text };
        renamed.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_')
    }
    let mut found = Vec::new();
    parse(text, "", &mut found);
    found
}

/// What a file imports of the crate.
fn imports(source: &Source) -> BTreeSet<String> {
    let code = source.code();
    let up = "super::".repeat(source.depth());
    let mut found = BTreeSet::new();
    for prefix in ["crate::", up.as_str()] {
        for (at, _) in code.match_indices(prefix) {
            let whole = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$');
            let deeper = code[..at].ends_with("super::");
            if whole && !deeper {
                found.extend(paths(&code[at + prefix.len()..]));
            }
        }
    }
    found
}

fn is_allowed(module: &str, import: &str) -> bool {
    let own = import == module || import.starts_with(&format!("{module}::"));
    let allowed = ALLOWED.iter().find(|(name, _)| *name == module).map_or(&[][..], |(_, allowed)| allowed);
    own || allowed.iter().any(|allowed| import == *allowed || import.starts_with(&format!("{allowed}::")))
}

#[test]
fn every_module_imports_only_what_its_layer_allows() {
    let sources = sources();
    let mut wrong = Vec::new();
    for source in layered(&sources) {
        let module = source.module();
        assert!(ALLOWED.iter().any(|(name, _)| *name == module), "{module} is in no layer yet: list it here");
        for import in imports(source).iter().filter(|import| !is_allowed(module, import)) {
            wrong.push(format!("src/{}: crate::{import}", source.path));
        }
    }
    assert!(wrong.is_empty(), "imports against the layers:\n{}", wrong.join("\n"));
}

#[test]
fn what_the_layers_allow_is_used() {
    let sources = sources();
    let mut used: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for source in layered(&sources) {
        used.entry(source.module()).or_default().extend(imports(source));
    }
    let mut unused = Vec::new();
    for (module, allowed) in ALLOWED {
        for allowed in *allowed {
            let is_used = |import: &String| import == allowed || import.starts_with(&format!("{allowed}::"));
            if !used.get(module).is_some_and(|imports| imports.iter().any(is_used)) {
                unused.push(format!("{module}: {allowed}"));
            }
        }
    }
    assert!(unused.is_empty(), "allowed and not needed any more:\n{}", unused.join("\n"));
}

#[test]
fn the_layers_have_no_circles() {
    let mut below: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let modules: BTreeSet<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    for (module, allowed) in ALLOWED {
        let names = allowed.iter().map(|path| path.split(':').next().unwrap()).filter(|name| modules.contains(name));
        below.insert(module, names.collect());
    }
    while !below.is_empty() {
        let bottom: Vec<&str> =
            below.iter().filter(|(_, on)| on.iter().all(|on| !below.contains_key(on))).map(|(name, _)| *name).collect();
        assert!(!bottom.is_empty(), "these import each other in a circle: {below:?}");
        bottom.iter().for_each(|name| drop(below.remove(name)));
    }
}

#[test]
fn only_two_places_know_rocksdb() {
    let places = ["target/rocks/", "source/rocks/"];
    let sources = sources();
    let knows = |source: &&Source| source.code().contains("rocksdb::");
    let others: Vec<_> =
        sources.iter().filter(knows).filter(|s| !places.iter().any(|p| s.path.starts_with(p))).collect();
    assert!(others.is_empty(), "{:?}", others.iter().map(|source| &source.path).collect::<Vec<_>>());
    for place in places {
        assert!(sources.iter().filter(knows).any(|source| source.path.starts_with(place)), "{place}");
    }
}

#[test]
fn what_is_ours_on_a_disk_comes_about_in_one_place() {
    const CHANGES: &[&str] = &[
        "fs::write(",
        "fs::rename(",
        "fs::remove_",
        "fs::create_dir",
        "fs::hard_link(",
        "fs::set_permissions(",
        "File::create",
        "File::options",
        "OpenOptions::new",
        "DirBuilder",
        ".sync_all(",
        ".sync_data(",
    ];
    // The lock's file says nothing, and dies with its process; `control` and `ours` open for reading; tables are taken over by an
    // engine; times are only advice.
    const ELSEWHERE: &[(&str, usize)] = &[
        ("journal/lock.rs", 1),
        ("journal/control.rs", 1),
        ("journal/ours.rs", 1),
        ("target/rocks/table/mod.rs", 2),
        ("source/checkpoint/files.rs", 1),
    ];
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !source.path.starts_with("disk/")) {
        if source.path.contains("/tests") {
            continue;
        }
        let found: usize = CHANGES.iter().map(|change| source.code().matches(change).count()).sum();
        let wanted = ELSEWHERE.iter().find(|(path, _)| *path == source.path).map_or(0, |(_, count)| *count);
        if found != wanted {
            wrong.push(format!("src/{}: {found}, expected {wanted}", source.path));
        }
    }
    assert!(wrong.is_empty(), "changes to a disk that go past src/disk:\n{}", wrong.join("\n"));
}

#[test]
fn every_file_opens_by_saying_what_it_owns() {
    for source in sources() {
        assert!(source.text.starts_with("//! "), "src/{} does not open with //!", source.path);
    }
}

#[test]
fn files_stay_small() {
    let sources = sources();
    let mut lengths = Vec::new();
    for source in layered(&sources) {
        let length = source.code().lines().count()
            + source.text.lines().filter(|line| line.trim_start().starts_with("//")).count();
        let limit = LONG.iter().find(|(path, ..)| *path == source.path).map_or(LONGEST, |(_, limit, _)| *limit);
        assert!(
            length <= limit,
            "src/{} has {length} lines without its tests, at most {limit} are allowed",
            source.path
        );
        lengths.push(length);
    }
    for (path, limit, why) in LONG {
        assert!(sources.iter().any(|source| source.path == *path) && *limit > LONGEST && !why.is_empty(), "{path}");
    }
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    println!("{} files, median {median} lines, longest {}", lengths.len(), lengths.last().unwrap());
    assert!(median < MEDIAN, "half of the files have more than {median} lines");
}

#[test]
fn the_parser_of_this_test_sees_every_kind_of_import() {
    assert_eq!(
        paths("model::{Hash, tree::{A, B as C}, D};"),
        ["model::Hash", "model::tree::A", "model::tree::B", "model::D"]
    );
    assert_eq!(
        paths("{\n    error::Error,\n    phases::{self, x::*},\n};"),
        ["error::Error", "phases::self", "phases::x::*"]
    );
    assert_eq!(paths("target::Place>,"), ["target::Place"]);
    let text = "//! x\nuse crate::a;\n#[cfg(test)]\nmod tests {\n    use crate::b;\n}\nfn f(x: crate::c::D) {}\nuse super::super::e;\n";
    let source = Source { path: "m/n.rs".into(), text: text.into() };
    assert!(imports(&source).into_iter().eq(["a", "c::D", "e"]), "{:?}", imports(&source));
    assert!(is_allowed("phases", "machine::Verified") && !is_allowed("phases", "machine::State"));
    assert!(is_allowed("iavl", "iavl::tree") && !is_allowed("iavl", "machine") && !is_allowed("phases", "journal"));
}
