//! `callreel calls fetch`: a file of a recording, as any program reads it.

use std::fs::{self, File};
use std::io::{self, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::json;
use uuid::Uuid;

use super::super::user::operator;
use super::super::{Exit, selection::Store};
use crate::access::{Event, Scope};
use crate::base::SYSTEM_TENANT;
use crate::catalog::{CallRecord, Catalog, wall_clock};
use crate::storage::{Kind, RecordingName, StoredFile};

/// Bytes read of a file at a time.
const STEP: usize = 256 << 10;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "What is encrypted where it rests comes out as it was before: this needs the storage's key file. The audit of the call's \
tenant keeps who fetched it, before anything is written.\n\n\
Exit status: 0 written, 1 there is no such call or it has no such file, 2 bad usage or configuration, or it cannot be read."
)]
pub struct Args {
    /// Id of the call
    #[arg(value_name = "ID")]
    id: Uuid,
    /// Which of its files
    #[arg(long, value_enum, default_value_t = What::Audio)]
    what: What,
    /// Write to this file instead of standard output; `-` is standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// WAV
    Audio,
    /// Everything that is known of it, JSON
    Sidecar,
    /// What could not be decoded, pcap
    Packets,
    /// The dialog's messages, pcap
    Messages,
}

impl What {
    fn kind(self) -> Kind {
        match self {
            What::Audio => Kind::Audio,
            What::Sidecar => Kind::Sidecar,
            What::Packets => Kind::Raw,
            What::Messages => Kind::Signalling,
        }
    }
}

pub async fn run(args: &Args, store: &Store, catalog: &Catalog) -> anyhow::Result<Exit> {
    let output = args
        .output
        .as_deref()
        .filter(|path| path.as_os_str() != "-");
    anyhow::ensure!(
        output.is_some() || !io::stdout().is_terminal(),
        "say into which file: --output FILE"
    );
    let calls = catalog.call(&Scope::root(), args.id).await?;
    let Some((call, name)) = calls.iter().find_map(|call| Some((call, name_of(call)?))) else {
        eprintln!("callreel: there is no recording of {}", args.id);
        return Ok(Exit::Found);
    };
    let file = match StoredFile::open(&store.layout, &name, args.what.kind()) {
        Err(error) if error.is_not_found() => {
            eprintln!("callreel: {error}");
            return Ok(Exit::Found);
        }
        other => other?,
    };
    audit(args.what, call, store, catalog).await?;
    write(&file, output)?;
    Ok(Exit::Success)
}

/// In the audit of the call's tenant, or in that of the System tenant where nobody registered that one: it had a configuration that is not
/// this.
async fn audit(
    what: What,
    call: &CallRecord,
    store: &Store,
    catalog: &Catalog,
) -> anyhow::Result<()> {
    if let Some(configured) = &store.configured {
        let mirrored = configured.mirrored();
        catalog.mirror_tenants(&mirrored, wall_clock()).await?;
    }
    let what = json!({ "file": what.kind().extension(), "tenant_id": call.tenant });
    let event = Event::by(&operator(), "calls.download");
    let event = event.on("call", call.id).change(None, Some(what));
    let event = match catalog.has_tenant(&Scope::root(), call.tenant).await? {
        true => event.of_tenant(call.tenant),
        false => event.of_tenant(SYSTEM_TENANT),
    };
    Ok(catalog.audit(event).await?)
}

/// A path that is not a recording's own is not followed.
fn name_of(call: &CallRecord) -> Option<RecordingName> {
    RecordingName::of_call(call.tenant, call.id, &call.file.as_ref()?.path)
}

fn write(file: &StoredFile, output: Option<&Path>) -> anyhow::Result<()> {
    let mut from = BufReader::with_capacity(STEP, file.reader());
    let Some(path) = output else {
        let mut out = io::stdout().lock();
        io::copy(&mut from, &mut out)?;
        return Ok(out.flush()?);
    };
    let failed = || format!("cannot write {}", path.display());
    // Beside it first: a part is not taken for the whole, and a file of the storage is not begun anew before it was read.
    let beside = path.with_extension("fetching");
    let mut out = File::create(&beside).with_context(failed)?;
    let copied = io::copy(&mut from, &mut out).map(drop);
    let named = copied.and_then(|()| fs::rename(&beside, path));
    if named.is_err() {
        let _ = fs::remove_file(&beside);
    }
    named.with_context(|| format!("{} to {}", file.path().display(), path.display()))
}
