//! Damaged sources and targets: either the result is that of the undamaged, or it is refused and says what is wrong. Never
//! done with other pairs.

use crate::{
    dump::Dump,
    helper::{Job, baseline, copy, damage_tool, damaged, files, fixture, flip, fresh, offsets, text},
    plant,
};
use std::path::Path;
use storeshift::iavl::Node;

#[test]
fn a_flipped_byte_in_a_source_table_is_found_and_its_file_named_or_it_does_not_matter() {
    let name = "idle";
    let (mut found, mut harmless, mut told) = (0, 0, 0);
    for file in files(&fixture(name), "ldb") {
        for offset in offsets(&file, 5) {
            let home = fresh();
            let source = home.path().join("application.db");
            copy(&fixture(name), &source);
            let damaged = source.join(file.file_name().unwrap());
            flip(&damaged, offset, 0x04);
            let job = Job::new(source, &["--at", "oldest"]);
            let ran = job.run(&[]);
            let what = format!("byte {offset} of {}", file.display());
            if ran.code == Some(0) {
                harmless += 1;
                job.dump().assert_same(&baseline(name, &["--at", "oldest"]), &what);
            } else {
                found += 1;
                println!("{what}: {}", ran.err.lines().find(|line| line.starts_with("error")).unwrap_or_default());
                assert_eq!(ran.code, Some(5), "{what}: {ran:#?}");
                assert!(ran.err.contains(damaged.file_name().unwrap().to_str().unwrap()), "{what}: {ran:#?}");
                // With a good copy in its place the same command continues.
                if job.target().exists() && offset > 0 {
                    let why = ran.err.lines().find_map(|line| line.strip_prefix("error: ")).unwrap();
                    let shown = job.command("status", &[]).out;
                    assert!(shown.contains(&format!("\nended      {why}\n")), "{what}: {shown}");
                    told += 1;
                    std::fs::copy(&file, &damaged).unwrap();
                    job.run(&[]).expect(0, &[]);
                    assert!(job.status()["error"].is_null(), "{what}");
                    job.dump().assert_same(&baseline(name, &["--at", "oldest"]), &what);
                }
            }
        }
    }
    println!("a flipped byte in the source: found {found}, harmless {harmless}");
    assert!(found >= 20 && told >= 5, "{found}, {told}");
}

#[test]
fn what_a_crash_or_an_old_index_leaves_beside_the_trees_does_not_matter() {
    let Some(tool) = damage_tool() else { return };
    let faults: [&[&str]; 6] = [
        &["torn-newest"],
        &["ahead"],
        &["stale-fast"],
        &["stale-fast", "-kind", "fresh"],
        &["legacy-node", "-kind", "node"],
        &["legacy-node", "-kind", "orphan"],
    ];
    for what in faults {
        let (_dir, copy, _) = damaged(tool, "small", what);
        let job = Job::new(copy, &[]);
        job.run(&[]).expect(0, &[]);
        job.dump().assert_same(&baseline("small", &[]), &format!("{what:?}"));
    }
    let (_dir, copy, _) = damaged(tool, "small", &["ghost-root"]);
    let job = Job::new(copy, &[]);
    job.run(&[]).expect(0, &[]);
    job.dump().assert_same(&baseline("small", &[]), "ghost-root");
}

#[test]
fn a_tree_that_is_not_what_the_app_hash_says_is_refused_by_store_and_node() {
    let Some(tool) = damage_tool() else { return };
    let faults: [&[&str]; 13] = [
        &["missing-node"],
        &["missing-node", "-node", "leaf"],
        &["missing-node", "-node", "root"],
        &["wrong-inner-key"],
        &["wrong-inner-key", "-pick", "0"],
        &["wrong-value"],
        &["wrong-value", "-kind", "length"],
        &["wrong-hash"],
        &["wrong-size"],
        &["wrong-size", "-node", "root"],
        &["swap-children"],
        &["bad-snappy-byte", "-kind", "mended"],
        &["bad-snappy-byte", "-kind", "undecodable"],
    ];
    for what in faults {
        let (_dir, copy, planted) = damaged(tool, "small", what);
        let job = Job::new(copy, &[]);
        let ran = job.run(&[]);
        println!("{what:?}: {:?} {}", ran.code, ran.err.lines().find(|l| l.starts_with("error")).unwrap_or_default());
        assert!(matches!(ran.code, Some(4 | 5)), "{what:?}: {ran:#?}\n{planted}");
        let store = planted["store"].as_str().unwrap();
        let file = planted["file"].as_str().unwrap_or("?");
        assert!(ran.err.contains(&format!("store {store}")) || ran.err.contains(file), "{what:?}: {ran:#?}\n{planted}");
        if job.target().exists() {
            assert_ne!(job.status()["phase"], "Done");
        }
        job.run(&[]).expect(ran.code.unwrap(), &[]);
    }
}

#[test]
fn commit_infos_that_are_missing_or_lie_are_refused() {
    let Some(tool) = damage_tool() else { return };
    for what in [&["missing-commit-info"], &["wrong-commit-hash"], &["bad-snappy-byte"]] {
        let (_dir, copy, planted) = damaged(tool, "small", what);
        let job = Job::new(copy, &[]);
        let ran = job.run(&[]);
        println!("{what:?}: {:?} {}", ran.code, ran.err.lines().find(|l| l.starts_with("error")).unwrap_or_default());
        assert!(matches!(ran.code, Some(4 | 5)), "{what:?}: {ran:#?}\n{planted}");
    }
}

#[test]
fn legacy_trees_are_refused_or_come_out_equal() {
    let Some(tool) = damage_tool() else { return };
    for kind in ["child", "root"] {
        let (_dir, copy, _) = damaged(tool, "small", &["legacy-node", "-kind", kind]);
        let job = Job::new(copy, &[]);
        let ran = job.run(&[]);
        println!("legacy-node {kind}: {:?} {}", ran.code, ran.err);
        match ran.code {
            Some(0) => job.dump().assert_same(&baseline("small", &[]), kind),
            _ => drop(ran.expect(4, &["legacy"])),
        }
    }
}

#[test]
fn a_log_cut_in_its_last_record_is_an_older_state_or_refused() {
    let Some(tool) = damage_tool() else { return };
    let (_dir, copy, planted) = damaged(tool, "unflushed", &["torn-log"]);
    let job = Job::new(copy, &[]);
    let ran = job.run(&[]);
    println!("torn-log: {:?} {} {planted}", ran.code, ran.err);
    match ran.code {
        Some(0) => {
            let height = job.status()["height"].to_string();
            let whole = Job::of("unflushed", &["--at", &height]);
            whole.run(&[]).expect(0, &[]);
            assert_eq!(
                job.dump().sc.get(format!("c/{height}").as_bytes()),
                whole.dump().sc.get(format!("c/{height}").as_bytes())
            );
        }
        code => assert!(matches!(code, Some(4 | 5)), "{ran:#?}"),
    }
}

fn done(name: &'static str) -> Job {
    let job = Job::of(name, &[]);
    job.run(&[]).expect(0, &[]);
    job
}

#[test]
fn a_flipped_byte_in_a_target_table_is_found_by_verify_or_changes_no_pair() {
    let template = done("nofast");
    let (mut found, mut named, mut harmless) = (0, 0, 0);
    for part in ["sc", "ss"] {
        for file in files(&template.target().join(part), "sst") {
            for offset in offsets(&file, 12) {
                let job = Job::of("nofast", &[]);
                copy(&template.target(), &job.target());
                flip(&job.target().join(part).join(file.file_name().unwrap()), offset, 0x20);
                let what = format!("byte {offset} of {part}/{}", file.file_name().unwrap().display());
                let ran = job.command("verify", &[]);
                if ran.code == Some(0) {
                    harmless += 1;
                    job.dump().assert_same(&baseline("nofast", &[]), &what);
                } else {
                    found += 1;
                    named += u32::from(ran.out.contains("DAMAGED    chunk"));
                    println!("{what}: {}", ran.err.lines().find(|line| line.starts_with("error")).unwrap_or_default());
                    assert_eq!(ran.code, Some(5), "{what}: {ran:#?}");
                }
            }
        }
    }
    println!("a flipped byte in the target: found {found} ({named} by chunk), harmless {harmless}");
    assert!(found >= 8 && named >= 3, "{found} {named}");
}

/// Plants, verifies, repairs, verifies again.
#[track_caller]
fn found_and_repaired(template: &Job, what: &str, plant: &dyn Fn(&Path)) {
    let job = Job::of("nofast", &[]);
    copy(&template.target(), &job.target());
    plant(&job.target());
    let ran = job.command("verify", &[]);
    ran.expect(5, &[]);
    assert!(ran.out.contains("DAMAGED    chunk"), "{what}: {ran:#?}");
    println!("{what}: {}", ran.out.lines().find(|line| line.starts_with("DAMAGED")).unwrap_or_default());
    let source = text(&job.source);
    let ran = job.command("verify", &["--repair", "--source", &source]);
    ran.expect(0, &[]);
    assert!(ran.out.contains("repaired   chunk"), "{what}: {ran:#?}");
    let ran = job.command("verify", &["--source", &source]);
    ran.expect(0, &[]);
    assert!(ran.out.contains("The target is sound."), "{what}: {ran:#?}");
    job.dump().without_idle_removals().assert_same(&baseline("nofast", &[]), what);
}

/// The SC record of a node of a store, one that `fits`: from its middle, so that it is in a chunk.
fn some_node(dump: &Dump, store: &str, fits: impl Fn(&Node<'_>) -> bool) -> (Vec<u8>, Vec<u8>) {
    let node = |record: &[u8]| Node::decode(record).is_ok_and(|node| fits(&node));
    let prefix = format!("{store}s");
    let all: Vec<_> = dump.sc.iter().filter(|(key, _)| key.starts_with(prefix.as_bytes())).collect();
    let fitting: Vec<_> = all.into_iter().filter(|(_, record)| node(record)).collect();
    let (key, record) = fitting[fitting.len() / 2];
    (key.clone(), record.clone())
}

#[test]
fn wrong_pairs_planted_in_ss_are_named_by_chunk_and_repaired() {
    let template = done("nofast");
    let dump = template.dump();
    let middle = &dump.ss[dump.ss.len() / 2];
    let (key, version, value) = (middle.0.clone(), middle.1, middle.2.clone().unwrap());
    let mut other = value.clone();
    other.push(7);
    found_and_repaired(&template, "another value", &|target| plant::ss(target, &key, version, Some(&other)));
    found_and_repaired(&template, "an empty value", &|target| plant::ss(target, &key, version, Some(b"")));
    found_and_repaired(&template, "a missing pair", &|target| plant::ss(target, &key, version, None));
    let mut extra = key.clone();
    extra.push(0);
    found_and_repaired(&template, "an extra pair", &|target| plant::ss(target, &extra, version, Some(b"x")));
    let mut first = b"s/k:".to_vec();
    first.extend(key[4..].iter().take_while(|&&byte| byte != b'/'));
    first.extend(b"/\0");
    found_and_repaired(&template, "a pair before all", &|target| plant::ss(target, &first, version, Some(b"x")));
}

#[test]
fn wrong_records_planted_in_sc_are_named_by_chunk_and_repaired() {
    let template = done("nofast");
    let dump = template.dump();
    for store in ["bank", "staking"] {
        let (key, record) = some_node(&dump, store, |node| matches!(node, Node::Leaf { .. }));
        let mut other = record.clone();
        *other.last_mut().unwrap() ^= 1;
        found_and_repaired(&template, "another leaf", &|target| plant::sc(target, &key, Some(&other)));
        found_and_repaired(&template, "a missing leaf", &|target| plant::sc(target, &key, None));
        found_and_repaired(&template, "no node at all", &|target| plant::sc(target, &key, Some(b"junk")));
        let (at, record) = some_node(&dump, store, |node| matches!(node, Node::Inner { size: 2 | 3, .. }));
        let Ok(Node::Inner { height, size, key, hash, left, right }) = Node::decode(&record) else { panic!() };
        let mut wrong_key = key.to_vec();
        wrong_key.push(0);
        let mut wrong = Vec::new();
        Node::Inner { height, size, key: &wrong_key, hash, left, right }.encode(&mut wrong);
        found_and_repaired(&template, "a wrong inner key under the right hash", &|target| {
            plant::sc(target, &at, Some(&wrong));
        });
    }
}

#[test]
fn an_extra_record_and_a_wrong_commit_info_in_sc_are_found() {
    let template = done("nofast");
    let dump = template.dump();
    let (mut key, record) = some_node(&dump, "bank", |node| matches!(node, Node::Leaf { .. }));
    let last = key.len() - 2;
    key[last] ^= 0x40;
    assert!(!dump.sc.contains_key(&key));
    let info = b"c/12".to_vec();
    let mut wrong = dump.sc[&info].clone();
    let middle = wrong.len() / 2;
    wrong[middle] ^= 1;
    for (what, key, value) in [("an extra node", key, record), ("a wrong commit info", info, wrong)] {
        let job = Job::of("nofast", &[]);
        copy(&template.target(), &job.target());
        plant::sc(&job.target(), &key, Some(&value));
        let ran = job.command("verify", &[]);
        println!("{what}: {:?} {} {}", ran.code, ran.out, ran.err);
        ran.expect(5, &[]);
    }
}
