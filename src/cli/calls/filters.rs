//! Which calls: what was typed, as a question to the catalog.

use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use crate::access::Scope;
use crate::base::{TenantId, Timestamp};
use crate::catalog::{
    CallQuery, CallState, Catalog, Direction, Disposition, NumberFilter, Sort, slug_of,
};

#[derive(Debug, Default, PartialEq, clap::Args)]
#[command(next_help_heading = "Filters")]
pub struct Filters {
    /// Started then or later: 2026-11-22T04:53:00Z, 2026-11-22 (from its first moment, UTC), or 24h (ago; also s, m, d, w)
    #[arg(long, value_name = "TIME", value_parser = first_moment)]
    from: Option<Timestamp>,
    /// Started before then; a date means to its last moment
    #[arg(long, value_name = "TIME", value_parser = last_moment)]
    to: Option<Timestamp>,
    /// Caller or callee, as signalled or as the extension it is
    #[arg(long, value_name = "NUMBER", conflicts_with = "prefix")]
    number: Option<String>,
    /// Caller or callee begins so
    #[arg(long, value_name = "DIGITS")]
    prefix: Option<String>,
    /// The caller's number, as signalled or as the extension it is
    #[arg(long, value_name = "NUMBER")]
    caller: Option<String>,
    /// The callee's number
    #[arg(long, value_name = "NUMBER")]
    callee: Option<String>,
    /// Which side is the tenant's own: inbound, outbound, or internal for both
    #[arg(long, value_name = "DIRECTION", value_parser = direction)]
    direction: Option<Direction>,
    /// A user of the tenant who took part
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// An extension of the tenant that took part
    #[arg(long, value_name = "EXTENSION")]
    extension: Option<String>,
    /// Of this tenant only, by short name, id or name
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// How it ended for the recorder, such as recorded or no_media
    #[arg(long, value_name = "CODE")]
    disposition: Option<String>,
    /// Only calls with a recording
    #[arg(long)]
    recorded: bool,
    /// Only recordings at least this long: seconds, or 90s, 5m, 1h
    #[arg(long, value_name = "LENGTH", value_parser = length)]
    min_length: Option<Duration>,
    /// Only recordings at most this long
    #[arg(long, value_name = "LENGTH", value_parser = length)]
    max_length: Option<Duration>,
    /// A codec by its name, such as PCMA
    #[arg(long, value_name = "NAME")]
    codec: Option<String>,
    /// A note of the call has words that begin so
    #[arg(long, value_name = "WORDS")]
    notes: Option<String>,
    /// What there is of the call: recorded, none, held, pinned (a note is), deleted
    #[arg(long, value_name = "STATE", value_parser = state)]
    state: Option<CallState>,
    /// newest, oldest, longest, shortest, best-heard, worst-heard
    #[arg(long, value_name = "ORDER", default_value = "newest", value_parser = sort)]
    sort: Sort,
    /// Only calls that were heard worse than this mean opinion score, 1 to 4.5
    #[arg(long, value_name = "SCORE", value_parser = score)]
    mos_below: Option<f64>,
}

impl Filters {
    /// Names are looked up in the catalog.
    pub async fn query(&self, catalog: &Catalog) -> anyhow::Result<CallQuery> {
        let number = self
            .number
            .as_deref()
            .map(|text| NumberFilter::Exact(as_dialled(text)));
        let prefix = self
            .prefix
            .as_deref()
            .map(|text| NumberFilter::Prefix(as_dialled(text)));
        let exact = |text: &Option<String>| {
            let text = text.as_deref()?;
            Some(NumberFilter::Exact(as_dialled(text)))
        };
        let tenant = match &self.tenant {
            Some(tenant) => Some(tenant_id(tenant, catalog).await?),
            None => None,
        };
        let disposition = match &self.disposition {
            Some(code) => Some(disposition(code, catalog).await?),
            None => None,
        };
        let millis = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        Ok(CallQuery {
            tenant,
            from: self.from,
            to: self.to,
            number: number.or(prefix),
            caller: exact(&self.caller),
            callee: exact(&self.callee),
            direction: self.direction,
            user: self.user.clone(),
            extension: self.extension.clone(),
            codec: self.codec.clone(),
            notes: self.notes.clone(),
            state: self.state,
            sort: self.sort,
            max_length_ms: self.max_length.map(millis),
            disposition,
            recorded_only: self.recorded,
            min_length_ms: self.min_length.map_or(0, millis),
            mos_below: self.mos_below,
            ..CallQuery::default()
        })
    }
}

/// A number as people write it loses its separators; a name stays what it is.
fn as_dialled(text: &str) -> String {
    let is_separator = |c: char| " -.()/".contains(c);
    let is_number = |c: char| c.is_ascii_digit() || "+*#".contains(c);
    if text.chars().all(|c| is_number(c) || is_separator(c)) {
        text.chars().filter(|c| is_number(*c)).collect()
    } else {
        text.to_owned()
    }
}

async fn tenant_id(wanted: &str, catalog: &Catalog) -> anyhow::Result<TenantId> {
    if let Ok(id) = wanted.parse() {
        return Ok(id);
    }
    if let Some(id) = catalog.tenant_named(wanted).await? {
        return Ok(id);
    }
    let tenants = catalog.tenants(&Scope::root()).await?;
    let same = |a: &str| {
        a.to_lowercase() == wanted.to_lowercase() || slug_of(a).as_deref() == Some(wanted)
    };
    let found: Vec<_> = tenants.iter().filter(|tenant| same(&tenant.name)).collect();
    match found.as_slice() {
        [only] => Ok(only.id),
        [] => {
            let names = tenants.iter().map(|tenant| tenant.name.as_str());
            bail!(
                "no call is of a tenant named {wanted:?}{}",
                nearest(wanted, names)
            )
        }
        several => {
            let ids: Vec<String> = several.iter().map(|tenant| tenant.id.to_string()).collect();
            bail!(
                "several tenants are named {wanted:?}: give one of the ids {}",
                ids.join(", ")
            )
        }
    }
}

async fn disposition(code: &str, catalog: &Catalog) -> anyhow::Result<Disposition> {
    let wanted = Disposition::from(code);
    if Disposition::known().contains(&wanted) {
        return Ok(wanted);
    }
    // Another version may have written it.
    let seen = catalog.dispositions(&Scope::root(), None, None).await?;
    if seen.iter().any(|(known, _)| *known == wanted) {
        return Ok(wanted);
    }
    let seen = seen.iter().map(|(known, _)| known.code());
    let known = Disposition::known().iter().map(Disposition::code);
    bail!(
        "no call has disposition {code:?}{}",
        nearest(code, known.chain(seen))
    )
}

fn nearest<'a>(wanted: &str, known: impl Iterator<Item = &'a str>) -> String {
    let wanted = wanted.to_lowercase();
    let best = known
        .map(|name| (strsim::jaro_winkler(&wanted, &name.to_lowercase()), name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or_else(String::new, |(_, name)| format!("; did you mean {name:?}?"))
}

fn first_moment(text: &str) -> anyhow::Result<Timestamp> {
    moment(text, Duration::ZERO)
}

fn last_moment(text: &str) -> anyhow::Result<Timestamp> {
    moment(text, Duration::from_secs(86_400))
}

/// `into_day`: what is added to the beginning of a day that was named without a time.
fn moment(text: &str, into_day: Duration) -> anyhow::Result<Timestamp> {
    if let Ok(day) = Date::parse(text, format_description!("[year]-[month]-[day]")) {
        return Ok(timestamp(day.midnight().assume_utc()) + into_day);
    }
    if let Some(ago) = span(text) {
        return Ok(timestamp(SystemTime::now().into()) - ago);
    }
    let at = OffsetDateTime::parse(text, &Rfc3339);
    at.map(timestamp)
        .ok()
        .context("expected a time such as 2026-11-22T04:53:00Z, a date, or 24h")
}

fn timestamp(at: OffsetDateTime) -> Timestamp {
    let nanos = at.unix_timestamp_nanos();
    Timestamp::from_nanos(i64::try_from(nanos).unwrap_or(match nanos < 0 {
        true => i64::MIN,
        false => i64::MAX,
    }))
}

fn length(text: &str) -> anyhow::Result<Duration> {
    let seconds = || Duration::try_from_secs_f64(text.parse().ok()?).ok();
    seconds()
        .or_else(|| span(text))
        .context("expected seconds, or a length such as 90s, 5m, 1h")
}

fn score(text: &str) -> anyhow::Result<f64> {
    let score: Option<f64> = text.parse().ok();
    score
        .filter(|score| (1.0..=5.0).contains(score))
        .context("expected a mean opinion score from 1 to 5, such as 3.6")
}

fn direction(text: &str) -> anyhow::Result<Direction> {
    Direction::named(text).context("expected inbound, outbound or internal")
}

fn state(text: &str) -> anyhow::Result<CallState> {
    CallState::named(text).context("expected recorded, none, held, pinned or deleted")
}

fn sort(text: &str) -> anyhow::Result<Sort> {
    Ok(match text {
        "newest" => Sort::Newest,
        "oldest" => Sort::Oldest,
        "longest" => Sort::Longest,
        "shortest" => Sort::Shortest,
        "best-heard" => Sort::BestHeard,
        "worst-heard" => Sort::WorstHeard,
        _ => bail!("expected newest, oldest, longest, shortest, best-heard or worst-heard"),
    })
}

/// `90s`, `5m`, `24h`, `7d`, `2w`.
fn span(text: &str) -> Option<Duration> {
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return None,
    };
    let count = text.get(..text.len() - 1)?;
    let count: u64 = count
        .chars()
        .all(|c| c.is_ascii_digit())
        .then(|| count.parse().ok())??;
    Some(Duration::from_secs(count.checked_mul(unit)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_three_ways() {
        let day = Timestamp::from_secs_nanos(1_795_305_600, 0);
        assert_eq!(first_moment("2026-11-22").unwrap(), day);
        assert_eq!(
            last_moment("2026-11-22").unwrap(),
            day + Duration::from_secs(86_400)
        );
        assert_eq!(
            first_moment("2026-11-22T02:00:00.5+01:00").unwrap(),
            day + Duration::from_millis(3_600_500)
        );
        let now = timestamp(SystemTime::now().into());
        let yesterday = first_moment("24h").unwrap();
        assert!(now.since(yesterday) < Duration::from_secs(86_460));
        assert!(now.since(yesterday) > Duration::from_secs(86_340));
        for text in [
            "",
            "h",
            "-1h",
            "yesterday",
            "2026-13-01",
            "99999999999999999999w",
        ] {
            assert!(first_moment(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn lengths_are_seconds_unless_they_say_otherwise() {
        for (text, millis) in [
            ("30", 30_000),
            ("0.5", 500),
            ("90s", 90_000),
            ("2m", 120_000),
        ] {
            assert_eq!(length(text).unwrap(), Duration::from_millis(millis));
        }
        assert!(length("-1").is_err() && length("five").is_err() && length("5é").is_err());
    }

    #[test]
    fn a_number_may_be_typed_as_people_write_it() {
        assert_eq!(as_dialled("+44 (20) 7946-0101"), "+442079460101");
        assert_eq!(as_dialled("anna-lena"), "anna-lena");
    }
}
