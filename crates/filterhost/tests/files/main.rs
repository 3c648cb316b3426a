//! What user processes see of files, without any filter: the file system and the I/O manager's
//! part, end to end, under both schedulers.

mod bytes;
mod names;
mod opens;

use std::sync::Arc;

use filterhost::layout as w;
use filterhost::status::*;
use filterhost::user::reparse::{TAG_MOUNT_POINT, TAG_SYMLINK, link_data};
use filterhost::user::{OpenOptions, Process, cache};
use filterhost::volume::fs::control::{FSCTL_REQUEST_BATCH_OPLOCK, FSCTL_REQUEST_OPLOCK};
use filterhost::volume::share::{
    APPEND_DATA, DELETE, MAXIMUM_ALLOWED, READ_DATA, SHARE_ALL, SHARE_READ, WRITE_DATA,
};
use filterhost::volume::{FsKind, Volume, VolumeOptions};
use filterhost::{Machine, Mode};

/// Runs a scenario in a user process on an NTFS volume: free, and under seeds, one of them twice.
fn on_ntfs(body: impl Fn(&Process, &Arc<Volume>) + Copy + Send + Sync + 'static) {
    on(FsKind::Ntfs, body);
}

fn on(kind: FsKind, body: impl Fn(&Process, &Arc<Volume>) + Copy + Send + Sync + 'static) {
    let run = |mode: Mode| {
        let outcome = Machine::builder()
            .scheduler(mode)
            .run(move |m| {
                let volume = Volume::mount_kind(m, kind);
                let process = Process::create(m, "user.exe", &volume, None);
                let own = Arc::clone(&volume);
                process.run(move |process| body(process, &own));
                process.exit();
                cache::settle(m);
                assert_eq!(volume.fs().open_count(), 0, "every open is closed");
            })
            .unwrap_or_else(|report| panic!("{report}"));
        outcome.trace_hash
    };
    run(Mode::Free);
    for seed in 1..4 {
        run(Mode::Seeded(seed));
    }
    assert_eq!(run(Mode::Seeded(7)), run(Mode::Seeded(7)));
}

fn put(process: &Process, path: &str, data: &[u8]) {
    process.write_file(path, data).unwrap();
}
