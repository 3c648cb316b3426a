//! Whether the disk has room for what the tests build.

use std::path::Path;
use std::process::Command;

use crate::command;
use crate::say;

/// What all stages leave in an empty target folder, at their largest (measured), and some room.
const NEEDED: u64 = 16 << 30;

/// A sentence for the user where the disk has less room than the tests need: what they need, and
/// what there is. Nothing where it has, or where that cannot be found out.
pub fn scarce(root: &Path) -> Option<String> {
    let free = free(root)?;
    // What is built already is not built again.
    let built = root.join("target/debug/deps").is_dir();
    let needed = if built { NEEDED / 4 } else { NEEDED };
    (free < needed).then(|| {
        format!(
            "the tests need about {} below {}/target and the disk has {} left: free some",
            say::size(needed),
            root.display(),
            say::size(free)
        )
    })
}

/// Bytes that this user may still write on the file system of `folder`.
fn free(folder: &Path) -> Option<u64> {
    let mut df = Command::new("df");
    df.args(["--output=avail", "-B1"]).arg(folder);
    let said = command::output(&mut df).ok()?;
    said.lines().last()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_of_a_folder_is_found_and_that_of_no_folder_is_not() {
        assert!(free(Path::new("/")).is_some());
        assert_eq!(free(Path::new("/no/such/folder")), None);
    }
}
