//! The steps of a scenario file, and what they refer to.

use std::collections::BTreeMap;

use super::keys::{ALWAYS, DEEDS, Deed};
use super::parse::{altitude, choose, drive};
use super::plan::{Access, OpenOption, Protection, Scenario, Step, ThreadPlan, Want};
use super::read::{At, ScenarioError, Source, Table};
use crate::exports;
use crate::layout::{
    FILE_CREATE, FILE_OPEN, FILE_OPEN_IF, FILE_OVERWRITE, FILE_OVERWRITE_IF, FILE_SUPERSEDE,
};
use crate::status::{self, NtStatus, STATUS_SUCCESS};

const ACCESS: &[(&str, Access)] = &[
    ("read", Access::Read),
    ("write", Access::Write),
    ("execute", Access::Execute),
    ("delete", Access::Delete),
    ("list", Access::List),
];

const DISPOSITIONS: &[(&str, u32)] = &[
    ("open", FILE_OPEN),
    ("create", FILE_CREATE),
    ("open-if", FILE_OPEN_IF),
    ("overwrite", FILE_OVERWRITE),
    ("overwrite-if", FILE_OVERWRITE_IF),
    ("supersede", FILE_SUPERSEDE),
];

const OPTIONS: &[(&str, OpenOption)] = &[
    ("directory", OpenOption::Directory),
    ("file", OpenOption::File),
    ("unbuffered", OpenOption::Unbuffered),
    ("asynchronous", OpenOption::Asynchronous),
    ("delete-on-close", OpenOption::DeleteOnClose),
    ("open-reparse-point", OpenOption::OpenReparsePoint),
    ("kernel", OpenOption::Kernel),
];

const PROTECTIONS: &[(&str, Protection)] = &[
    ("read", Protection::Read),
    ("write", Protection::Write),
    ("copy", Protection::Copy),
    ("image", Protection::Image),
];

/// What makes the things that steps name, and the key that names them.
const MAKERS: &[(&str, &str)] = &[
    ("open", "file"),
    ("map", "view"),
    ("connect", "port"),
    ("start-program", "program"),
    ("begin", "transaction"),
];

/// Information classes are signed numbers of 32 bits.
const CLASS_MAX: u64 = 0x7fff_ffff;
/// Bytes that an answer may have room for.
const ROOM_MAX: u64 = 16 << 20;

pub(super) fn read(
    scenario: &mut Scenario,
    source: Source<'_>,
    tables: Vec<Table<'_>>,
) -> Result<(), ScenarioError> {
    let mut named = BTreeMap::new();
    let mut made = BTreeMap::new();
    for (number, table) in tables.iter().enumerate() {
        if let Some(name) = table.text("name")
            && named.insert(name.value, number).is_some()
        {
            return Err(source.error(name.at, "two steps have this name"));
        }
        let maker = table.text("do").map(|found| found.value);
        let kind = MAKERS.iter().find(|(deed, _)| Some(*deed) == maker);
        if let (Some(name), Some((_, kind))) = (table.text("as"), kind)
            && made
                .insert(name.value, *kind)
                .is_some_and(|old| old != *kind)
        {
            return Err(source.error(name.at, "another step names another thing so"));
        }
    }
    for table in &tables {
        let number = scenario.steps.len();
        let mut step = step(scenario, table)?;
        uses(table, &mut step, &made)?;
        if let Some(after) = table.text("after") {
            let said = || format!("no step has the name `{}`", after.value);
            let known = named.get(after.value).copied();
            step.after = Some(known.ok_or_else(|| source.error(after.at, said()))?);
        }
        scenario.steps.push(step);
        join_thread(scenario, table, number)?;
    }
    let places: Vec<usize> = tables.iter().map(|table| table.at).collect();
    match circle(scenario) {
        Some(number) => {
            let at = places.get(number).copied().unwrap_or(0);
            Err(source.error(at, "this step waits for itself, by way of `after`"))
        }
        None => Ok(()),
    }
}

fn deed_of(table: &Table<'_>) -> Result<&'static Deed, ScenarioError> {
    let name = table.need("do")?;
    let of: Vec<_> = DEEDS.iter().map(|deed| (deed.name, deed)).collect();
    let deed = choose(table.source, &name, &of)?;
    for need in deed.needs {
        if !table.has(need) {
            let said = format!("`{}` needs the key `{need}`", deed.name);
            return Err(table.source.error(name.at, said));
        }
    }
    for key in table.names() {
        let all = [ALWAYS, deed.needs, deed.may];
        if !all.iter().any(|list| list.contains(&key.value)) {
            let said = format!("`{}` has no use for the key `{}`", deed.name, key.value);
            return Err(table.source.error(key.at, said));
        }
    }
    Ok(deed)
}

fn step(scenario: &Scenario, table: &Table<'_>) -> Result<Step, ScenarioError> {
    let source = table.source;
    let deed = deed_of(table)?;
    let owned = |key: &str| table.text(key).map(|found| found.value.to_owned());
    let disposition = table.text("disposition");
    let protection = table.text("protection");
    let chosen = |found: &At<&str>| choose(source, found, ACCESS);
    let access: Vec<_> = table.texts("access");
    let options: Vec<_> = table.texts("options");
    Ok(Step {
        line: source.line(table.at),
        deed,
        after: None,
        want: want(table)?,
        path: owned("path").unwrap_or_default(),
        to: owned("to").unwrap_or_default(),
        makes: owned("as"),
        uses: String::new(),
        transaction: owned("transaction"),
        access: access.iter().map(chosen).collect::<Result<_, _>>()?,
        disposition: match disposition {
            Some(found) => choose(source, &found, DISPOSITIONS)?,
            None => FILE_OPEN,
        },
        options: options
            .iter()
            .map(|found| choose(source, found, OPTIONS))
            .collect::<Result<_, _>>()?,
        share: table.within("share", 0, u64::from(u16::MAX))?.unwrap_or(7),
        at: table.number("at").map_or(0, |found| found.value),
        length: table.number("length").map(|found| found.value),
        attributes: table.word("attributes")?.unwrap_or(0),
        class: table.within("class", 0, CLASS_MAX)?.unwrap_or(0),
        code: table.word("code")?.unwrap_or(0),
        room: table.within("room", 0, ROOM_MAX)?.unwrap_or(4096),
        milliseconds: table.number("milliseconds").map(|found| found.value),
        replace: table.flag("replace").unwrap_or(false),
        exclusive: table.flag("exclusive").unwrap_or(true),
        protection: match protection {
            Some(found) => choose(source, &found, PROTECTIONS)?,
            None => Protection::Read,
        },
        data: table.data()?.unwrap_or_default(),
        expected: table.expected()?,
        names: table.has("expect-names").then(|| {
            let names = table.texts("expect-names");
            names.iter().map(|name| name.value.to_owned()).collect()
        }),
        volume: drive(scenario, table)?,
        instance: owned("instance"),
        altitude: altitude(table)?,
        nth: table.within("nth", 1, u64::MAX)?.unwrap_or(1),
        function: function(table)?,
        reply_status: table.word("reply-status")?.unwrap_or(0),
    })
}

fn want(table: &Table<'_>) -> Result<Want, ScenarioError> {
    let Some(found) = table.text("status") else {
        return Ok(Want::Status(STATUS_SUCCESS));
    };
    if found.value == "any" {
        return Ok(Want::Any);
    }
    let number = found.value.strip_prefix("0x");
    let number = number.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let known = number.map(|number| NtStatus(number.cast_signed()));
    let known = known.or_else(|| status::find(found.value));
    let said = || {
        let name = found.value;
        format!("`{name}` is no status that the host knows; a number does, as `0xC0000022`")
    };
    let known = known.ok_or_else(|| table.source.error(found.at, said()))?;
    Ok(Want::Status(known))
}

fn function(table: &Table<'_>) -> Result<String, ScenarioError> {
    let Some(found) = table.text("function") else {
        return Ok(String::new());
    };
    let provided = exports::all().any(|export| export.info.name == found.value);
    let said = || {
        format!(
            "the host provides no `{}` (filterhost exports)",
            found.value
        )
    };
    provided
        .then(|| found.value.to_owned())
        .ok_or_else(|| table.source.error(found.at, said()))
}

/// Looks whether what a step uses is made by a step.
fn uses(
    table: &Table<'_>,
    step: &mut Step,
    made: &BTreeMap<&str, &str>,
) -> Result<(), ScenarioError> {
    for (maker, key) in MAKERS {
        let Some(found) = table.text(key) else {
            continue;
        };
        let is_name = step.deed.name == "connect";
        if !is_name && made.get(found.value) != Some(key) {
            let said = format!("no `{maker}` step has `as = \"{}\"`", found.value);
            return Err(table.source.error(found.at, said));
        }
        if *key != "transaction" {
            found.value.clone_into(&mut step.uses);
        }
    }
    Ok(())
}

fn join_thread(
    scenario: &mut Scenario,
    table: &Table<'_>,
    number: usize,
) -> Result<(), ScenarioError> {
    let name = table.text("thread").map_or("main", |found| found.value);
    let process = match table.text("process") {
        Some(found) => {
            let same = |(name, _): &(String, Option<usize>)| name == found.value;
            let known = scenario.processes.iter().position(same);
            let said = || format!("no [[process]] is called `{}`", found.value);
            Some((
                known.ok_or_else(|| table.source.error(found.at, said()))?,
                found.at,
            ))
        }
        None => None,
    };
    let thread = scenario.threads.iter_mut().find(|t| t.name == name);
    match (thread, process) {
        (Some(thread), Some((process, at))) if thread.process != process => {
            let said = "this thread is of another process, as its first step says";
            return Err(table.source.error(at, said));
        }
        (Some(thread), _) => thread.steps.push(number),
        (None, process) => scenario.threads.push(ThreadPlan {
            name: name.to_owned(),
            process: process.map_or(0, |(process, _)| process),
            steps: vec![number],
        }),
    }
    Ok(())
}

/// A step that can never begin, if there is one: what it waits for waits for it.
fn circle(scenario: &Scenario) -> Option<usize> {
    let mut before: Vec<Vec<usize>> = vec![Vec::new(); scenario.steps.len()];
    let pairs = scenario.threads.iter().flat_map(|t| t.steps.windows(2));
    for pair in pairs {
        if let [first, second] = pair
            && let Some(list) = before.get_mut(*second)
        {
            list.push(*first);
        }
    }
    for (list, step) in before.iter_mut().zip(&scenario.steps) {
        list.extend(step.after);
    }
    let mut done = vec![false; before.len()];
    loop {
        let ready = |number: &usize| done.get(*number).copied().unwrap_or(true);
        let next = (0..before.len()).find(|number| {
            !ready(number) && before.get(*number).is_some_and(|all| all.iter().all(ready))
        });
        match next.and_then(|next| done.get_mut(next)) {
            Some(slot) => *slot = true,
            None => return done.iter().position(|over| !over),
        }
    }
}
