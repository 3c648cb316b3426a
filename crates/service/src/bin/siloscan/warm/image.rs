//! `siloscan warm IMAGE`: the layers of an image in Docker's store, the base first.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use siloscan_configuration::Configuration;
use siloscan_service::runtime::Store;
use siloscan_service::runtime::images::Image;
use siloscan_service::runtime::layers::containerd_snapshots;
use siloscan_service::runtime::reference::Reference;
use siloscan_service::warm::{HostTree, Tally, Warmed, warm_all};

use crate::place::{self, Config};
use crate::tell::{failed, say, say_json};

/// Where Docker's and containerd's data are unless they were moved.
#[cfg(windows)]
const USUAL: [Option<&str>; 2] = [
    Some(r"C:\ProgramData\docker"),
    Some(r"C:\ProgramData\containerd\root"),
];
#[cfg(not(windows))]
const USUAL: [Option<&str>; 2] = [None, None];
/// Where a Docker that runs a containerd of its own keeps that one's data, below its own.
const WITHIN_DOCKER: [&str; 2] = ["containerd", "daemon"];

/// Where images are.
#[derive(Args)]
pub struct Stores {
    /// Docker's data folder, for IMAGE; without it that of the configuration (`runtime.docker`),
    /// and on Windows, without that, C:\ProgramData\docker
    #[arg(long, value_name = "DIR", conflicts_with = "paced")]
    runtime_store: Option<PathBuf>,

    #[command(flatten)]
    config: Config,
}

/// The data folders of Docker and containerd.
struct Roots {
    docker: Option<PathBuf>,
    containerd: Option<PathBuf>,
}

/// The image that is meant, where it is no folder: one that is there goes before an image.
pub fn meant(what: &Path) -> Result<Option<Reference>, String> {
    let Some(text) = what.to_str() else {
        return Ok(None);
    };
    if Reference::is_digest(text) {
        let image = Reference::parse(text);
        return image.map(Some).ok_or_else(|| {
            format!(
                "{text} is no image: behind \"sha256:\" come the 64 digits of one, or the first 12 \
                 or more, each 0 to 9 or a to f"
            )
        });
    }
    Ok(Reference::parse(text).filter(|_| !what.is_dir()))
}

/// Warms the layers of an image and tells how it went.
pub fn run(
    asked: &Reference,
    stores: &Stores,
    progress: impl FnMut(usize, usize),
    as_json: bool,
) -> ExitCode {
    let done = stores.find(asked).and_then(|image| {
        let folders = image.folders();
        let warmed = warm_all(&HostTree, &folders, progress).map_err(|cause| cause.to_string())?;
        let whole = whole(&image, &warmed)?;
        Ok((image, folders, warmed, whole))
    });
    let (image, folders, warmed, whole) = match done {
        Ok(done) => done,
        Err(cause) => return failed(&cause),
    };
    if as_json {
        let by_folder = folders.iter().zip(&warmed).collect();
        say_json(&document(&image, &by_folder, &whole));
        return ExitCode::from(whole.exit_code());
    }
    say(&format!(
        "image {}, layers: {}\n",
        image.id,
        image.layers.len()
    ));
    super::tell(&whole)
}

/// What came of all layers together.
fn whole(image: &Image, warmed: &[Warmed]) -> Result<Tally, String> {
    let mut whole = Tally::default();
    warmed.iter().for_each(|it| whole.add(it.tally.clone()));
    if warmed.iter().all(|it| it.files == 0) && whole.failed.is_empty() {
        return Err(format!(
            "the layers of image {} hold no file; remove it and pull it again",
            image.id
        ));
    }
    Ok(whole)
}

fn document(image: &Image, warmed: &BTreeMap<&PathBuf, &Warmed>, whole: &Tally) -> Value {
    let mut document = super::document(whole);
    document["image"] = json!(image.id.to_string());
    let layers = image.layers.iter().filter_map(|layer| {
        let warmed = warmed.get(&layer.folder)?;
        let tally = &warmed.tally;
        Some(json!({
            "digest": layer.digest.to_string(), "chain": layer.chain.to_string(),
            "folder": layer.folder.display().to_string(), "files": warmed.files,
            "result": {
                "warm": tally.warm, "gone": tally.gone, "infected": tally.infected.len(),
                "failed": tally.failed.len(),
            },
        }))
    });
    document["layers"] = layers.collect();
    document
}

impl Stores {
    fn find(&self, asked: &Reference) -> Result<Image, String> {
        let roots = self.roots()?;
        let Some(docker) = &roots.docker else {
            return Err(format!(
                "no folder is named {asked}, and for an image of that name Docker's data folder \
                 must be known: name it with --runtime-store, or as `runtime.docker` in the \
                 configuration that --config names"
            ));
        };
        Store::new(docker).image(asked).map_err(|cause| {
            if !cause.is_elsewhere() {
                return cause.to_string();
            }
            let folder = match Reference::is_digest(&asked.to_string()) {
                true => String::new(),
                false => format!("no folder is named {asked}, and "),
            };
            let hint = roots.hint().map(|hint| format!("\n{hint}"));
            format!("{folder}{cause}{}", hint.unwrap_or_default())
        })
    }

    fn roots(&self) -> Result<Roots, String> {
        let named = self.config.config.is_some();
        // One that nobody named may be missing, and is not needed where all is said.
        let file = self.config.file().filter(|file| named || file.is_file());
        let file = file.filter(|_| named || self.runtime_store.is_none());
        let all = file.as_deref().map(place::read).transpose()?;
        let all = all.unwrap_or_else(Configuration::default);
        let [docker, containerd] = USUAL.map(|usual| usual.map(PathBuf::from));
        Ok(Roots {
            docker: self.runtime_store.clone().or(all.runtime_store).or(docker),
            containerd: all.containerd.or(containerd),
        })
    }
}

impl Roots {
    /// What to do about an image that containerd may have.
    fn hint(&self) -> Option<String> {
        let within = WITHIN_DOCKER.iter().collect::<PathBuf>();
        let within = self.docker.as_ref().map(|root| root.join(within));
        let roots = self.containerd.iter().chain(&within);
        let snapshots = roots.filter_map(|root| containerd_snapshots(root)).next()?;
        Some(format!(
            "containerd has layers, too, but which image they are of is in a database that is not \
             read: give the folder of each layer, {}, or have all of them scanned \
             (`proactive.enabled` and `proactive.containerd` in the configuration)",
            snapshots.join("NUMBER").join("Files").display()
        ))
    }
}
