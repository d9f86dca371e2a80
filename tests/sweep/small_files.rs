//! The small files beside journal and engines: every bit of each, and seeded damage. A request or an order that is damaged is
//! refused or is the one that was made; a damaged identity is nobody's; a damaged checkpoint is none.

use crate::{
    bytes::{self, Others, fresh},
    support::random::{Random, seed},
    table::{Fate, Scale, Table},
};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};
use storeshift::{
    journal::{SwitchRequest, control},
    model::JobId,
    source::checkpoint,
    target::Place,
};

/// Damages one file in every way; `read` says whether it is refused, right, or something else.
fn sweep(table: &mut Table, place: &str, path: &Path, seed: u64, read: &dyn Fn() -> Fate) {
    let whole = fs::read(path).unwrap();
    assert_eq!(read(), Fate::Harmless, "{place}: without damage it is right");
    let mut inject = |kind, damaged: Vec<u8>| {
        if damaged == whole {
            return;
        }
        fs::write(path, &damaged).unwrap();
        let fate = catch_unwind(AssertUnwindSafe(read)).unwrap_or(Fate::Panic);
        table.count(place, kind, fate, || String::from_utf8_lossy(&damaged).into_owned());
    };
    for bit in 0..8 * whole.len() {
        inject("bit", bytes::flipped(&whole, bit));
    }
    let mut random = Random(seed);
    for _ in 0..Scale::asked().random(2_000, 100_000) {
        let (kind, damaged) = bytes::random(&whole, &Others { earlier: None, beside: b"{}" }, &mut random);
        inject(kind, damaged);
    }
    fs::write(path, &whole).unwrap();
}

const REFUSED: Fate = Fate::Found { repaired: false };

fn judged<T: PartialEq, E>(found: Result<T, E>, wanted: &T) -> Fate {
    match found {
        Ok(found) if found == *wanted => Fate::Harmless,
        Ok(_) => Fate::Silent,
        Err(_) => REFUSED,
    }
}

#[test]
fn a_damaged_small_file_is_refused_or_right() {
    let seed = seed(76);
    let mut table = Table::default();
    let dir = fresh();
    let dir = dir.path();
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();

    let mut request = SwitchRequest::new(7, Some(12));
    (request.max_pause, request.deadline) = (Some(2.5), Some(1_790_000_000));
    request.write(dir).unwrap();
    let request = Some(request);
    sweep(&mut table, "switch.json", &dir.join("switch.json"), seed, &|| judged(SwitchRequest::read(dir), &request));

    let asked = control::change(dir, |control| {
        control.pause();
        control.bytes_per_second = Some(1 << 20);
        control.workers = Some(2);
    });
    let asked = asked.unwrap();
    sweep(&mut table, "control.json", &dir.join(control::NAME), seed, &|| judged(control::read(dir), &asked));

    let (place, job) = (Place::new(dir), JobId([0x20; 16]));
    place.claim(&place.sc(), job).unwrap();
    let identity = place.sc().join("storeshift.job");
    sweep(&mut table, "storeshift.job", &identity, seed, &|| judged(place.is_of(&place.sc(), job), &true));

    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/nofast/application.db");
    let copy = dir.join("application.db");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(source).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    let into = dir.join("checkpoint/1");
    let request = checkpoint::Request { source: &copy, into: &into, reserve: 0, copies: true };
    let taken = checkpoint::take(&request).unwrap();
    let marker = marker_of(&into);
    // What else is in the marker is there to be shown: of which database, when, how. A checkpoint of another source is not taken
    // for one of this source, so that is no more than another one to be made.
    let find = || match checkpoint::find(&into) {
        None => REFUSED,
        Some(found) if found.bytes == taken.bytes && found.path == taken.path => Fate::Harmless,
        Some(_) => Fate::Silent,
    };
    sweep(&mut table, "checkpoint marker", &marker, seed, &find);
    table.judge("small files");
    let sealed = table.sum(|place, kind| place.ends_with(".json") && kind == "bit");
    assert!(sealed.injected() > 2_000 && sealed.harmless() == 0, "{sealed:?}");
}

fn marker_of(directory: &Path) -> std::path::PathBuf {
    let mut files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let is_marker = |path: &std::path::PathBuf| fs::read(path).is_ok_and(|text| text.starts_with(b"{"));
    files.find(is_marker).unwrap()
}
