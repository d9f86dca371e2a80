//! Commit infos of both layouts: what is read keeps its app hash when it is written and read back.

use storeshift::{model::Version, source, target};

pub fn run(data: &[u8]) {
    if let Ok(version) = source::commit_info::decode_latest(data) {
        assert!(version <= Version::MAX);
    }
    if let Ok(mut info) = source::commit_info::decode(data) {
        assert!(info.version <= Version::MAX && info.stores.is_sorted_by(|a, b| a.name <= b.name));
        let app_hash = info.app_hash();
        info.stores.iter_mut().for_each(|store| store.version = info.version);
        let read = target::commit_info::decode(&target::commit_info::encode(&info)).expect("what we write we read");
        assert_eq!((read.version, read.app_hash()), (info.version, app_hash));
        assert_eq!(read.stores, info.stores);
    }
    if let Some(info) = target::commit_info::decode(data) {
        let again = target::commit_info::decode(&target::commit_info::encode(&info)).expect("what we write we read");
        assert_eq!(again, info);
        assert_eq!(again.app_hash(), info.app_hash());
    }
}
