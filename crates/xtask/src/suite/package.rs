//! The package: made twice it is the same, its signature verifies and notices a changed byte, and
//! the signed image passes the image's own tests.

use super::cargo::{counted, host};
use super::{Bench, Found};
use crate::files;
use crate::package;
use crate::trouble::{Outcome, Trouble};

/// Makes packages and looks at them.
pub fn check(bench: &mut Bench) -> Outcome<Found> {
    let built = bench.built()?;
    let mut made = Vec::new();
    for name in ["package-first", "package-again"] {
        let into = bench.root.join("target").join(name);
        made.push(package::make(
            &bench.root,
            &into,
            &built,
            None,
            &mut bench.say,
        )?);
    }
    let [first, again] = made.as_slice() else {
        return Err(Trouble::new("two packages were to be made"));
    };
    let mut found = Found::default();
    let names = files::names(&first.folder)?;
    found.check(names == files::names(&again.folder)?, || {
        "a second package has other files".to_owned()
    });
    for name in names
        .iter()
        .filter(|name| first.folder.join(name).is_file())
    {
        let same =
            files::bytes(&first.folder.join(name))? == files::bytes(&again.folder.join(name))?;
        found.check(same, || format!("a second package has another {name}"));
    }
    found.check(!names.iter().any(|name| name.ends_with(".pem")), || {
        "a key or PEM file is in the package".to_owned()
    });
    changed(first, &mut found)?;
    let mut test = host(bench, "test");
    test.args(["--workspace", "--locked", "--features"]);
    test.args(["siloscan/built-image,filterhost/clang", "--test", "image"]);
    test.env("SILOSCAN_IMAGE", &first.image);
    let signed = counted(bench, "package", &mut test)?;
    found.passed += signed.passed;
    found.failed.extend(signed.failed);
    found.about = "made twice the same; the signature verifies; the signed image is right".into();
    Ok(found)
}

/// One other byte in the code, and the signature must not verify any more.
fn changed(package: &package::Package, found: &mut Found) -> Outcome<()> {
    let verify = |image: &std::path::Path| package::verify(&package.certificate, image);
    let good = verify(&package.image);
    found.check(good.is_ok(), || format!("{:?}", good.err()));
    let copy = package.folder.with_extension("changed.sys");
    let mut bytes = files::bytes(&package.image)?;
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
    files::write(&copy, bytes)?;
    found.check(verify(&copy).is_err(), || {
        "a changed image still has a valid signature".to_owned()
    });
    Ok(())
}
