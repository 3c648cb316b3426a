//! Carries out one step.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::plan::{Access, OpenOption, Protection, Step};
use super::things::{Ended, Thing, Things};
use crate::fltmgr::{FilterManager, InstanceDefinition, altitude::Altitude, instance, transaction};
use crate::layout::{PAGE_EXECUTE, PAGE_READONLY, PAGE_READWRITE, PAGE_WRITECOPY, SEC_IMAGE};
use crate::status::{NtStatus, STATUS_FLT_INSTANCE_NOT_FOUND, STATUS_INVALID_PARAMETER};
use crate::user::{FileHandle, OpenOptions, PortHandle, Process, View};

const FILE_DELETE_ON_CLOSE: u32 = crate::layout::FILE_DELETE_ON_CLOSE;
/// What a read takes where nothing else is said.
const READ_LENGTH: u64 = 65_536;
/// The most that one read takes.
const READ_MAX: u64 = 64 << 20;

type Outcome = Result<Vec<u8>, NtStatus>;

impl Things {
    pub(super) fn carry_out(&self, process: &Process, step: &Step) -> Ended {
        match step.deed.name {
            "open" => self.open(process, step),
            "list" => match process.list_directory(&step.path) {
                Ok(names) => Ended::Names(names),
                Err(status) => Err::<(), _>(status).into(),
            },
            "make-directory" => process.create_directory(&step.path).into(),
            "start-program" => match process.start_program(&step.path) {
                Ok(program) if step.makes.is_none() => {
                    program.end();
                    Ok(()).into()
                }
                Ok(program) => {
                    self.keep(step, Thing::Program(Box::new(program)));
                    Ok(()).into()
                }
                Err(status) => Err::<(), _>(status).into(),
            },
            "end-program" => match self.take(&step.uses) {
                Some(Thing::Program(program)) => {
                    program.end();
                    Ok(()).into()
                }
                _ => lacks("program", &step.uses),
            },
            "begin" => {
                self.keep(step, Thing::Transaction(transaction::begin(&self.m)));
                Ok(()).into()
            }
            "commit" | "roll-back" => self.end_transaction(step),
            "read-view" | "write-view" | "unmap" => self.view(step),
            "connect" | "send" | "get-message" | "reply" | "disconnect" => self.port(process, step),
            "attach" | "detach" | "dismount" | "unload" | "sleep" | "fail-allocation"
            | "fail-call" => self.machine(step),
            _ => self.file(step),
        }
    }

    fn open(&self, process: &Process, step: &Step) -> Ended {
        let mut options = OpenOptions::new(&step.path)
            .disposition(step.disposition)
            .share(step.share)
            .attributes(step.attributes);
        if step.access.is_empty() {
            options = options.read();
        }
        for access in &step.access {
            options = match access {
                Access::Read => options.read(),
                Access::Write => options.write(),
                Access::Execute => options.execute(),
                Access::Delete => options.delete(),
                Access::List => options.list(),
            };
        }
        for option in &step.options {
            options = match option {
                OpenOption::Directory => options.directory(),
                OpenOption::File => options.file(),
                OpenOption::Unbuffered => options.unbuffered(),
                OpenOption::Asynchronous => options.asynchronous(),
                OpenOption::DeleteOnClose => options.delete().options(FILE_DELETE_ON_CLOSE),
                OpenOption::OpenReparsePoint => options.open_reparse_point(),
                OpenOption::Kernel => options.kernel_mode(),
            };
        }
        if let Some(name) = &step.transaction {
            let found = self.with(name, |thing| match thing {
                Thing::Transaction(transaction) => Some(*transaction),
                _ => None,
            });
            let Some(found) = found else {
                return lacks("transaction", name);
            };
            options = options.transacted(found);
        }
        match process.open(&options) {
            Ok(file) => {
                let status = file.status();
                if step.makes.is_some() {
                    self.keep(step, Thing::File(Arc::new(file)));
                }
                Ended::With(status, Vec::new())
            }
            Err(status) => Err::<(), _>(status).into(),
        }
    }

    fn file(&self, step: &Step) -> Ended {
        if step.deed.name == "close" {
            return match self.take(&step.uses) {
                Some(Thing::File(file)) => file.close().into(),
                _ => lacks("open file", &step.uses),
            };
        }
        let file = self.with(&step.uses, |thing| match thing {
            Thing::File(file) => Some(Arc::clone(file)),
            _ => None,
        });
        let Some(file) = file else {
            return lacks("open file", &step.uses);
        };
        if step.deed.name == "map" {
            return match map(&file, step.protection) {
                Ok(view) => {
                    self.keep(step, Thing::View(Arc::new(view)));
                    Ok(()).into()
                }
                Err(status) => Err::<(), _>(status).into(),
            };
        }
        ended(with_file(&file, step))
    }

    fn view(&self, step: &Step) -> Ended {
        if step.deed.name == "unmap" {
            return match self.take(&step.uses) {
                Some(Thing::View(_)) => Ok(()).into(),
                _ => lacks("view", &step.uses),
            };
        }
        let view = self.with(&step.uses, |thing| match thing {
            Thing::View(view) => Some(Arc::clone(view)),
            _ => None,
        });
        let Some(view) = view else {
            return lacks("view", &step.uses);
        };
        if step.deed.name == "read-view" {
            return ended(view.read(step.at, length(step)));
        }
        view.write(step.at, &step.data).into()
    }

    fn end_transaction(&self, step: &Step) -> Ended {
        let name = step.transaction.as_deref().unwrap_or_default();
        let Some(Thing::Transaction(found)) = self.take(name) else {
            return lacks("transaction", name);
        };
        transaction::end(&self.m, found, step.deed.name == "commit");
        Ok(()).into()
    }

    fn port(&self, process: &Process, step: &Step) -> Ended {
        if step.deed.name == "connect" {
            return match process.connect_port(&step.uses, &step.data) {
                Ok(port) => {
                    self.keep(step, Thing::Port(port, Arc::new(Mutex::new(0))));
                    Ok(()).into()
                }
                Err(status) => Err::<(), _>(status).into(),
            };
        }
        let port = self.with(&step.uses, |thing| match thing {
            Thing::Port(port, last) => Some((port.clone(), Arc::clone(last))),
            _ => None,
        });
        let Some((port, last)) = port else {
            return lacks("connection", &step.uses);
        };
        match step.deed.name {
            "send" => ended(send(&port, step)),
            "get-message" => {
                let time = Duration::from_millis(step.milliseconds.unwrap_or(1000));
                match port.get_message(step.room, Some(time)) {
                    Ok(message) => {
                        *last.lock() = message.id;
                        ended(Ok(message.bytes))
                    }
                    Err(status) => Err::<(), _>(status).into(),
                }
            }
            "reply" => {
                let id = *last.lock();
                let status = NtStatus(step.reply_status.cast_signed());
                port.reply(id, status, &step.data).into()
            }
            _ => {
                port.close();
                self.take(&step.uses);
                Ok(()).into()
            }
        }
    }

    fn machine(&self, step: &Step) -> Ended {
        let faults = self.m.faults();
        match step.deed.name {
            "sleep" => {
                let time = Duration::from_millis(step.milliseconds.unwrap_or(0));
                self.m.sched().sleep(time);
                Ok(()).into()
            }
            "fail-allocation" => {
                faults.fail_allocation(step.nth);
                Ok(()).into()
            }
            "fail-call" => {
                faults.fail_call(&step.function, step.nth);
                Ok(()).into()
            }
            "unload" => match self.driver() {
                Some(driver) if !driver.is_unloaded() => driver.unload().into(),
                _ => lacks("driver", "any more"),
            },
            _ => self.instance(step),
        }
    }

    fn instance(&self, step: &Step) -> Ended {
        let Some(volume) = self.volume(step.volume) else {
            return lacks("volume", "of this drive");
        };
        if step.deed.name == "dismount" {
            volume.dismount(&self.m);
            return Ok(()).into();
        }
        let own = self.driver().map(|driver| driver.object_address());
        let filters = FilterManager::of(&self.m).filters();
        let Some(filter) = filters.into_iter().find(|f| Some(f.driver()) == own) else {
            return Err::<(), _>(STATUS_FLT_INSTANCE_NOT_FOUND).into();
        };
        let attached = crate::fltmgr::volume::attached(&self.m, volume);
        let name = step.instance.as_deref();
        if step.deed.name == "detach" {
            return instance::detach_by_hand(&self.m, &filter, &attached, name).into();
        }
        let altitude = step.altitude.as_deref().and_then(Altitude::parse);
        let (Some(name), Some(altitude)) = (name, altitude) else {
            return Err::<(), _>(STATUS_INVALID_PARAMETER).into();
        };
        let definition = InstanceDefinition {
            name: name.to_owned(),
            altitude,
            flags: 0,
        };
        instance::attach_by_hand(&self.m, &filter, &attached, &definition).into()
    }
}

fn lacks(what: &str, name: &str) -> Ended {
    Ended::Lacks(format!("{what} `{name}`"))
}

fn ended(result: Outcome) -> Ended {
    match result {
        Ok(data) => Ended::With(crate::status::STATUS_SUCCESS, data),
        Err(status) => Ended::With(status, Vec::new()),
    }
}

fn length(step: &Step) -> usize {
    let length = step.length.unwrap_or(READ_LENGTH).min(READ_MAX);
    usize::try_from(length).unwrap_or(usize::MAX)
}

/// What a step does with an open file; the bytes that come back.
fn with_file(file: &FileHandle, step: &Step) -> Outcome {
    let size = step.length.unwrap_or(0);
    let done = match step.deed.name {
        "read" => return file.read_at(step.at, length(step)),
        "query" => return file.query(step.class, step.room),
        "query-volume" => return file.query_volume(step.class, step.room),
        "control" => return file.control(step.code, &step.data, step.room),
        "write" => file.write_at(step.at, &step.data).map(drop),
        "append" => file.append(&step.data).map(drop),
        "set-size" => file.set_end_of_file(size),
        "set-allocation" => file.set_allocation(size),
        "set-attributes" => file.set_attributes(step.attributes),
        "set" => file.set(step.class, &step.data),
        "rename" => file.rename(&step.to, step.replace),
        "link" => file.hard_link(&step.to, step.replace),
        "delete" => file.delete(),
        "undelete" => file.undelete(),
        "flush" => file.flush(),
        "lock" => file.lock(step.at, size, step.exclusive),
        "unlock" => file.unlock(step.at, size),
        other => unreachable!("`{other}` is in the list of deeds and nowhere else"),
    };
    done.map(|()| Vec::new())
}

fn map(file: &FileHandle, protection: Protection) -> Result<View, NtStatus> {
    let (page, attributes) = match protection {
        Protection::Read => (PAGE_READONLY, 0),
        Protection::Write => (PAGE_READWRITE, 0),
        Protection::Copy => (PAGE_WRITECOPY, 0),
        Protection::Image => (PAGE_EXECUTE, SEC_IMAGE),
    };
    file.create_section(page, attributes)?.map()
}

fn send(port: &PortHandle, step: &Step) -> Outcome {
    let mut output = vec![0; step.room];
    let count = port.send(&step.data, &mut output)?;
    output.truncate(count);
    Ok(output)
}
