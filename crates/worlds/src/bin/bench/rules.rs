//! Rules to measure with: few small ones, or as many as people have, of the shape of theirs.

use std::fmt::Write as _;
use std::io;

use fastrand::Rng;
use tempfile::TempDir;

/// Rules of a set that costs its engine as little as one can.
pub const FEW: usize = 500;
/// Rules of a set like those that are kept in public.
pub const MANY: usize = 5_000;
/// Rules in one file of the large set.
const IN_A_FILE: usize = 50;

/// A folder with [`FEW`] rules of two short strings.
pub fn few() -> io::Result<TempDir> {
    let mut text = String::new();
    for number in 0..FEW {
        text.push_str(&format!(
            "rule R{number} {{ strings: $a = \"marker {number} of the bench\" \
             $b = {{ 4d 5a {:02x} {:02x} 90 00 }} condition: $a or $b }}\n",
            number / 256 + 1,
            number % 256
        ));
    }
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("few.yar"), text)?;
    Ok(folder)
}

/// A folder with [`MANY`] rules. How many strings they have, of which kind and length, and what
/// their conditions ask first, is as in `Neo23x0/signature-base` (5,968 rules in April 2026): six
/// strings in the mean, two thirds of them text and one third bytes, half of the rules for
/// programs alone. The same rules each time.
pub fn many() -> io::Result<TempDir> {
    let mut rng = Rng::with_seed(5_968);
    let folder = tempfile::tempdir()?;
    for file in 0..MANY / IN_A_FILE {
        let mut text = String::from("import \"pe\"\n");
        for number in 0..IN_A_FILE {
            rule(&mut text, &mut rng, file * IN_A_FILE + number);
        }
        std::fs::write(folder.path().join(format!("{file}.yar")), text)?;
    }
    Ok(folder)
}

fn rule(text: &mut String, rng: &mut Rng, number: usize) {
    let _ = write!(text, "rule R{number} {{ strings:");
    for string in 0..rng.usize(3..10) {
        let _ = write!(text, " $s{string} = ");
        match rng.u32(0..100) {
            0..2 => {
                let _ = write!(text, "/{}[0-9]{{2,8}}{}/", word(rng, 8), word(rng, 6));
            }
            2..33 => bytes(text, rng),
            // Some strings of rules are in most programs: one alone makes no match.
            33..60 if string == 0 => text.push_str("\"kernel32.dll\" fullword ascii"),
            _ => {
                let length = *rng.choice(&[8, 12, 16, 20, 20, 28, 40, 59]).unwrap_or(&20);
                let _ = write!(text, "\"{}\"{}", word(rng, length), modifiers(rng));
            }
        }
    }
    text.push_str(" condition: ");
    text.push_str(match rng.u32(0..100) {
        0..52 => "uint16(0) == 0x5a4d and filesize < 20MB and 3 of them",
        52..56 => "pe.number_of_sections == 3 and 2 of them",
        56..70 => "filesize < 20MB and 3 of them",
        _ => "3 of them",
    });
    text.push_str(" }\n");
}

fn modifiers(rng: &mut Rng) -> &'static str {
    match rng.u32(0..100) {
        0..4 => " nocase",
        4..24 => " wide",
        24..54 => " fullword ascii",
        _ => "",
    }
}

/// Twelve to thirty bytes, one of them unknown.
fn bytes(text: &mut String, rng: &mut Rng) {
    text.push('{');
    let length = rng.usize(12..30);
    let unknown = rng.usize(8..length);
    for at in 0..length {
        if at == unknown {
            text.push_str(" ??");
        } else {
            let _ = write!(text, " {:02x}", rng.u8(1..));
        }
    }
    text.push_str(" }");
}

fn word(rng: &mut Rng, length: usize) -> String {
    (0..length).map(|_| rng.alphanumeric()).collect()
}
