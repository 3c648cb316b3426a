//! What a rule is, and how a family of them is written down.

use crate::exports::PAGES;

/// Something that Windows demands of a driver and that the host judges.
#[derive(Debug)]
pub struct Rule {
    /// Its name, as reports and `--without` have it.
    pub name: &'static str,
    /// What it demands, in one sentence.
    pub demand: &'static str,
    /// Title of Microsoft's page that says so.
    pub title: &'static str,
    /// Address of that page: full, or below [`PAGES`].
    pub address: &'static str,
    /// What a driver that breaks it meets when the rule is switched off.
    pub off: &'static str,
}

impl Rule {
    /// Full address of the page.
    #[must_use]
    pub fn page(&self) -> String {
        if self.address.starts_with("https:") {
            return self.address.to_owned();
        }
        format!("{PAGES}{}", self.address)
    }
}

/// Rules about one kind of thing: the content of one file beside this one.
#[derive(Debug)]
pub struct Family {
    /// What they are about.
    pub title: &'static str,
    /// The file, without its ending: also the file of its wrong drivers.
    pub file: &'static str,
    /// The rules, in the order of the file.
    pub rules: &'static [&'static Rule],
}

/// Writes down a family: each rule with its name, demand, page, and what happens without it.
macro_rules! rules {
    ($title:literal, $file:literal;
     $($(#[$meta:meta])* $id:ident = $name:literal : $demand:literal
       [$page:literal, $address:literal] off: $off:literal;)*) => {
        $(
            #[doc = $demand]
            $(#[$meta])*
            pub static $id: $crate::verifier::Rule = $crate::verifier::Rule {
                name: $name,
                demand: $demand,
                title: $page,
                address: $address,
                off: $off,
            };
        )*
        /// The rules of this file.
        pub(super) static FAMILY: $crate::verifier::Family = $crate::verifier::Family {
            title: $title,
            file: $file,
            rules: &[$(&$id),*],
        };
    };
}

pub(super) use rules;
