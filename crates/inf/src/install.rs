//! What a package installs: the section for a build of Windows, its files, services and registry
//! values. Of primitive drivers only, which have `DefaultInstall` sections and no hardware.

use crate::parse::{Entry, Inf, Section};

/// An install section with what its decoration says.
#[derive(Clone, Debug)]
pub struct Install<'a> {
    inf: &'a Inf,
    /// The section.
    pub section: &'a Section,
    /// The architecture of its decoration (`amd64`), if it has one.
    pub architecture: Option<String>,
    /// The first build of Windows that it is for; 0 = any.
    pub build: u32,
}

/// A file that is copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name.
    pub name: String,
    /// The folder's number: 12 = `System32\drivers`, 13 = where the package lies.
    pub folder: u32,
}

/// A service that is added.
#[derive(Clone, Debug)]
pub struct Service<'a> {
    inf: &'a Inf,
    /// Its name.
    pub name: String,
    /// The section that describes it.
    pub section: &'a Section,
}

/// A registry value below the service's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The key below the service's; empty for that one itself.
    pub key: String,
    /// The value's name.
    pub name: String,
    /// What is written.
    pub value: Value,
    /// A value that is there already stays.
    pub keeps: bool,
    /// The line in the file.
    pub line: usize,
}

/// A registry value's type and content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `REG_SZ`.
    Text(String),
    /// `REG_DWORD`.
    Number(u32),
    /// Any other type, by its flags.
    Other(u32),
}

impl Inf {
    /// The install sections, without their `.Services` and the like.
    #[must_use]
    pub fn installs(&self) -> Vec<Install<'_>> {
        self.decorated("DefaultInstall")
    }

    /// The sections of a name with any decoration.
    pub(crate) fn decorated(&self, name: &str) -> Vec<Install<'_>> {
        let of = |section| decoration(self, section, name);
        self.sections().iter().filter_map(of).collect()
    }

    /// The install section that a build of x64 Windows takes: of those for its architecture the one
    /// with the highest build that is not above its own.
    #[must_use]
    pub fn install_for(&self, build: u32) -> Option<Install<'_>> {
        let fits = |install: &Install<'_>| {
            let own = install.architecture.as_deref();
            own.is_none_or(|own| own.eq_ignore_ascii_case("amd64")) && install.build <= build
        };
        let all = self.installs().into_iter().filter(fits);
        all.max_by_key(|install| (install.build, install.architecture.is_some()))
    }
}

/// `name[.NT[architecture][.major[.minor[.type[.suite[.build]]]]]]`.
/// <https://learn.microsoft.com/en-us/windows-hardware/drivers/install/inf-manufacturer-section>
fn decoration<'a>(inf: &'a Inf, section: &'a Section, name: &str) -> Option<Install<'a>> {
    let mut parts = section.name.split('.');
    if !parts.next()?.eq_ignore_ascii_case(name) {
        return None;
    }
    let mut install = Install {
        inf,
        section,
        architecture: None,
        build: 0,
    };
    let Some(system) = parts.next() else {
        return Some(install);
    };
    let (nt, architecture) = system.split_at_checked(2)?;
    if !nt.eq_ignore_ascii_case("NT") {
        return None;
    }
    install.architecture = Some(architecture.to_owned()).filter(|name| !name.is_empty());
    let numbers: Vec<&str> = parts.collect();
    if numbers.len() > 5
        || numbers
            .iter()
            .any(|n| !n.is_empty() && n.parse::<u32>().is_err())
    {
        return None;
    }
    install.build = numbers.get(4).and_then(|n| n.parse().ok()).unwrap_or(0);
    Some(install)
}

impl<'a> Install<'a> {
    /// The section of that suffix, such as `Services`.
    #[must_use]
    pub fn part(&self, suffix: &str) -> Option<&'a Section> {
        self.inf.section(&format!("{}.{suffix}", self.section.name))
    }

    /// The files that it copies.
    #[must_use]
    pub fn files(&self) -> Vec<File> {
        let lists = self.section.entries("CopyFiles");
        let names = lists.flat_map(|entry| entry.fields.iter());
        names.flat_map(|list| self.listed(list)).collect()
    }

    fn listed(&self, list: &str) -> Vec<File> {
        if let Some(name) = list.strip_prefix('@') {
            return vec![self.file(name, "DefaultDestDir")];
        }
        let section = self.inf.section(list);
        let entries = section.map_or(&[][..], |section| &section.entries);
        entries
            .iter()
            .map(|entry| self.file(entry.field(0), list))
            .collect()
    }

    fn file(&self, name: &str, list: &str) -> File {
        let folders = |key| self.inf.value("DestinationDirs", key);
        let folder = folders(list).or_else(|| folders("DefaultDestDir"));
        File {
            name: self.inf.expand(name),
            folder: folder.and_then(|text| text.parse().ok()).unwrap_or(0),
        }
    }

    /// The services that it adds.
    #[must_use]
    pub fn services(&self) -> Vec<Service<'a>> {
        let part = self.part("Services");
        let entries = part.map_or(&[][..], |section| &section.entries);
        let add = entries.iter().filter(|entry| entry.has_key("AddService"));
        add.filter_map(|entry| {
            Some(Service {
                inf: self.inf,
                name: self.inf.expand(entry.field(0)),
                section: self.inf.section(entry.field(2))?,
            })
        })
        .collect()
    }
}

impl Service<'_> {
    /// One directive of its section, tokens replaced.
    #[must_use]
    pub fn directive(&self, key: &str) -> Option<String> {
        let entry = self.section.entry(key)?;
        entry.fields.first().map(|field| self.inf.expand(field))
    }

    /// A directive that is a number.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<u32> {
        number(&self.directive(key)?)
    }

    /// The registry values below its key.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let lists = self.section.entries("AddReg");
        let names = lists.flat_map(|entry| entry.fields.iter());
        let sections = names.filter_map(|name| self.inf.section(name));
        let entries = sections.flat_map(|section| section.entries.iter());
        entries.filter_map(|entry| row(self.inf, entry)).collect()
    }
}

/// `root,key,name,flags,value`; only rows below the service's own key (`HKR`) are its.
/// <https://learn.microsoft.com/en-us/windows-hardware/drivers/install/inf-addreg-directive>
fn row(inf: &Inf, entry: &Entry) -> Option<Row> {
    const KEEPS: u32 = 2;
    if !entry.field(0).eq_ignore_ascii_case("HKR") {
        return None;
    }
    let flags = match entry.field(3) {
        "" => 0,
        text => number(&inf.expand(text))?,
    };
    let text = inf.expand(entry.field(4));
    Some(Row {
        key: inf.expand(entry.field(1)),
        name: inf.expand(entry.field(2)),
        value: match flags & 0xffff_0001 {
            0 => Value::Text(text),
            0x0001_0001 => Value::Number(number(&text)?),
            other => Value::Other(other),
        },
        keeps: flags & KEEPS != 0,
        line: entry.line,
    })
}

/// A number as INF files write them.
fn number(text: &str) -> Option<u32> {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
[DestinationDirs]
Old=12
DefaultDestDir=13
[DefaultInstall.NTamd64]
CopyFiles=Old
[DefaultInstall.NTamd64.Services]
AddService=drv,,Drv
[DefaultInstall.NTamd64.10.0...25952]
CopyFiles=@new.sys
[DefaultInstall.NTarm64.10.0...26000]
[Old]
%File%
[Drv]
ServiceType=0x2
AddReg=R,R2
[R]
HKR,,"A",0x00010003,0x10
HKR,"P\"%File%,B,,"text"
[R2]
HKLM,"P",C,,x
HKR,"P",D,0x00010000,x
[Strings]
File=old.sys
"#;

    #[test]
    fn the_highest_fitting_section_is_taken() {
        let inf = Inf::parse(TEXT).unwrap();
        let chosen = |build| inf.install_for(build).unwrap().section.name.clone();
        assert_eq!(chosen(14393), "DefaultInstall.NTamd64");
        assert_eq!(chosen(25951), "DefaultInstall.NTamd64");
        assert_eq!(chosen(25952), "DefaultInstall.NTamd64.10.0...25952");
        assert_eq!(chosen(30000), "DefaultInstall.NTamd64.10.0...25952");
        assert_eq!(inf.installs().len(), 3, "`.Services` is no install section");
    }

    #[test]
    fn files_go_to_their_folders() {
        let inf = Inf::parse(TEXT).unwrap();
        let files = |build| inf.install_for(build).unwrap().files();
        let file = |name: &str, folder| {
            vec![File {
                name: name.to_owned(),
                folder,
            }]
        };
        assert_eq!(files(14393), file("old.sys", 12));
        assert_eq!(files(26100), file("new.sys", 13));
    }

    #[test]
    fn a_service_has_its_registry_values() {
        let inf = Inf::parse(TEXT).unwrap();
        let install = inf.install_for(14393).unwrap();
        let service = &install.services()[0];
        assert_eq!(
            (service.name.as_str(), service.number("ServiceType")),
            ("drv", Some(2))
        );
        let rows = service.rows();
        assert_eq!(rows.len(), 3, "a row of another root is not the service's");
        assert_eq!(
            (rows[0].value.clone(), rows[0].keeps),
            (Value::Number(16), true)
        );
        assert_eq!(rows[1].key, "P\\old.sys");
        assert_eq!(rows[1].value, Value::Text("text".to_owned()));
        assert_eq!(rows[2].value, Value::Other(0x0001_0000));
    }
}
