//! The files of a recording: one for each tenant that owns the call, as far as that is known.

use std::io::ErrorKind;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::canvas::silence;
use super::record::Facts;
use super::recording::{Output, Recording, Trouble};
use super::{Settings, pauses, record};
use crate::base::TenantId;
use crate::engine::event::CallInfo;
use crate::rtp::samples_between;
use crate::storage::{Error, Kind, PartFile, RecordingName, SampleFormat, Sidecar, WavFormat};

impl Recording {
    /// Opens the files that should be there and are not.
    pub(super) fn open_missing(&mut self, info: &CallInfo, settings: &Settings) -> Trouble {
        let mut trouble = Trouble::default();
        if settings.storage_low.load(Ordering::Relaxed) {
            trouble.note(Err(low_on_space(settings)));
            return trouble;
        }
        if self.has_anothers(info) && self.follow_owners(info, settings).is_err() {
            // It was told when it was tried first. No other file is begun in the place of what is to be moved there.
            return trouble;
        }
        for owner in info.owners.iter().filter(|owner| owner.refusal.is_none()) {
            if !self
                .outputs
                .iter()
                .any(|output| output.tenant == owner.tenant)
            {
                self.outputs.push(Output::new(owner.tenant, None));
            }
        }
        self.follow_spans(info);
        let facts = self.facts(settings);
        let raw = self.raw.as_ref().map(|raw| raw.record.clone());
        for output in self
            .outputs
            .iter_mut()
            .filter(|output| output.part.is_none())
        {
            let name = RecordingName::new(
                output.tenant,
                info.recording_id(output.tenant, self.start),
                self.start,
            );
            let kind = kind_for(info, output.tenant);
            let encrypted = settings.encrypts(info, output.tenant);
            let created = PartFile::create(&settings.layout, name, kind, encrypted);
            let opened = created.and_then(|part| {
                part.write_at(&facts.format.header(0), 0)?;
                fill_start(&part, facts.format, self.filled)?;
                let mut sidecar = interim(&facts, info, output.tenant, &part);
                sidecar.raw.clone_from(&raw);
                record::write_interim(&settings.layout, &name, &sidecar)?;
                Ok(part)
            });
            match opened {
                Ok(part) => {
                    output.part = Some(part);
                    output.lose_away(self.written, &mut self.taken);
                }
                Err(error) => trouble.note(Err(error)),
            }
        }
        trouble
    }

    /// News of the call while it is recorded: its files follow their owners, and the interim sidecars say what is known.
    pub fn update(&mut self, info: &CallInfo, settings: &Settings) -> Result<(), Error> {
        let blanked = self.follow_pauses(info);
        if self.outputs.is_empty() {
            return Ok(());
        }
        self.look_for_files();
        self.follow_owners(info, settings)?;
        self.follow_spans(info);
        self.write_interims(info, settings)?;
        blanked
    }

    /// Writes what is known of the call beside each of its files.
    pub(super) fn write_interims(
        &mut self,
        info: &CallInfo,
        settings: &Settings,
    ) -> Result<(), Error> {
        let facts = self.facts(settings);
        for output in &mut self.outputs {
            if let Some(part) = &mut output.part {
                part.become_kind(&settings.layout, kind_for(info, output.tenant))?;
                let mut sidecar = interim(&facts, info, output.tenant, part);
                sidecar.raw = self.raw.as_ref().map(|raw| raw.record.clone());
                record::write_interim(&settings.layout, &part.name, &sidecar)?;
            }
        }
        Ok(())
    }

    /// Whether there is a file of a tenant that the call turned out not to be of.
    pub(super) fn has_anothers(&self, info: &CallInfo) -> bool {
        let owns = |tenant| info.owners.iter().any(|owner| owner.tenant == tenant);
        !self.outputs.iter().all(|output| owns(output.tenant))
    }

    /// The answer may tell that the call is another tenant's. A file whose tenant lost the call moves to the one that has it; a
    /// tenant that joins gets a copy; what is nobody's any more goes.
    pub(super) fn follow_owners(
        &mut self,
        info: &CallInfo,
        settings: &Settings,
    ) -> Result<(), Error> {
        let owns = |tenant: TenantId| {
            info.owners
                .iter()
                .any(|o| o.tenant == tenant && o.refusal.is_none())
        };
        let newcomers: SmallVec<[TenantId; 2]> = info
            .owners
            .iter()
            .filter(|o| {
                o.refusal.is_none() && self.outputs.iter().all(|output| output.tenant != o.tenant)
            })
            .map(|o| o.tenant)
            .collect();
        for tenant in newcomers {
            let id = info.recording_id(tenant, self.start);
            let name = RecordingName::new(tenant, id, self.start);
            self.admit(name, info, owns, settings)?;
        }
        for output in self.outputs.iter().filter(|output| !owns(output.tenant)) {
            if let Some(part) = &output.part {
                record::remove(&settings.layout, &part.name);
            }
        }
        self.outputs.retain(|output| owns(output.tenant));
        Ok(())
    }

    /// From when on the call is no more a tenant's. News of it comes before the blocks of that time.
    fn follow_spans(&mut self, info: &CallInfo) {
        for output in &mut self.outputs {
            let owner = info.owners.iter().find(|o| o.tenant == output.tenant);
            output.until = owner
                .and_then(|owner| owner.until)
                .map(|until| samples_between(self.start, until, self.sample_rate_hz));
        }
    }

    fn admit(
        &mut self,
        name: RecordingName,
        info: &CallInfo,
        owns: impl Fn(TenantId) -> bool,
        settings: &Settings,
    ) -> Result<(), Error> {
        let tenant = name.tenant;
        let (kind, encrypted) = (kind_for(info, tenant), settings.encrypts(info, tenant));
        if let Some(output) = self.outputs.iter_mut().find(|output| !owns(output.tenant)) {
            if let Some(part) = &mut output.part {
                let before = settings.layout.path(&part.name, Kind::SidecarPart);
                part.move_to(&settings.layout, name, kind, encrypted)?;
                // It is written anew beside the moved file.
                let _ = std::fs::remove_file(before);
            }
            output.tenant = tenant;
            output.lose_away(self.written, &mut self.taken);
            return Ok(());
        }
        let part = match self.outputs.iter().find_map(|output| output.part.as_ref()) {
            Some(original) => Some(original.copy_to(&settings.layout, name, kind, encrypted)?),
            None => None,
        };
        let original = self.outputs.iter().find(|output| output.part.is_some());
        let mut output = Output::new(tenant, part);
        if let Some(original) = original {
            output.packets = original.packets;
            (output.lost, output.lost_until) = (original.lost, original.lost_until);
        }
        self.outputs.push(output);
        Ok(())
    }
}

/// A file that is begun in the middle of a call is silent before.
fn fill_start(part: &PartFile, format: WavFormat, frames: u64) -> Result<(), Error> {
    if format.sample_format == SampleFormat::Pcm16 {
        return Ok(());
    }
    let (from, to) = (format.offset_of(0), format.offset_of(frames));
    part.fill(silence(format.sample_format), from, to)
}

/// On demand a file is held back, by its name too: nothing takes it for a recording before somebody asked for it.
fn kind_for(info: &CallInfo, tenant: TenantId) -> Kind {
    let owner = info.owners.iter().find(|owner| owner.tenant == tenant);
    match owner.and_then(|owner| owner.pending) {
        Some(_) => Kind::AudioHeld,
        None => Kind::AudioPart,
    }
}

impl Settings {
    /// Whether what is begun of a call for a tenant is to be encrypted.
    fn encrypts(&self, info: &CallInfo, tenant: TenantId) -> bool {
        let owner = info.owners.iter().find(|owner| owner.tenant == tenant);
        self.encrypt_all || owner.is_some_and(|owner| owner.recording.encrypted)
    }
}

/// The sidecar of a file while its call lasts.
fn interim(facts: &Facts, info: &CallInfo, tenant: TenantId, part: &PartFile) -> Sidecar {
    let mut sidecar = record::sidecar(facts, info, tenant, part, None);
    pauses::describe(&mut sidecar, info, tenant, facts, None);
    sidecar
}

fn low_on_space(settings: &Settings) -> Error {
    Error::io(
        "write below the space that is to stay free on",
        settings.layout.root(),
    )(ErrorKind::StorageFull.into())
}
