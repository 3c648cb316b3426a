//! The scene that most scenarios play on: one host, a layer with a few package files, containers.

use std::path::PathBuf;
use std::sync::Arc;

use filterhost::container::{Container, ContainerOptions};
use filterhost::status::NtStatus;
use filterhost::volume::{FsKind, Volume, random_guid};
use filterhost::wcifs::{EcpVariant, Layer};
use siloscan_service::rules;

use crate::world::{World, WorldOptions};

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
    let volume = Volume::mount_kind(world.machine(), FsKind::Ntfs);
    let setup = world.process("setup");
    setup.set_drive('C', &volume);
    setup.run(|p| {
        p.create_directory(r"C:\app").expect("a new directory");
        p.write_file(TOOL, b"MZ a clean program")
            .expect("a new file");
        p.write_file(OTHER, b"MZ a clean library")
            .expect("a new file");
    });
    Layer {
        volume,
        root: r"\".to_owned(),
        registered: false,
        remote: false,
    }
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
