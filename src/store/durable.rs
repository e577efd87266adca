//! What makes sled's flush a real one.
//!
//! On Linux sled 0.34 flushes its log with `sync_file_range`, which neither flushes the device's cache nor commits the
//! size of the file; acknowledged records are then lost at a power cut. When that call fails with `ENOSYS`, sled uses a
//! full `fsync` instead. A seccomp filter that answers `ENOSYS` brings this about for the whole process, without a
//! patched sled and without unsafe code. Elsewhere sled uses a full sync by itself.
//!
//! Invariants: the filter is installed once, for all threads, before a store is opened; a canary call, which only the
//! filter answers with `ENOSYS`, shows that it is in force; without it no store is opened on Linux unless the
//! administrator has taken the risk in words (`storage.unsafe-without-sync`). Files and directory entries that sled
//! itself never syncs are synced after every open and before anything is accepted ([`settle`]).

use std::fs::File;
use std::io;
use std::path::Path;

/// Why durable writes cannot be assured.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "durable writes cannot be assured: {0}. sled flushes with sync_file_range, which does not survive a power cut; a seccomp filter \
     makes it use fsync. Let this process install one (Docker and Podman: a seccomp profile that allows seccomp(2) and prctl(2); \
     systemd: SystemCallFilter=@system-service seccomp), or set storage.unsafe-without-sync = true and accept that a power cut \
     may lose acknowledged events"
)]
pub struct NotDurable(String);

/// Puts the filter in force for all threads of this process, present and to come. Does nothing the second time.
pub fn ensure() -> Result<(), NotDurable> {
    filter::ensure()
}

/// Syncs what sled leaves unsynced after an open: its configuration, its log, and the directories that name them.
pub fn settle(database: &Path) -> io::Result<()> {
    for name in ["conf", "db", "blobs"] {
        sync(&database.join(name))?;
    }
    sync(database)?;
    database.parent().map_or(Ok(()), sync)
}

/// fsync of a file or a directory; one that is not there needs none.
pub fn sync(path: &Path) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    match File::open(path) {
        Ok(file) => file.sync_all(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

#[cfg(target_os = "linux")]
mod filter {
    use std::collections::BTreeMap;
    use std::fs::OpenOptions;
    use std::sync::OnceLock;

    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
        apply_filter_all_threads,
    };

    use super::NotDurable;

    const ENOSYS: i32 = 38;

    /// A length that no file of ours has: `ftruncate` to it is the canary.
    const CANARY: u64 = 0x0063_6970_7265_6c61;

    /// Numbers of `sync_file_range` and `ftruncate`.
    const CALLS: Option<(i64, i64)> = if cfg!(target_arch = "x86_64") {
        Some((277, 77))
    } else if cfg!(any(target_arch = "aarch64", target_arch = "riscv64")) {
        Some((84, 46))
    } else {
        None
    };

    pub fn ensure() -> Result<(), NotDurable> {
        // Once: filters add up, and a process that has over a thousand of them cannot install another.
        static DONE: OnceLock<Result<(), NotDurable>> = OnceLock::new();
        DONE.get_or_init(|| {
            if in_force() {
                // Inherited from the process that started this one.
                return Ok(());
            }
            install().map_err(NotDurable)?;
            if in_force() { Ok(()) } else { Err(NotDurable("the seccomp filter was installed, but is not in force".to_owned())) }
        })
        .clone()
    }

    /// A device refuses every length with `EINVAL`; `ENOSYS` can only come from the filter.
    pub fn in_force() -> bool {
        OpenOptions::new()
            .write(true)
            .open("/dev/null")
            .and_then(|null| null.set_len(CANARY))
            .is_err_and(|e| e.raw_os_error() == Some(ENOSYS))
    }

    fn install() -> Result<(), String> {
        let (sync_file_range, ftruncate) = CALLS.ok_or("system call numbers of this processor are not known")?;
        let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|e| e.to_string())?;
        let canary = SeccompCondition::new(1, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, CANARY)
            .and_then(|condition| SeccompRule::new(vec![condition]))
            .map_err(|e| e.to_string())?;
        let rules = BTreeMap::from([(sync_file_range, Vec::new()), (ftruncate, vec![canary])]);
        let program: BpfProgram = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(ENOSYS as u32), arch)
            .and_then(TryInto::try_into)
            .map_err(|e| e.to_string())?;
        apply_filter_all_threads(&program).map_err(|e| format!("installing the seccomp filter failed: {e}"))
    }
}

#[cfg(not(target_os = "linux"))]
mod filter {
    pub fn ensure() -> Result<(), super::NotDurable> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn the_filter_reaches_threads_that_already_run_and_leaves_other_lengths_alone() {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let earlier = std::thread::spawn(move || wait.recv().map(|()| filter::in_force()));
        ensure().unwrap();
        go.send(()).unwrap();
        assert!(earlier.join().unwrap().unwrap());
        assert!(std::thread::spawn(filter::in_force).join().unwrap());
        let file = tempfile::tempfile().unwrap();
        file.set_len(12).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 12);
        ensure().unwrap();
    }

    #[test]
    fn the_error_says_what_to_do() {
        let words = NotDurable("no".into()).to_string();
        assert!(words.contains("storage.unsafe-without-sync") && words.contains("SystemCallFilter"), "{words}");
    }
}
