//! The program `storeshift`; everything is in the library. What is set here concerns the process as a whole.

use std::process::ExitCode;

fn main() -> ExitCode {
    return_large_buffers();
    make_room_for_descriptors();
    storeshift::cli::main()
}

/// glibc keeps an arena for each thread, and raises the size from which on it takes memory from the system with every buffer
/// that is freed. RocksDB's threads pass their buffers on, so the arenas fill with holes: a run over 40 versions of a million
/// keys went up to 390 MiB, and with a fixed size to 250 MiB, in the same time.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code)]
fn return_large_buffers() {
    const LARGE: libc::c_int = 64 << 10;
    // SAFETY: `mallopt` takes two integers and touches nothing but malloc's own settings; it is called before there is a
    // second thread. If it refuses, all is as it was.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 2 * LARGE);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn return_large_buffers() {}

/// Linux has a process of several threads wait for all processors, 10 to 15 ms, each time its table of descriptors outgrows its
/// room. A run has several hundred files open, and so it takes the room for them while there is one thread.
#[cfg(target_os = "linux")]
fn make_room_for_descriptors() {
    const MANY: std::os::fd::RawFd = 1023;
    // If there may not be so many, all is as it was.
    drop(rustix::io::fcntl_dupfd_cloexec(std::io::stderr(), MANY));
}

#[cfg(not(target_os = "linux"))]
fn make_room_for_descriptors() {}
