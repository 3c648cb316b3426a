//! The driver's parameters: where their values are, what each comes to, what one may be set to.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use siloscan_core::limits::{Found, Nonsense, PARAMETERS, Parameter, Parameters};

use super::export;

/// A longer export is not the driver's, in bytes.
const EXPORT_BYTES_MAX: u64 = 4 << 20;
/// The key below `HKEY_LOCAL_MACHINE`.
pub const KEY: &str = r"SYSTEM\CurrentControlSet\Services\siloscan\Parameters";

/// Where the driver's values are.
pub trait Values {
    /// What a name has.
    fn found(&self, name: &str) -> io::Result<Found>;
    /// Every name that has a value.
    fn names(&self) -> io::Result<Vec<String>>;
}

impl Values for export::Held {
    fn found(&self, name: &str) -> io::Result<Found> {
        let held = self.get(&name.to_ascii_lowercase());
        Ok(held.map_or(Found::Absent, |(_, found)| *found))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.values().map(|(name, _)| name.clone()).collect())
    }
}

/// One parameter as the driver takes it.
pub struct Taken {
    pub parameter: &'static Parameter,
    pub value: u32,
    pub found: Found,
    pub nonsense: Option<Nonsense>,
}

impl Taken {
    /// Where the value comes from.
    pub fn source(&self) -> String {
        let Parameter { min, max, .. } = self.parameter;
        match (self.found, self.nonsense) {
            (Found::Absent, _) => "default".to_owned(),
            (_, None) => "registry".to_owned(),
            (Found::Dword(value), _) => {
                format!("default, since {value} is not from {min} to {max}")
            }
            (Found::OtherType, _) => "default, since the registry has no REG_DWORD".to_owned(),
        }
    }

    /// The value, with what it stands for.
    pub fn text(&self) -> String {
        match choices(self.parameter)
            .into_iter()
            .find(|(it, _)| *it == self.value)
        {
            Some((value, name)) => format!("{value} ({name})"),
            None => format!("{} {}", self.value, self.parameter.unit),
        }
    }
}

/// All that the values come to.
pub struct InForce {
    pub taken: Vec<Taken>,
    pub parameters: Parameters,
    /// Names that the driver does not know.
    pub unknown: Vec<String>,
}

impl InForce {
    /// Reads by the table of the driver.
    pub fn of(values: &dyn Values) -> io::Result<Self> {
        let (mut parameters, mut taken) = (Parameters::DEFAULT, Vec::new());
        for parameter in &PARAMETERS {
            let found = values.found(parameter.name)?;
            let nonsense = parameters.set(parameter, found).err();
            taken.push(Taken {
                parameter,
                value: parameters.get(parameter.id),
                found,
                nonsense,
            });
        }
        let mut unknown = values.names()?;
        let ours = |name: &String| named(name).is_ok();
        unknown.retain(|name| !name.is_empty() && !is_the_managers(name) && !ours(name));
        Ok(Self {
            taken,
            parameters,
            unknown,
        })
    }
}

/// What the Filter Manager keeps beside the driver's values, from build 25952 on.
fn is_the_managers(name: &str) -> bool {
    name.eq_ignore_ascii_case("SupportedFeatures")
}

/// The values in an export.
pub fn exported(file: &Path) -> Result<export::Held, String> {
    let wrong = |cause: String| format!("cannot read {}: {cause}", file.display());
    let mut bytes = Vec::new();
    let opened = File::open(file).map_err(|cause| wrong(cause.to_string()))?;
    let mut some = opened.take(EXPORT_BYTES_MAX + 1);
    some.read_to_end(&mut bytes)
        .map_err(|cause| wrong(cause.to_string()))?;
    if bytes.len() as u64 > EXPORT_BYTES_MAX {
        return Err(wrong(format!("it has more than {EXPORT_BYTES_MAX} bytes")));
    }
    export::read(&bytes).map_err(|cause| wrong(cause.to_string()))
}

/// The parameter of a name. Case does not count, as in the registry.
pub fn named(name: &str) -> Result<&'static Parameter, String> {
    let same = |parameter: &&Parameter| parameter.name.eq_ignore_ascii_case(name);
    PARAMETERS.iter().find(same).ok_or_else(|| {
        let all: Vec<&str> = PARAMETERS.iter().map(|it| it.name).collect();
        format!(
            "the driver has no parameter \"{name}\"; it has {}",
            all.join(", ")
        )
    })
}

/// The numbers of a parameter that have a name, as its table names them.
fn choices(parameter: &Parameter) -> Vec<(u32, &'static str)> {
    let parts = parameter.unit.split(", ");
    let pairs = parts.filter_map(|part| part.split_once(" = "));
    pairs
        .filter_map(|(number, name)| Some((number.parse().ok()?, name)))
        .collect()
}

/// A value as an operator writes it: a number, or a choice by its name.
pub fn meant(parameter: &Parameter, text: &str) -> Result<u32, String> {
    let plain = text.trim().to_lowercase().replace(['-', '_'], " ");
    let choices = choices(parameter);
    let choice = choices.iter().find(|(_, name)| *name == plain);
    let number = match plain.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => plain.parse().ok(),
    };
    let value = choice.map(|(number, _)| *number).or(number);
    let value = value.filter(|value| parameter.read(Found::Dword(*value)).1.is_none());
    value.ok_or_else(|| {
        let Parameter {
            name,
            unit,
            min,
            max,
            ..
        } = parameter;
        format!("{name} cannot be \"{text}\"; it is a number from {min} to {max} ({unit})")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_and_every_choice_of_the_table_is_taken_and_no_other() {
        for parameter in &PARAMETERS {
            let Parameter { min, max, .. } = *parameter;
            for value in [min, max, parameter.default] {
                assert_eq!(meant(parameter, &value.to_string()), Ok(value));
                assert_eq!(meant(parameter, &format!("0x{value:x}")), Ok(value));
            }
            let choices = choices(parameter);
            assert_eq!(choices.is_empty(), max > 2, "{}", parameter.name);
            for (value, name) in &choices {
                assert_eq!(meant(parameter, name), Ok(*value));
                assert_eq!(
                    meant(parameter, &name.replace(' ', "-").to_uppercase()),
                    Ok(*value)
                );
            }
            for wrong in [
                "",
                "-1",
                "many",
                "4294967296",
                &(u64::from(max) + 1).to_string(),
            ] {
                let said = meant(parameter, wrong).expect_err(wrong);
                assert!(said.contains(&format!("from {min} to {max}")), "{said}");
            }
        }
        assert!(named("onfailure").is_ok_and(|it| it.name == "OnFailure"));
        assert!(named("OnFail").is_err_and(|said| said.contains("OnFailure")));
    }

    #[test]
    fn nonsense_and_unknown_names_are_told() {
        let mut held = export::Held::new();
        for (name, found) in [
            ("OnFailure", Found::Dword(7)),
            ("AuditOnly", Found::Dword(1)),
            ("HeartbeatMs", Found::OtherType),
            ("OnFailur", Found::Dword(1)),
            ("SupportedFeatures", Found::Dword(11)),
        ] {
            held.insert(name.to_lowercase(), (name.to_owned(), found));
        }
        let all = InForce::of(&held).expect("read");
        assert_eq!(all.unknown, ["OnFailur"]);
        let of = |name: &str| {
            let found = all.taken.iter().find(|it| it.parameter.name == name);
            found
                .map(|it| (it.text(), it.source()))
                .expect("a parameter")
        };
        assert_eq!(
            of("AuditOnly"),
            ("1 (report only)".into(), "registry".into())
        );
        assert_eq!(of("OnFailure").0, "0 (allow)");
        assert!(of("OnFailure").1.contains("7 is not from 0 to 1"));
        assert!(of("HeartbeatMs").1.contains("REG_DWORD"));
        assert_eq!(
            of("CacheEntries"),
            ("65536 entries".into(), "default".into())
        );
        assert!(all.parameters.failure_policy().audit_only);
    }
}
