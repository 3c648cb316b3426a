//! The lock file of the build here: the committed one, but with wdk-build taken from the patched
//! copy. Every version stays the committed one, and the committed file is never written.

use crate::trouble::{Outcome, Trouble};

/// The committed lock file's text with `wdk-build` as a package of a path.
pub fn with_local_wdk_build(committed: &str) -> Outcome<String> {
    let mut found = 0;
    let packages: Vec<String> = committed
        .split("[[package]]")
        .map(|package| {
            if !package.contains("name = \"wdk-build\"\n") {
                return package.to_owned();
            }
            found += 1;
            let of_registry =
                |line: &&str| !line.starts_with("source = ") && !line.starts_with("checksum = ");
            package.split_inclusive('\n').filter(of_registry).collect()
        })
        .collect();
    if found != 1 {
        let text = format!("Cargo.lock names {found} versions of wdk-build, not one");
        return Err(Trouble::new(text).next("git checkout Cargo.lock, or cargo check"));
    }
    Ok(packages.join("[[package]]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"wdk-build\"\nversion = \"0.6.0\"\n\
        source = \"registry\"\nchecksum = \"c\"\ndependencies = [\n \"x\",\n]\n\n[[package]]\n\
        name = \"x\"\nversion = \"1.0.0\"\nsource = \"registry\"\nchecksum = \"d\"\n";

    #[test]
    fn only_the_source_of_wdk_build_goes() {
        let local = with_local_wdk_build(LOCK).unwrap();
        assert!(local.contains("name = \"wdk-build\"\nversion = \"0.6.0\"\ndependencies"));
        assert!(local.contains("source = \"registry\"\nchecksum = \"d\""));
        assert_eq!(local.lines().count() + 2, LOCK.lines().count());
    }

    #[test]
    fn a_lock_without_it_is_refused() {
        let error = with_local_wdk_build("version = 4\n")
            .unwrap_err()
            .to_string();
        assert!(error.contains("names 0 versions"), "{error}");
    }
}
