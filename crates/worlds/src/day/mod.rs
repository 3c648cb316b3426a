//! A day of a container host: an image's layers on a volume, containers that open, read, modify
//! and create files, three attacks, and a scan service in a process of its own.

mod attacks;
mod outside;
mod work;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use filterhost::container::ContainerOptions;
use filterhost::fltmgr::port::security;
use filterhost::layout::GUID;
use filterhost::registry::Value;
use filterhost::remote::{Server, ServerOptions};
use filterhost::user::Process;
use filterhost::volume::{FsKind, Volume, raise_file_limit, random_guid};
use filterhost::wcifs::Layer;
use filterhost::{Container, LoadOptions, Machine};

use crate::layer::LayerFolder;
use crate::opens;
use crate::report::figures::{Figures, RouteRow, StartRow};
use crate::world::{ALTITUDE, GROUP, INSTANCE, SERVICE, SERVICE_SID};
use outside::Outside;

/// What a day is made of.
#[derive(Clone, Debug)]
pub struct DayOptions {
    /// The driver image.
    pub image: PathBuf,
    /// The scan service's program.
    pub siloscand: PathBuf,
    /// The folders that become layers.
    pub layers: Vec<LayerFolder>,
    /// Number of containers.
    pub containers: usize,
    /// Package files that each container opens.
    pub files: usize,
    /// Whether the verdict of a package file serves all containers.
    pub optimised: bool,
}

/// A container, and what it is called.
struct Named {
    name: String,
    id: GUID,
    container: Container,
}

/// Lives through a day. `tell` hears of progress.
///
/// # Errors
/// What went wrong, in words: the driver, the service, a layer, or a rule of the kernel that the
/// driver broke.
pub fn live(options: &DayOptions, tell: impl Fn(&str) + Send + 'static) -> Result<Figures, String> {
    raise_file_limit().map_err(|cause| format!("cannot raise the limit of open files: {cause}"))?;
    let folder = tempfile::tempdir().map_err(|cause| format!("no temporary folder: {cause}"))?;
    let (options, socket) = (options.clone(), folder.path().join("port"));
    let outcome = Machine::builder()
        .run(move |m| day(m, &options, &socket, &tell))
        .map_err(|report| report.to_string())?;
    outcome.value
}

fn day(
    m: &Arc<Machine>,
    options: &DayOptions,
    socket: &std::path::Path,
    tell: &impl Fn(&str),
) -> Result<Figures, String> {
    let _system = Volume::mount_kind(m, FsKind::Ntfs);
    let layers = lay_down(m, options)?;
    tell("loading siloscan.sys");
    let share = u32::from(!options.optimised);
    let load = LoadOptions::new(&options.image, SERVICE)
        .group(GROUP)
        .instance(INSTANCE, ALTITUDE)
        .value("Parameters", "LayerVerdicts", Value::dword(share));
    let before = m.pool().mark();
    let driver = m.load_driver(&load).map_err(|error| error.to_string())?;
    opens::listen(m);
    let user_sid = Some(security::sid(5, &SERVICE_SID));
    let server = Server::start(
        m,
        ServerOptions {
            path: socket.to_owned(),
            user_sid,
        },
    )
    .map_err(|error| error.to_string())?;
    tell("starting siloscand");
    let outside = Outside::start(m, &options.siloscand, socket)?;

    let begun = Instant::now();
    let containers = start_containers(m, options, &layers);
    let (timings, opens) = work::run(m, options, &containers, tell);
    let mut figures = Figures {
        optimised: options.optimised,
        containers: options.containers,
        layer_files: options.layers.iter().map(|layer| layer.files.len()).sum(),
        layer_bytes: options.layers.iter().map(|layer| layer.bytes).sum(),
        opens,
        seconds: begun.elapsed().as_secs_f64(),
        ..Figures::default()
    };
    tell("attacking");
    figures.attacks = attacks::run(options, &containers);
    for named in &containers {
        named.container.destroy();
    }
    let told = outside.stop(m)?;
    server.stop();
    tell("unloading siloscan.sys");
    driver
        .unload()
        .map_err(|status| format!("the driver refused to unload: {status:?}"))?;
    figures.left = left(m, before);
    figures.times = timings.rows();
    account(&mut figures, &told, &containers);
    Ok(figures)
}

/// Puts each layer folder on one volume of package files, topmost first.
fn lay_down(m: &Arc<Machine>, options: &DayOptions) -> Result<Vec<Layer>, String> {
    let volume = Volume::mount_kind(m, FsKind::Ntfs);
    let mut layers = Vec::new();
    for (number, folder) in options.layers.iter().enumerate() {
        let root = format!(r"\layer{number}");
        let setup = Process::create(m, "setup", &volume, None);
        let made = setup.run({
            let root = root.clone();
            move |process| process.create_directory(&root)
        });
        made.map_err(|status| format!("cannot make {root}: {status:?}"))?;
        volume
            .import_folder(&root, &folder.path)
            .map_err(|error| error.to_string())?;
        let volume = Arc::clone(&volume);
        layers.push(Layer {
            volume,
            root,
            registered: false,
            remote: false,
        });
    }
    Ok(layers)
}

fn start_containers(m: &Arc<Machine>, options: &DayOptions, layers: &[Layer]) -> Vec<Named> {
    (1..=options.containers)
        .map(|number| {
            let id = random_guid(m);
            let container = m.create_container(&ContainerOptions {
                layers: layers.to_vec(),
                container_id: Some(id),
                ..ContainerOptions::default()
            });
            Named {
                name: format!("container-{number}"),
                id,
                container,
            }
        })
        .collect()
}

/// What the machine still holds of the driver. The machine's own checks end the run before this
/// where something leaked; the numbers are what they looked at.
fn left(m: &Arc<Machine>, before: u64) -> Vec<(String, u64)> {
    let in_use = m.pool().in_use();
    let blocks = in_use.iter().filter(|block| block.number > before).count();
    let drivers = m.state::<filterhost::driver::Drivers>().loaded().len();
    vec![
        ("pool blocks of the driver".to_owned(), blocks as u64),
        ("drivers loaded".to_owned(), drivers as u64),
    ]
}

/// Fills in what the service heard and did.
fn account(figures: &mut Figures, told: &outside::Told, containers: &[Named]) {
    figures.scans = told.scans;
    figures.scanned_bytes = told.bytes;
    let routes = [
        "ignore", "skip", "look-up", "scan", "allow", "deny", "failure",
    ];
    for route in routes {
        for (name, opens) in &told.counts {
            if let Some(reason) = name.strip_prefix(route).and_then(|r| r.strip_prefix('/')) {
                let (route, reason) = (route.to_owned(), reason.to_owned());
                figures.routes.push(RouteRow {
                    route,
                    reason,
                    opens: *opens,
                });
            }
        }
    }
    for named in containers {
        let start = told.starts.iter().find(|start| start.is_of(&named.id));
        figures.starts.extend(start.map(|start| StartRow {
            container: named.name.clone(),
            waits: start.waits,
            waited_us: start.waited_us,
        }));
    }
    for attack in &mut figures.attacks {
        let named = containers
            .iter()
            .find(|named| named.name == attack.container);
        let tail = attack.path.trim_start_matches("C:");
        let found = told.detections.iter().find(|found| {
            found
                .path
                .to_ascii_lowercase()
                .ends_with(&tail.to_ascii_lowercase())
                && named.is_some_and(|named| found.is_from(&named.id))
        });
        attack.rule = found.map(|found| found.rule.clone()).unwrap_or_default();
    }
}
