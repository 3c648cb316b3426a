//! `cargo xtask package`: a folder that a Windows machine can install from. The image with a test
//! signature, the stamped INF, the PDB, service and command, the certificate, the scripts of the
//! Windows run, and a text that says which systems can install it as it is.

pub mod service;
mod sign;
mod stamp;
mod systems;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use inf::Inf;

use crate::command;
use crate::driver::{Built, Request};
use crate::files;
use crate::link;
use crate::packages;
use crate::say::{self, Say};
use crate::trouble::{Outcome, Trouble};

/// From this build on the rules of isolated packages hold for our INF: Server 2025's section.
const ISOLATED: u32 = 25952;

/// What was made.
pub struct Package {
    /// The folder.
    pub folder: PathBuf,
    /// The signed image in it.
    pub image: PathBuf,
    /// The stamped INF in it.
    pub inf: PathBuf,
    /// The certificate that signed, as PEM; not in the folder.
    pub certificate: PathBuf,
    /// The summary for people.
    pub summary: String,
}

/// The command.
pub fn run(root: &Path, with_service: bool) -> Outcome<ExitCode> {
    let start = Instant::now();
    let mut say = Say::new(false);
    let built = Request::of(root).prepare(&mut say)?.build(&mut say)?;
    let service = match with_service {
        true => Some(service::build(root, service::Purpose::Package, &mut say)?),
        false => None,
    };
    let folder = root.join("target/package");
    let package = make(root, &folder, &built, service.as_deref(), &mut say)?;
    say.step("ready", &format!("in {}", say::time(start.elapsed())));
    println!("{}\nIt is in {}", package.summary, package.folder.display());
    Ok(ExitCode::SUCCESS)
}

/// Makes the folder anew below `into`.
pub fn make(
    root: &Path,
    into: &Path,
    built: &Built,
    programs: Option<&Path>,
    say: &mut Say,
) -> Outcome<Package> {
    packages::need(say, "signing the package", packages::SIGN)?;
    let version = link::version(root)?;
    let time = stamp::time(root);
    let folder = into.join(format!("siloscan-{version}-amd64"));
    files::remove_folder(&folder)?;
    files::make_folder(&folder)?;
    let inf = folder.join("siloscan.inf");
    let text = stamp::stamp(
        &files::read(&root.join("inf/siloscan.inx"))?,
        &version,
        time,
    )?;
    let rules = checked(&text)?;
    files::write(&inf, &text)?;
    let certificate = sign::certificate(&root.join("target/package-key"), say)?;
    let image = folder.join("siloscan.sys");
    certificate.sign(&built.image, &image, time)?;
    let signer = verify(&certificate.pem, &image)?;
    say.step("sign", &format!("{signer}, verified"));
    files::copy(&built.pdb, &folder.join("siloscan.pdb"))?;
    certificate.export(&folder.join("siloscan-test.cer"))?;
    if let Some(programs) = programs {
        for program in service::PROGRAMS {
            files::copy(&programs.join(program), &folder.join(program))?;
        }
    }
    files::copy_folder(&root.join("docs/man"), &folder.join("man"), &[])?;
    let scripts = root.join("tests/windows");
    if scripts.is_dir() {
        files::copy_folder(&scripts, &folder.join("windows"), &[])?;
    }
    let summary = summary(&folder, &rules, &signer)?;
    files::write(&folder.join("README.txt"), summary.replace('\n', "\r\n"))?;
    sums(&folder)?;
    Ok(Package {
        folder,
        image,
        inf,
        certificate: certificate.pem,
        summary,
    })
}

/// Checks an image's signature against a certificate; tells who signed.
pub fn verify(certificate: &Path, image: &Path) -> Outcome<String> {
    sign::verify(certificate, image)
}

/// The INF must be readable and break no rule that is documented.
fn checked(text: &str) -> Outcome<Inf> {
    let bad = |what: String| {
        Trouble::new(format!("inf/siloscan.inx: {what}"))
            .next("tests/inf names each rule; InfVerif's page explains its codes")
    };
    let inf = Inf::parse(text).map_err(|fault| bad(fault.to_string()))?;
    let found = inf::check(&inf, ISOLATED);
    match found.is_empty() {
        true => Ok(inf),
        false => {
            let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
            Err(bad(lines.join("\n  ")))
        }
    }
}

/// What is in the folder, and who can install it.
fn summary(folder: &Path, inf: &Inf, signer: &str) -> Outcome<String> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let mut text = format!("{name}: a package for tests, not for production\n\nFiles\n");
    for name in files::names(folder)? {
        let about = match name.as_str() {
            "siloscan.inf" => "how Windows installs the driver; breaks no documented rule",
            "siloscan.pdb" => "its debug information",
            "siloscan.sys" => "the driver, with a test signature",
            "siloscan-test.cer" => signer,
            "siloscand.exe" => "the scan service",
            "siloscan.exe" => "the operator's command",
            "man" => "manual pages of that command",
            "windows" => "scripts: install, run the scenarios, collect what was seen",
            _ => "",
        };
        let length = std::fs::metadata(folder.join(&name)).map_or(0, |meta| meta.len());
        let size = match folder.join(&name).is_dir() {
            true => String::new(),
            false => say::size(length),
        };
        text += &format!("  {name:<18}{size:>10}  {about}\n");
    }
    text += &systems::table(inf)?;
    Ok(text)
}

/// SHA-256 of each file, in the form that `sha256sum -c` reads.
fn sums(folder: &Path) -> Outcome<()> {
    let names: Vec<String> = files::names(folder)?
        .into_iter()
        .filter(|name| folder.join(name).is_file())
        .collect();
    let mut sum = command::clean("sha256sum");
    let text = command::output(sum.current_dir(folder).arg("--binary").args(names))?;
    files::write(&folder.join("SHA256SUMS"), text)
}
