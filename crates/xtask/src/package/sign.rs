//! The test signature: a certificate of our own, made once per tree by openssl, and osslsigncode.
//! The key never leaves `target`; nobody but a machine that was told to trusts the certificate.

use std::path::{Path, PathBuf};

use crate::command;
use crate::files;
use crate::say::Say;
use crate::trouble::{Outcome, Trouble};

const NAME: &str = "/CN=siloscan test signing, not for production";
/// It must last this long yet, in seconds: 30 days.
const LASTS: &str = "2592000";

/// A certificate with its key.
pub struct Certificate {
    /// The certificate.
    pub pem: PathBuf,
    key: PathBuf,
}

/// The certificate of this tree; made if there is none, or if it is about to expire.
pub fn certificate(folder: &Path, say: &mut Say) -> Outcome<Certificate> {
    let found = Certificate {
        pem: folder.join("certificate.pem"),
        key: folder.join("key.pem"),
    };
    let mut look = openssl(&["x509", "-noout", "-checkend", LASTS, "-in"]);
    if found.key.is_file() && command::output(look.arg(&found.pem)).is_ok() {
        return Ok(found);
    }
    files::make_folder(folder)?;
    let mut make = openssl(&["req", "-x509", "-newkey", "rsa:3072", "-sha256", "-nodes"]);
    make.args(["-days", "730", "-subj", NAME]);
    for extension in [
        "basicConstraints=critical,CA:FALSE",
        "keyUsage=critical,digitalSignature",
        "extendedKeyUsage=codeSigning",
    ] {
        make.args(["-addext", extension]);
    }
    make.arg("-keyout")
        .arg(&found.key)
        .arg("-out")
        .arg(&found.pem);
    command::output(&mut make)?;
    say.step("certificate", "made a new one for test signatures");
    Ok(found)
}

impl Certificate {
    /// Signs a copy of `image`. The same image, certificate and time give the same bytes; the
    /// image's checksum is brought up to date.
    pub fn sign(&self, image: &Path, to: &Path, time: u64) -> Outcome<()> {
        std::fs::remove_file(to).ok();
        let mut sign = command::clean("osslsigncode");
        sign.args(["sign", "-h", "sha256", "-ph", "-n", "siloscan"]);
        sign.args(["-time", &time.to_string()]);
        sign.arg("-certs").arg(&self.pem).arg("-key").arg(&self.key);
        sign.arg("-in").arg(image).arg("-out").arg(to);
        command::output(&mut sign).map(drop)
    }

    /// Writes the certificate as Windows reads it, without its key.
    pub fn export(&self, to: &Path) -> Outcome<()> {
        let mut write = openssl(&["x509", "-outform", "DER", "-in"]);
        write.arg(&self.pem).arg("-out").arg(to);
        command::output(&mut write).map(drop)
    }
}

/// Checks the signature of an image against a certificate; tells who signed.
pub fn verify(certificate: &Path, image: &Path) -> Outcome<String> {
    let mut verify = command::clean("osslsigncode");
    verify
        .arg("verify")
        .arg("-CAfile")
        .arg(certificate)
        .arg("-in")
        .arg(image);
    let told = command::output(&mut verify)
        .map_err(|error| Trouble::new(format!("{}: {error}", image.display())))?;
    let valid = told
        .lines()
        .any(|line| line.trim() == "Signature verification: ok");
    if !valid || told.contains("MISMATCH") {
        return Err(Trouble::new(format!(
            "the signature of {} does not verify:\n{told}",
            image.display()
        )));
    }
    let mut about = openssl(&[
        "x509", "-noout", "-subject", "-enddate", "-nameopt", "RFC2253",
    ]);
    let about = command::output(about.arg("-in").arg(certificate))?;
    let part = |name: &str| {
        let line = about.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().to_owned()
    };
    let name = part("subject=").replace('\\', "");
    Ok(format!("{name}, until {}", part("notAfter=")))
}

fn openssl(arguments: &[&str]) -> std::process::Command {
    let mut openssl = command::clean("openssl");
    openssl.args(arguments);
    openssl
}
