//! The scene that most scenarios play on: one host, a layer with a few package files, containers.

use std::path::PathBuf;
use std::sync::Arc;

use filterhost::container::{Container, ContainerOptions};
use filterhost::status::NtStatus;
use filterhost::user::Process;
use filterhost::volume::{FsKind, Volume, random_guid};
use filterhost::wcifs::{EcpVariant, Layer};
use siloscan_core::reason::Counted;
use siloscan_service::engine::eicar_test_file;
use siloscan_service::rules;

use crate::world::{Counts, World, WorldOptions};

/// `STATUS_VIRUS_INFECTED`.
pub const INFECTED: NtStatus = NtStatus(0xC000_0906_u32.cast_signed());

/// A package file that is clean.
pub const TOOL: &str = r"C:\app\tool.exe";
/// Another one.
pub const OTHER: &str = r"C:\app\other.dll";

/// A host with the image that `SILOSCAN_IMAGE` names, the built-in rules and two scan threads.
///
/// # Panics
/// Without that variable, which `cargo xtask test` sets.
#[must_use]
pub fn options() -> WorldOptions {
    let image = std::env::var_os("SILOSCAN_IMAGE");
    with_image(PathBuf::from(
        image.expect("cargo xtask test sets SILOSCAN_IMAGE"),
    ))
}

/// The same with this image.
#[must_use]
pub fn with_image(image: PathBuf) -> WorldOptions {
    WorldOptions {
        image,
        parameters: Vec::new(),
        values: Vec::new(),
        engine: Some(rules::load(None).engine),
        threads: 2,
        build: 20_348,
        without: Vec::new(),
    }
}

/// A volume with the package files, as the topmost directory of a layer.
///
/// # Panics
/// When a file cannot be made, which is a defect of the filter host.
#[must_use]
pub fn layer(world: &World) -> Layer {
    layer_with(world, |p| {
        p.create_directory(r"C:\app").expect("a new directory");
        p.write_file(TOOL, b"MZ a clean program")
            .expect("a new file");
        p.write_file(OTHER, b"MZ a clean library")
            .expect("a new file");
    })
}

/// A volume that a program of the host fills, its drive C, as the topmost directory of a layer.
#[must_use]
pub fn layer_with(world: &World, fill: impl FnOnce(&Process) + Send + 'static) -> Layer {
    let volume = Volume::mount_kind(world.machine(), FsKind::Ntfs);
    let setup = world.process("setup");
    setup.set_drive('C', &volume);
    setup.run(fill);
    Layer {
        volume,
        root: r"\".to_owned(),
        registered: false,
        remote: false,
    }
}

/// A container's life: it reads both package files, and what it makes infected is denied. The
/// counters of the reading.
///
/// # Panics
/// When it is otherwise.
#[must_use]
pub fn live(world: &World, container: &Container) -> Counts {
    container.process("app").run(|p| {
        assert!(p.read_file(TOOL).is_ok());
        assert!(p.read_file(OTHER).is_ok());
    });
    let counts = world.counts();
    container.process("malware").run(|p| {
        p.write_file(OTHER, &eicar_test_file())
            .expect("copied on write");
        assert_eq!(p.read_file(OTHER), Err(INFECTED));
    });
    counts
}

/// How often `reason` is counted while `user` does something, and what came of that.
pub fn during<R: Counted, T: Send + 'static>(
    world: &World,
    user: &Process,
    reason: R,
    body: impl FnOnce(&Process) -> T + Send + 'static,
) -> (u64, T) {
    let before = world.count(reason);
    let value = user.run(body);
    (world.count(reason) - before, value)
}

/// Containers over `layer`, whose container file system filter answers as `variant` says.
#[must_use]
pub fn containers(
    world: &World,
    layer: &Layer,
    count: usize,
    variant: EcpVariant,
) -> Arc<Vec<Container>> {
    let options = |_| ContainerOptions {
        layers: vec![layer.clone()],
        variant,
        container_id: Some(random_guid(world.machine())),
        ..ContainerOptions::default()
    };
    let made = (0..count).map(options);
    Arc::new(
        made.map(|options| world.machine().create_container(&options))
            .collect(),
    )
}
