//! The daemon's settings: every key, its default and its bounds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::access::{self, Access};
use super::api::{self, Api};
use super::audit::{self, Audit};
use super::decoders::{self, Decoders};
use super::feeds::{self, Hep, Tunnels};
use super::interactions::{self, Interactions};
use super::mail::{self, Mail};
use super::reader::{Fields, Source, choice};
use super::webhooks::{self, Webhooks};
use crate::directory::{Place, SYSTEM_NAME};

/// Settings of one daemon. `Settings::default()` is what runs without any configuration: everything goes to the
/// System tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Settings {
    pub sensor: Sensor,
    pub capture: Capture,
    pub storage: Storage,
    pub catalog: Catalog,
    pub api: Api,
    pub audit: Audit,
    pub access: Access,
    /// Absent: no letters are written.
    pub mail: Option<Mail>,
    pub tenancy: Tenancy,
    pub plans: BTreeMap<String, Plan>,
    pub engine: Engine,
    pub recorder: Recorder,
    pub log: Log,
    pub decoders: Decoders,
    pub interactions: Interactions,
    pub webhooks: Webhooks,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Sensor {
    /// What match rules call this daemon; the host's name when absent.
    pub name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Capture {
    /// Live interfaces; none where only capture files are replayed.
    pub interfaces: Vec<String>,
    /// Ports whose TCP streams are followed and that the BPF filter lets through beside media.
    pub sip_ports: Vec<u16>,
    /// A BPF filter in place of the daemon's own.
    pub filter: Option<String>,
    /// Ring buffer between the kernel and each capture thread.
    pub ring_mib: u32,
    pub promiscuous: bool,
    /// Bytes kept of a packet.
    pub snaplen: u32,
    /// Ports whose TCP streams may be TLS; followed, and let through, as `sip_ports` are.
    pub tls_ports: Vec<u16>,
    /// A key-log file with the secrets of TLS sessions, followed as it grows. A relative path is relative to the
    /// configuration file.
    pub tls_keylog: Option<PathBuf>,
    pub tunnels: Tunnels,
    /// Absent: no agent is listened to.
    pub hep: Option<Hep>,
}

impl Capture {
    /// Where packets come from, by the names that match rules and recordings use: the interfaces, and `hep` behind them.
    pub fn sources(&self) -> Vec<Arc<str>> {
        let hep = self.hep.iter().map(|_| feeds::HEP_SOURCE.into());
        let interfaces = self.interfaces.iter().map(|name| name.as_str().into());
        interfaces.chain(hep).collect()
    }
}

impl Default for Capture {
    fn default() -> Self {
        Capture {
            interfaces: Vec::new(),
            sip_ports: vec![5060, 5080],
            filter: None,
            ring_mib: 64,
            promiscuous: true,
            snaplen: 65_535,
            tls_ports: vec![5061],
            tls_keylog: None,
            tunnels: Tunnels::default(),
            hep: None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Storage {
    /// A relative path is relative to the configuration file.
    pub root: PathBuf,
    pub format: AudioFormat,
    /// Recording stops, and says so, while less than this is free.
    pub min_free_mib: u64,
    pub encrypt: Encrypt,
    /// The keys of what is encrypted: made when it is needed first. A relative path is relative to the configuration file.
    pub key_file: PathBuf,
}

/// Whose recordings are encrypted where they rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Encrypt {
    /// Those of tenants whose plan names `encryption`.
    #[default]
    Plans,
    /// Everybody's, and calls that nobody owns.
    All,
}

impl Default for Storage {
    fn default() -> Self {
        Storage {
            root: "/var/lib/callreel/recordings".into(),
            format: AudioFormat::Pcm16,
            min_free_mib: 1024,
            encrypt: Encrypt::default(),
            key_file: "/var/lib/callreel/recordings.key".into(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AudioFormat {
    /// 16-bit linear PCM.
    #[default]
    Pcm16,
    /// A-law or mu-law bytes as they came, where both sides sent them.
    G711,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Catalog {
    /// `sqlite:///…` or `postgres://…`.
    pub url: String,
}

impl Default for Catalog {
    fn default() -> Self {
        Catalog {
            url: "sqlite:///var/lib/callreel/catalog.db".into(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Tenancy {
    /// Tenant files: a path whose names may hold `*` and `?`, relative to the configuration file.
    pub tenants: String,
    pub unattributed: Unattributed,
    /// Name of the System tenant.
    pub system_name: String,
    /// Where that name is written; absent, it may be changed elsewhere.
    #[serde(skip)]
    pub system_named: Origin,
    /// Whether there are tenants besides the System tenant.
    pub multi: bool,
}

impl Default for Tenancy {
    fn default() -> Self {
        Tenancy {
            tenants: "tenants/*.toml".into(),
            unattributed: Unattributed::Keep,
            system_name: SYSTEM_NAME.into(),
            system_named: Origin::default(),
            multi: true,
        }
    }
}

/// What happens to calls of nobody's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unattributed {
    /// The System tenant gets them.
    #[default]
    Keep,
    Discard,
}

/// Limits and features that a tenant subscribes to by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Plan {
    /// Absent: for ever.
    pub retention_days: Option<u32>,
    /// Absent: as far as the disk goes.
    pub storage_gib: Option<u64>,
    /// Absent: all of [`PLAN_FEATURES`] but `encryption`, which nobody has who does not name it.
    pub features: Option<Vec<String>>,
    /// Calls of the tenant recorded at the same time. Absent: all.
    pub concurrent_recordings: Option<u32>,
    /// Minutes recorded in a calendar month, UTC. Absent: any number.
    pub minutes_per_month: Option<u32>,
    /// Users that are not removed. Absent: any number.
    pub users: Option<u32>,
    /// Where it is written.
    #[serde(skip)]
    pub place: Origin,
}

impl Plan {
    /// Whether recordings are encrypted where they rest.
    pub fn encrypts(&self) -> bool {
        let mut features = self.features.iter().flatten();
        features.any(|feature| feature == "encryption")
    }
}

/// Where a setting is written. Settings that say the same are the same, wherever they are written.
#[derive(Clone, Debug, Default, Eq)]
pub struct Origin(pub Option<Place>);

impl PartialEq for Origin {
    fn eq(&self, _: &Origin) -> bool {
        true
    }
}

/// What a plan can have and another can lack.
pub const PLAN_FEATURES: [&str; 4] = ["live_monitor", "encryption", "download", "api_access"];

/// Caps and timeouts of the engine. Past a cap the oldest idle state goes first, counted.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Engine {
    /// Calls followed at the same time.
    pub max_calls: u32,
    /// From INVITE to an answer; anew whenever a provisional answer says that there is none yet, up to an hour in all.
    pub setup_timeout_seconds: u32,
    /// An answered call without media and without signalling is over after this.
    pub media_timeout_seconds: u32,
    /// The same while one side holds the other.
    pub hold_timeout_seconds: u32,
    /// Media kept, in all, whose signalling has not been seen.
    pub orphan_media_mib: u32,
    /// How long such media is kept.
    pub orphan_media_ms: u32,
    /// How long a block waits for late packets before it is written. With the block itself less than the second of audio
    /// that a crash may lose.
    pub reorder_window_ms: u32,
}

impl Default for Engine {
    fn default() -> Self {
        Engine {
            max_calls: 20_000,
            setup_timeout_seconds: 300,
            media_timeout_seconds: 300,
            hold_timeout_seconds: 14_400,
            orphan_media_mib: 32,
            orphan_media_ms: 2000,
            reorder_window_ms: 200,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Recorder {
    /// Threads that decode and write; 0: one for each processor, at most eight.
    pub threads: u32,
    /// Blocks that wait for a recorder thread before the oldest are dropped, counted.
    pub queue_blocks: u32,
    /// A call that lasts longer is ended, with what was recorded.
    pub max_call_hours: u32,
}

impl Default for Recorder {
    fn default() -> Self {
        Recorder {
            threads: 0,
            queue_blocks: 1024,
            max_call_hours: 24,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Log {
    pub level: LogLevel,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    /// From here on people's numbers are shown.
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// journald where the daemon was started by systemd, else text.
    #[default]
    Auto,
    Text,
    Json,
    Journald,
}

/// Reads the daemon's file, defaults where nothing or something wrong is written. `folder` is the file's.
pub(super) fn read(source: &mut Source<'_>, mut root: Fields<'_>, folder: &Path) -> Settings {
    let settings = Settings {
        sensor: section(source, &mut root, "sensor", read_sensor),
        capture: section(source, &mut root, "capture", |source, fields, capture| {
            read_capture(source, fields, capture, folder);
        }),
        storage: section(source, &mut root, "storage", |source, fields, storage| {
            read_storage(source, fields, storage, folder);
        }),
        catalog: section(source, &mut root, "catalog", read_catalog),
        api: section(source, &mut root, "api", |source, fields, api| {
            api::read(source, fields, api, folder);
        }),
        audit: section(source, &mut root, "audit", |source, fields, audit| {
            audit::read(source, fields, audit, folder);
        }),
        access: section(source, &mut root, "access", |source, fields, access| {
            access::read(source, fields, access, folder);
        }),
        mail: mail::read(source, &mut root, folder),
        tenancy: section(source, &mut root, "tenancy", read_tenancy),
        plans: read_plans(source, &mut root),
        engine: section(source, &mut root, "engine", read_engine),
        recorder: section(source, &mut root, "recorder", read_recorder),
        log: section(source, &mut root, "log", read_log),
        decoders: section(source, &mut root, "decoders", decoders::read),
        interactions: section(source, &mut root, "interactions", interactions::read),
        webhooks: section(source, &mut root, "webhooks", webhooks::read),
    };
    root.finish(source);
    settings
}

fn section<T: Default>(
    source: &mut Source<'_>,
    root: &mut Fields<'_>,
    key: &'static str,
    read: impl FnOnce(&mut Source<'_>, &mut Fields<'_>, &mut T),
) -> T {
    let mut settings = T::default();
    if let Some(mut fields) = root.table(source, key) {
        read(source, &mut fields, &mut settings);
        fields.finish(source);
    }
    settings
}

pub(super) fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

pub(super) fn not_empty(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() {
        return Err("this must not be empty");
    }
    Ok(text.to_owned())
}

fn read_sensor(source: &mut Source<'_>, fields: &mut Fields<'_>, sensor: &mut Sensor) {
    sensor.name = fields.parsed(source, "name", not_empty);
}

fn read_capture(
    source: &mut Source<'_>,
    fields: &mut Fields<'_>,
    capture: &mut Capture,
    folder: &Path,
) {
    for interface in fields.strings(source, "interfaces").unwrap_or_default() {
        if interface.value.is_empty() {
            source.error(interface.span, "an interface has a name, such as \"span0\"");
        } else if capture
            .interfaces
            .iter()
            .any(|known| known == interface.value)
        {
            source.error(
                interface.span,
                format!("interface `{}` is there twice", interface.value),
            );
        } else {
            capture.interfaces.push(interface.value.to_owned());
        }
    }
    let ports = fields.integers(source, "sip_ports", 1..=u16::MAX);
    if fields.is_empty_list("sip_ports") {
        source.error(
            fields.span_of("sip_ports"),
            "at least one SIP port is needed",
        );
    }
    set(&mut capture.sip_ports, ports);
    capture.filter = fields.parsed(source, "filter", not_empty);
    set(
        &mut capture.ring_mib,
        fields.integer(source, "ring_mib", 1..=4096),
    );
    set(&mut capture.promiscuous, fields.flag(source, "promiscuous"));
    set(
        &mut capture.snaplen,
        fields.integer(source, "snaplen", 256..=262_144),
    );
    set(
        &mut capture.tls_ports,
        fields.integers(source, "tls_ports", 1..=u16::MAX),
    );
    let keylog = fields.parsed(source, "tls_keylog", not_empty);
    capture.tls_keylog = keylog.map(|keylog| folder.join(keylog));
    capture.tunnels = feeds::read_tunnels(source, fields);
    capture.hep = feeds::read_hep(source, fields);
}

fn read_storage(
    source: &mut Source<'_>,
    fields: &mut Fields<'_>,
    storage: &mut Storage,
    folder: &Path,
) {
    let root = fields.parsed(source, "root", not_empty);
    set(&mut storage.root, root.map(|root| folder.join(root)));
    let formats = [("pcm16", AudioFormat::Pcm16), ("g711", AudioFormat::G711)];
    set(
        &mut storage.format,
        fields.choice(source, "format", &formats),
    );
    set(
        &mut storage.min_free_mib,
        fields.integer(source, "min_free_mib", 0..=1_u64 << 40),
    );
    let choices = [("plans", Encrypt::Plans), ("all", Encrypt::All)];
    set(
        &mut storage.encrypt,
        fields.choice(source, "encrypt", &choices),
    );
    let key_file = fields.parsed(source, "key_file", not_empty);
    set(
        &mut storage.key_file,
        key_file.map(|path| folder.join(path)),
    );
}

fn read_catalog(source: &mut Source<'_>, fields: &mut Fields<'_>, catalog: &mut Catalog) {
    let url = fields.parsed(source, "url", |text| {
        let known = ["sqlite:", "postgres:", "postgresql:"]
            .iter()
            .any(|scheme| text.starts_with(scheme));
        known.then(|| text.to_owned()).ok_or(
            "expected a URL such as \"sqlite:///var/lib/callreel/catalog.db\" or \"postgres://…\"",
        )
    });
    set(&mut catalog.url, url);
}

fn read_tenancy(source: &mut Source<'_>, fields: &mut Fields<'_>, tenancy: &mut Tenancy) {
    let tenants = fields.parsed(source, "tenants", |text| {
        if text.contains("**") {
            return Err("`**` is not supported; `*` and `?` stand for parts of one name");
        }
        not_empty(text)
    });
    set(&mut tenancy.tenants, tenants);
    let choices = [
        ("keep", Unattributed::Keep),
        ("discard", Unattributed::Discard),
    ];
    set(
        &mut tenancy.unattributed,
        fields.choice(source, "unattributed", &choices),
    );
    set(&mut tenancy.multi, fields.flag(source, "multi"));
    if fields.has("system_name") {
        tenancy.system_named = Origin(Some(source.place(&fields.span_of("system_name"))));
    }
    set(
        &mut tenancy.system_name,
        fields.parsed(source, "system_name", not_empty),
    );
}

fn read_plans(source: &mut Source<'_>, root: &mut Fields<'_>) -> BTreeMap<String, Plan> {
    let mut plans = BTreeMap::new();
    for (name, mut fields) in root.named_tables(source, "plans") {
        let plan = Plan {
            place: Origin(Some(source.place(&fields.span))),
            retention_days: fields.integer(source, "retention_days", 1..=36_500),
            storage_gib: fields.integer(source, "storage_gib", 1..=1_u64 << 30),
            features: read_features(source, &mut fields),
            minutes_per_month: fields.integer(source, "minutes_per_month", 1..=1_000_000_000),
            users: fields.integer(source, "users", 1..=1_000_000),
            concurrent_recordings: fields.integer(source, "concurrent_recordings", 0..=1_000_000),
        };
        fields.finish(source);
        plans.insert(name.to_owned(), plan);
    }
    plans
}

fn read_features(source: &mut Source<'_>, fields: &mut Fields<'_>) -> Option<Vec<String>> {
    let names = fields.strings(source, "features")?;
    let choices = PLAN_FEATURES.map(|name| (name, name));
    let known = names
        .iter()
        .filter_map(|name| choice(source, name, &choices));
    Some(known.map(str::to_owned).collect())
}

fn read_engine(source: &mut Source<'_>, fields: &mut Fields<'_>, engine: &mut Engine) {
    let mut bounded =
        |key, target: &mut u32, range| set(target, fields.integer(source, key, range));
    bounded("max_calls", &mut engine.max_calls, 1..=1_000_000);
    bounded(
        "setup_timeout_seconds",
        &mut engine.setup_timeout_seconds,
        5..=3600,
    );
    bounded(
        "media_timeout_seconds",
        &mut engine.media_timeout_seconds,
        5..=86_400,
    );
    bounded(
        "hold_timeout_seconds",
        &mut engine.hold_timeout_seconds,
        5..=86_400,
    );
    bounded("orphan_media_mib", &mut engine.orphan_media_mib, 0..=4096);
    bounded("orphan_media_ms", &mut engine.orphan_media_ms, 0..=10_000);
    bounded("reorder_window_ms", &mut engine.reorder_window_ms, 20..=400);
}

fn read_recorder(source: &mut Source<'_>, fields: &mut Fields<'_>, recorder: &mut Recorder) {
    let mut bounded =
        |key, target: &mut u32, range| set(target, fields.integer(source, key, range));
    bounded("threads", &mut recorder.threads, 0..=256);
    bounded("queue_blocks", &mut recorder.queue_blocks, 64..=1_048_576);
    bounded("max_call_hours", &mut recorder.max_call_hours, 1..=168);
}

fn read_log(source: &mut Source<'_>, fields: &mut Fields<'_>, log: &mut Log) {
    let levels = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    set(&mut log.level, fields.choice(source, "level", &levels));
    let formats = [
        ("auto", LogFormat::Auto),
        ("text", LogFormat::Text),
        ("json", LogFormat::Json),
        ("journald", LogFormat::Journald),
    ];
    set(&mut log.format, fields.choice(source, "format", &formats));
}
