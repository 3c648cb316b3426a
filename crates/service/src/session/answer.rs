//! The answer to a request, given once, and what follows from it.

use siloscan_core::wire::{ScanFlags, ScanReply, WireVerdict};
use zerocopy::IntoBytes;

use super::Session;
use crate::engine::Digest;
use crate::events::Event;
use crate::job::{Job, Outcome};
use crate::memory::Copied;
use crate::platform::Platform;
use crate::policy::Action;
use crate::remedy::{LayerFile, Remedy, ScratchFile};

impl<P: Platform> Session<P> {
    /// The digest that the driver knows these rules by just now.
    pub(super) fn told_of(&self, rules: Digest) -> Digest {
        self.service.policy().digest(rules)
    }

    /// Answers a request, unless somebody has; then tells the outside.
    pub(super) fn answer(&self, job: &Job, outcome: &Outcome, told: Digest) {
        let (verdict, detail) = outcome.on_the_wire();
        let reply = ScanReply::new(job.request.request, told.0, verdict, detail, "");
        if !self.give(job, outcome, &reply) {
            return;
        }
        if let Some(cause) = outcome.complaint(self.service.file_bytes_max()) {
            let scan = job.record(self.service.platform.now());
            self.service.report(Event::Unscannable { cause, scan });
        }
    }

    /// Gives an answer. False where somebody has given one.
    fn give(&self, job: &Job, outcome: &Outcome, reply: &ScanReply) -> bool {
        if !job.claim_answer() {
            return false;
        }
        let taken = job.microseconds(self.service.platform.now());
        let stats = &self.service.stats;
        stats.answered(outcome, job.request.size, taken);
        self.reply(job.delivery, 0, reply.as_bytes());
        true
    }

    /// Answers a request in whose file a rule matched, by what is done about detections; then
    /// tells the outside, and leaves the rest to whoever follows detections up.
    pub(super) fn answer_found(&self, job: &Job, outcome: Outcome, rules: Digest, copied: Copied) {
        let policy = self.service.policy();
        // The digest is that of the very policy that judges.
        let told = policy.digest(rules);
        let (action, allowed) = policy.judge(copied.bytes.bytes());
        let Some(detection) = outcome.detection() else {
            return self.answer(job, &outcome, told);
        };
        let rule = detection.rule;
        let number = job.request.request;
        let reply = match action {
            Action::Denied => ScanReply::new(number, told.0, WireVerdict::INFECTED, 0, rule),
            Action::Audit | Action::Allowed => {
                ScanReply::new(number, told.0, WireVerdict::CLEAN, 0, "")
            }
        };
        if !self.give(job, &outcome, &reply) {
            return;
        }
        match action {
            Action::Denied => {}
            Action::Audit => self.service.stats.audited.one(),
            Action::Allowed => self.service.stats.allowed.one(),
        }
        let scan = job.record(self.service.platform.now());
        // Whoever has seen this finds it counted.
        self.service.report(Event::Detection {
            rule: rule.to_owned(),
            origin: detection.origin.to_owned(),
            known: detection.known,
            rules: rules.to_string(),
            action,
            scan: scan.clone(),
        });
        if let Some(sha256) = allowed {
            return self.service.report(Event::Allowed {
                sha256: sha256.to_string(),
                rule: rule.to_owned(),
                scan,
            });
        }
        self.follow_up(job, rule, rules, scan, action, copied);
    }

    /// Leaves to another thread what is to be done about a detection: this one answers scans.
    fn follow_up(
        &self,
        job: &Job,
        rule: &str,
        rules: Digest,
        scan: crate::events::ScanRecord,
        action: Action,
        copied: Copied,
    ) {
        let (flags, settings) = (job.request.flags, &self.service.settings);
        let rule = rule.to_owned();
        if flags.has(ScanFlags::LAYER) {
            if settings.tell_layers {
                let (key, container) = (job.request.key, job.request.container);
                let file = LayerFile {
                    key,
                    container,
                    rule,
                    rules,
                    scan,
                };
                self.service.leave(Remedy::Layer(Box::new(file)));
            }
            return;
        }
        // A file of the host, or one of which the container filter did not say whose it is, stays.
        let own = flags.has(ScanFlags::SCRATCH) && job.request.container != [0; 16];
        if let Some(key) = job.request.key
            && own
            && settings.quarantine
            && action == Action::Denied
        {
            let file = ScratchFile {
                key,
                rule,
                rules,
                scan,
            };
            self.service.leave_file(file, copied);
        }
    }
}
