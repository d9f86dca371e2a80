//! What the machine allows this process: the memory limits of its control groups. Hands the smallest to the defaults.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The memory this process may use, in bytes: the smallest limit of the control groups it is in, or what the machine has.
/// None where nothing says.
pub(super) fn memory() -> Option<u64> {
    memory_of(Path::new("/"))
}

/// As [`memory`], under a root directory that holds `proc` and `sys`.
fn memory_of(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().filter_map(|line| group(root, line)).flat_map(|(top, group, file)| {
        // A group's limit binds all groups below it.
        let directories: Vec<PathBuf> =
            group.ancestors().take_while(|directory| directory.starts_with(&top)).map(|d| d.join(file)).collect();
        directories.into_iter().filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
    });
    limits.chain(installed(root)).min()
}

/// Where the memory limits of a line of `/proc/self/cgroup` are: the top of the hierarchy, the group, and the file's name.
fn group(root: &Path, line: &str) -> Option<(PathBuf, PathBuf, &'static str)> {
    // `hierarchy:controllers:path`; version 2 has hierarchy 0 and no controllers.
    let mut fields = line.splitn(3, ':');
    let (hierarchy, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let (top, file) = match controllers {
        "" if hierarchy == "0" => ("sys/fs/cgroup", "memory.max"),
        _ if controllers.split(',').any(|name| name == "memory") => ("sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        _ => return None,
    };
    let top = root.join(top);
    Some((top.clone(), top.join(path.trim_start_matches('/')), file))
}

fn installed(root: &Path) -> Option<u64> {
    let memory = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    total.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn the_smallest_limit_on_the_way_up_counts() {
        let meminfo = ("proc/meminfo", "MemTotal:       24000000 kB\nMemFree: 1 kB\n");
        let own = ("proc/self/cgroup", "0::/system/node\n");
        let of = |files: &[(&str, &str)]| memory_of(root(files).path());
        assert_eq!(of(&[meminfo]), Some(24_000_000 * 1024));
        assert_eq!(of(&[meminfo, own, ("sys/fs/cgroup/system/node/memory.max", "max\n")]), Some(24_000_000 * 1024));
        let outer = ("sys/fs/cgroup/system/memory.max", "536870912\n");
        assert_eq!(of(&[meminfo, own, outer, ("sys/fs/cgroup/system/node/memory.max", "max\n")]), Some(512 << 20));
        assert_eq!(of(&[meminfo, own, outer, ("sys/fs/cgroup/system/node/memory.max", "1000000\n")]), Some(1_000_000));
        let first = ("proc/self/cgroup", "5:cpu,memory:/box\n4:pids:/other\n");
        let limit = ("sys/fs/cgroup/memory/box/memory.limit_in_bytes", "268435456\n");
        assert_eq!(of(&[meminfo, first, limit]), Some(256 << 20));
        assert_eq!(of(&[]), None);
    }
}
