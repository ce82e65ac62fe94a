//! From the path of the daemon's file to settings and directory.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::diagnostic::{Diagnostic, Error, Severity, Spot};
use super::glob;
use super::reader::{Fields, Source};
use super::settings::{self, Plan, Settings};
use super::{rows, tenant};
use crate::base::{Network, SYSTEM_TENANT};
use crate::directory::{self, Directory, MatchRule, Place, TenantDefinition};

/// A configuration that is valid as a whole.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub settings: Settings,
    /// Of what is written alone.
    pub directory: Arc<Directory>,
    /// What the directory was compiled of.
    pub tenants: Arc<Vec<Written>>,
    /// The files it was read from, the daemon's first.
    pub files: Vec<PathBuf>,
    /// Folders where a file that appears may belong to it too.
    pub folders: Vec<PathBuf>,
    pub warnings: Vec<Diagnostic>,
}

/// A tenant as its file has it.
#[derive(Clone, Debug)]
pub struct Written {
    pub definition: TenantDefinition,
    /// All of the file but `[tenant]` and `[[extension]]`, and the country: [`super::TenantText::rules`].
    pub rules: serde_json::Value,
}

/// Threads that read tenant files, at most.
const READERS: usize = 8;
/// Fewer files than this are read by one thread.
const FILES_PER_READER: usize = 64;

/// Reads the daemon's file at `path` and the tenants' files it names, and compiles the directory.
///
/// # Errors
/// Everything that is wrong in any of the files, and every file that cannot be read.
pub fn load(path: &Path) -> Result<Loaded, Error> {
    let file = label(path);
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut diagnostics = Vec::new();
    let mut settings = None;
    if let Some(text) = read(path, &file, &mut diagnostics) {
        let mut source = Source::new(&file, &text);
        if let Some(document) = source.parse() {
            settings = Some(settings::read(&mut source, Fields::new(&document), folder));
        }
        diagnostics.append(&mut source.into_diagnostics());
    }
    let plans_known = settings.is_some();
    let settings = settings.unwrap_or_default();
    let found =
        glob::expand(&folder.join(&settings.tenancy.tenants)).unwrap_or_else(|(at, error)| {
            diagnostics.push(unreadable(&label(&at), &error));
            glob::Matches::default()
        });
    let plans: Vec<&str> = settings.plans.keys().map(String::as_str).collect();
    let plans = plans_known.then_some(plans.as_slice());
    let (mut tenants, mut of_tenants) = read_tenants(&found.files, plans);
    for tenant in tenants.iter_mut().map(|tenant| &mut tenant.definition) {
        let plan = (tenant.plan.as_deref()).and_then(|plan| settings.plans.get(plan));
        tenant.recording.concurrent = plan.and_then(|plan| plan.concurrent_recordings);
        tenant.recording.encrypted = plan.is_some_and(Plan::encrypts);
    }
    diagnostics.append(&mut of_tenants);
    if !settings.tenancy.multi {
        diagnostics.extend(others_than_system(&tenants));
        open_system(&mut tenants);
    }
    let definitions: Vec<_> = tenants.iter().map(|tenant| &tenant.definition).collect();
    let directory = Directory::compile_all(&definitions, Some(&settings.tenancy.system_name));
    let directory = directory.unwrap_or_else(|errors| {
        diagnostics.extend(errors.iter().map(from_directory));
        Directory::empty()
    });
    let (errors, warnings): (Vec<_>, Vec<_>) =
        (diagnostics.into_iter()).partition(|found| found.severity == Severity::Error);
    if !errors.is_empty() {
        return Err(Error::new(errors));
    }
    let files = std::iter::once(path.to_owned()).chain(found.files);
    Ok(Loaded {
        settings,
        directory: Arc::new(directory),
        tenants: Arc::new(tenants),
        files: files.collect(),
        folders: found.folders,
        warnings,
    })
}

/// With one tenant there is no file of another.
fn others_than_system(tenants: &[Written]) -> impl Iterator<Item = Diagnostic> {
    let others = tenants
        .iter()
        .map(|tenant| &tenant.definition)
        .filter(|tenant| tenant.id != SYSTEM_TENANT);
    others.map(|tenant| {
        let text = std::fs::read_to_string(&*tenant.place.file).unwrap_or_default();
        let spot = Spot::line(&text, tenant.place.line);
        let message = "with `multi = false` under [tenancy] the System tenant is the only one";
        Diagnostic::new(Severity::Error, &tenant.place.file, spot, message).help(Some(format!(
            "give this file id = \"{SYSTEM_TENANT}\", or leave `multi` out"
        )))
    })
}

/// The only tenant needs no match rule to have its calls.
fn open_system(tenants: &mut [Written]) {
    let system = tenants.iter_mut().map(|tenant| &mut tenant.definition);
    for system in system.filter(|tenant| tenant.id == SYSTEM_TENANT) {
        if system.rules.is_empty() {
            system.rules.push(everywhere(system.place.clone()));
        }
    }
}

/// A rule that holds for every call.
pub fn everywhere(place: Place) -> MatchRule {
    let mut rule = MatchRule::new(place);
    let all = ["0.0.0.0/0", "::/0"].map(str::parse::<Network>);
    rule.networks = all.into_iter().flatten().collect();
    rule
}

fn label(path: &Path) -> Arc<str> {
    path.display().to_string().into()
}

fn read(path: &Path, file: &Arc<str>, diagnostics: &mut Vec<Diagnostic>) -> Option<String> {
    let bytes = std::fs::read(path)
        .map_err(|error| diagnostics.push(unreadable(file, &error)))
        .ok()?;
    String::from_utf8(bytes)
        .map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes());
            let line =
                memchr::memchr_iter(b'\n', error.as_bytes().get(..valid).unwrap_or_default())
                    .count();
            let spot = Spot::line(&text, u32::try_from(line + 1).unwrap_or(u32::MAX));
            diagnostics.push(Diagnostic::new(
                Severity::Error,
                file,
                spot,
                "this line is not UTF-8, which TOML must be",
            ));
        })
        .ok()
}

fn unreadable(file: &Arc<str>, error: &std::io::Error) -> Diagnostic {
    let message = format!("cannot read {file}: {error}");
    Diagnostic::new(Severity::Error, file, Spot::default(), message)
}

/// Thousands of files take a second or more on one processor, so they are shared out. The order stays.
fn read_tenants(files: &[PathBuf], plans: Option<&[&str]>) -> (Vec<Written>, Vec<Diagnostic>) {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let readers = processors
        .min(READERS)
        .min(files.len().div_ceil(FILES_PER_READER))
        .max(1);
    let share = files.len().div_ceil(readers).max(1);
    let mut all = (Vec::with_capacity(files.len()), Vec::new());
    std::thread::scope(|scope| {
        let read = |share: &[PathBuf]| {
            let mut of_share = (Vec::with_capacity(share.len()), Vec::new());
            for path in share {
                of_share.0.extend(read_tenant(path, plans, &mut of_share.1));
            }
            of_share
        };
        let workers: Vec<_> = files
            .chunks(share)
            .map(|share| scope.spawn(move || read(share)))
            .collect();
        for worker in workers {
            // A worker only panics by a bug, which must not pass for an empty share.
            let (mut tenants, mut diagnostics) = worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            all.0.append(&mut tenants);
            all.1.append(&mut diagnostics);
        }
    });
    all
}

fn read_tenant(
    path: &Path,
    plans: Option<&[&str]>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Written> {
    let file = label(path);
    let text = read(path, &file, diagnostics)?;
    let mut source = Source::new(&file, &text);
    let document = source.parse();
    let tenant = document.and_then(|document| {
        let definition = tenant::read(&mut source, Fields::new(&document), plans)?;
        let rules = rows::rules_of(document.get_ref());
        Some(Written { definition, rules })
    });
    diagnostics.append(&mut source.into_diagnostics());
    tenant
}

/// The directory knows places by file and line; the lines are read again to show them.
fn from_directory(error: &directory::Error) -> Diagnostic {
    let spot = |place: &Place| {
        let text = std::fs::read_to_string(&*place.file).unwrap_or_default();
        Spot::line(&text, place.line)
    };
    let place = error.place();
    let diagnostic = Diagnostic::new(Severity::Error, &place.file, spot(place), error.to_string());
    let related = error.related().into_iter();
    related
        .fold(diagnostic, |diagnostic, (place, message)| {
            diagnostic.related(&place.file, spot(place), message)
        })
        .help(error.help())
}
