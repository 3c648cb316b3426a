//! Which versions of Windows take which part of the INF, and what each needs besides.

use inf::Inf;

use crate::trouble::{Outcome, Trouble};

/// A version that the product supports.
struct System {
    name: &'static str,
    build: u32,
}

const SYSTEMS: &[System] = &[
    System {
        name: "Server 2016, Windows 10 1607",
        build: 14393,
    },
    System {
        name: "Server 2019, Windows 10 1809",
        build: 17763,
    },
    System {
        name: "Server 2022",
        build: 20348,
    },
    System {
        name: "Server 2025, Windows 11 24H2",
        build: 26100,
    },
];

/// From 1903 on Windows stages a primitive driver in its store, which needs a signed catalog.
const STORE: u32 = 18362;

/// What a person needs to know before installing.
pub fn table(inf: &Inf) -> Outcome<String> {
    let mut text = format!(
        "\nWho can install it, in test-signing mode and with the certificate trusted\n  \
         {:<31}{:<7}{:<38}{}\n",
        "Windows", "build", "section", "as it is?"
    );
    for system in SYSTEMS {
        let install = inf
            .install_for(system.build)
            .ok_or_else(|| Trouble::new(format!("the INF has no section for {}", system.name)))?;
        let answer = match system.build >= STORE {
            true => "once Inf2Cat has made siloscan.cat",
            false => "yes, by InstallHinfSection",
        };
        text += &format!(
            "  {:<31}{:<7}{:<38}{answer}\n",
            system.name, system.build, install.section.name
        );
    }
    text += "\n\
There is no catalog: Inf2Cat makes it, and that runs on Windows only. windows\\install.ps1 looks for
Inf2Cat, and does all the rest. The image carries its signature itself. No system takes a test
signature outside test-signing mode, and none of this has been tried on Windows yet: docs/windows.md
has the steps, docs/evidence.md what has been seen where.
";
    Ok(text)
}
