//! What is known of an open that succeeded: its keys, the container filter's answer, the facts
//! about stream and volume.
#![forbid(unsafe_code)]

use siloscan_core::ecp::{Redirection, RedirectionFlags};
use siloscan_core::key::Key;
use siloscan_core::route::OpenFacts;
use siloscan_core::stream::{OwnId, StreamName};

use super::Opening;
use crate::ecp::{Attached, List};
use crate::kernel::{clock, silo};
use crate::scan::{By, OnVolume, Wanted};
use crate::{instance, invalidate, state, trace};

impl Opening<'_> {
    pub(super) fn own_key(&self) -> Option<Key> {
        let stream = self.stream.as_ref()?;
        invalidate::own_key(stream, &self.instance)
    }

    /// The container's id, or zero.
    pub(super) fn container(&self) -> [u8; 16] {
        silo::of(self.data.file()).map_or([0; 16], |silo| silo.container)
    }

    /// The answer to the redirection question. The first one that is worth something makes the
    /// instance redirecting.
    pub(super) fn redirection(&self, attached: Attached) -> Redirection {
        if !self.open.has(OpenFacts::CONTAINER) {
            return Redirection::Absent;
        }
        let redirection = List::of(self.data).answer(attached);
        if matches!(redirection, Redirection::Answer(_)) && instance::redirects(&self.instance) {
            // Its start begins.
            trace::tally(&self.container(), |_| {});
        }
        redirection
    }

    /// The facts about stream and volume, and the volume that the open's key would be on, so that
    /// the look-up need not search for it again.
    pub(super) fn known(&self, redirection: &Redirection) -> (OpenFacts, Option<OnVolume>) {
        let instance = &self.instance;
        let found = |guid| Some(OnVolume(guid, state::ledger()?.volume(guid)?));
        // Whose volume is not asked for is not looked for: `route` uses the own one only where the
        // file is not a layer's.
        let (layer, own) = match redirection {
            Redirection::Answer(answer) if answer.flags.has(RedirectionFlags::LAYER) => {
                (answer.volume.and_then(found), None)
            }
            _ => (None, instance.guid().and_then(found)),
        };
        let open = self
            .open
            .without(OpenFacts::UNNAMED)
            .with_if(OpenFacts::REDIRECTING, self.is_redirecting())
            .with_if(OpenFacts::OWN_VOLUME, own.is_some())
            .with_if(OpenFacts::DAX, instance.dax)
            .with_if(OpenFacts::CSV, instance.csv)
            .with_if(OpenFacts::EXCLUDED, self.excluded.is_some())
            .with_if(OpenFacts::COVERED, self.is_covered(redirection))
            .with_if(OpenFacts::LAYER_VOLUME, layer.is_some());
        let Some(stream) = &self.stream else {
            return (open, layer.or(own));
        };
        let open = open
            .with_if(
                OpenFacts::UNNAMED,
                stream.state.name() == StreamName::Unnamed,
            )
            .with_if(
                OpenFacts::OWN_ID,
                matches!(stream.state.own_id(), OwnId::Known(_)),
            )
            .with_if(OpenFacts::WRITABLE_SECTION, stream.state.writable_section());
        (open, layer.or(own))
    }

    /// Whether own ids may show layer bytes. In a silo that the host compute service did not make
    /// that is so wherever the container filter is, whether it has answered anybody or not.
    fn is_redirecting(&self) -> bool {
        if self.open.has(OpenFacts::FOREIGN_SILO) {
            return instance::is_redirecting(&self.instance, self.data.volume());
        }
        self.instance.state.redirecting()
    }

    fn is_covered(&self, redirection: &Redirection) -> bool {
        let Redirection::Answer(answer) = redirection else {
            return false;
        };
        answer.flags.has(RedirectionFlags::REGISTERED)
            && answer
                .volume
                .is_some_and(|guid| state::ledger().is_some_and(|l| l.covered(guid)))
    }

    /// Whether the opened stream still is what its open was told that it is: one that was ever
    /// changed may hold a container's own bytes, and not those of a package file.
    pub(super) fn is_untouched(&self) -> bool {
        self.stream
            .as_ref()
            .is_some_and(|stream| stream.state.is_untouched())
    }

    pub(super) fn wanted(
        &self,
        keyed: Option<Keyed>,
        layer: bool,
        deadline: clock::Time,
    ) -> Wanted<'_> {
        Wanted {
            by: By::Open(self.data),
            instance: &self.instance,
            stream: self.stream.as_ref(),
            key: keyed.map(|keyed| keyed.key),
            keeps: keyed.is_some_and(|keyed| keyed.keeps),
            layer,
            scratch: keyed.is_some_and(|keyed| keyed.scratch),
            silo: silo::of(self.data.file()),
            deadline,
        }
    }
}

/// A key, and whether a verdict of this open's scan may be kept under it.
#[derive(Clone, Copy)]
pub(super) struct Keyed {
    pub(super) key: Key,
    pub(super) keeps: bool,
    /// It is the key of a file in the container's own layer, as the container filter answered.
    pub(super) scratch: bool,
}
