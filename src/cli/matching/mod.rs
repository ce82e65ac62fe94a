//! `callreel match`: whose would a call be, and why?

mod invite;

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use self::invite::Question;
use super::check::policy_text;
use super::installation::{AsItRuns, as_it_runs};
use super::output::{self, Table, harmless, print_json};
use super::reasons::{self, CandidateLine};
use super::{Exit, selection};
use crate::base::{SYSTEM_TENANT, Side, TenantId};
use crate::config::{Loaded, Unattributed};
use crate::directory::{Attribution, Directory, Policy, Withheld};
use crate::engine::signalling::with_facts;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The call is matched exactly as the recorder matches it: numbers and headers given here are put into an INVITE, \
and the INVITE is read. Tenants, extensions and allocations that were made through the API count as much as those of the files, where \
the configuration's catalog can be read.\n\n\
  callreel match --caller 1001 --callee +442079460101 --from-address 10.20.0.7\n  \
  callreel match --invite invite.txt --from-address 10.20.0.7\n\n\
Exit status: 0 a tenant owns it, 1 nobody's or ambiguous, 2 bad usage or configuration."
)]
pub struct Args {
    #[command(flatten)]
    call: invite::Call,
    /// The daemon's configuration [default: /etc/callreel/callreel.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    let loaded = match selection::load(args.config) {
        Ok(loaded) => loaded,
        Err(exit) => return Ok(exit),
    };
    let question = Question::new(&args.call, &loaded.settings)?;
    let directory = directory(&loaded);
    let keeps = loaded.settings.tenancy.unattributed == Unattributed::Keep;
    let answer = answer(&question, &directory, keeps)?;
    if args.json {
        print_json(&answer)?;
    } else {
        print(&answer, &directory);
    }
    Ok(match answer.is_owned {
        true => Exit::Success,
        false => Exit::Found,
    })
}

/// What a daemon would match calls against: the tenants of the files, and those of the catalog where there is one.
fn directory(loaded: &Loaded) -> Arc<Directory> {
    match selection::block_on(as_it_runs(loaded)) {
        Ok(None) => loaded.directory.clone(),
        Ok(Some(AsItRuns { tenancy, .. })) => {
            for what in tenancy.left_out() {
                eprintln!("callreel: not in the directory: {}", harmless(&what));
            }
            tenancy.directory().load_full()
        }
        Err(error) => {
            eprintln!(
                "callreel: this is the answer of the files alone, without what is in the catalog: {error:#}"
            );
            loaded.directory.clone()
        }
    }
}

#[derive(Debug, Serialize)]
struct Answer {
    #[serde(skip)]
    is_owned: bool,
    facts: invite::FactLines,
    candidates: Vec<CandidateLine>,
    /// Who gets a recording, and whether the call is recorded for them.
    recordings: Vec<RecordingLine>,
    attribution: Attribution,
}

#[derive(Debug, Serialize)]
struct RecordingLine {
    tenant_id: TenantId,
    tenant: String,
    /// By the tenant's policy; of a sample it is not known beforehand.
    recorded: Option<bool>,
    reason: String,
}

fn answer(question: &Question, directory: &Directory, keeps: bool) -> anyhow::Result<Answer> {
    let (invite, response) = question.messages()?;
    let (attribution, candidates) = with_facts(
        &question.sensor,
        &question.flow,
        &invite,
        response.as_ref(),
        |facts| {
            let attribution = directory.explain(facts);
            let sides = [(Side::Caller, facts.caller), (Side::Callee, facts.callee)];
            let lines = sides.into_iter().flat_map(|(side, candidates)| {
                let line = |candidate| {
                    let mut line = CandidateLine::new(side, candidate, &attribution);
                    if line.host == invite::NO_HOST {
                        line.host.clear();
                    }
                    line
                };
                candidates.iter().map(line).collect::<Vec<_>>()
            });
            let lines = lines.collect();
            (attribution, lines)
        },
    );
    Ok(Answer {
        is_owned: attribution.verdict == crate::directory::Verdict::Owned,
        facts: question.fact_lines(),
        candidates,
        recordings: recordings(&attribution, directory, keeps),
        attribution,
    })
}

fn recordings(attribution: &Attribution, directory: &Directory, keeps: bool) -> Vec<RecordingLine> {
    let name = |id| {
        let tenant = directory.tenant(id);
        tenant.map_or_else(String::new, |tenant| tenant.name.to_string())
    };
    if attribution.owners.is_empty() {
        return vec![RecordingLine {
            tenant_id: SYSTEM_TENANT,
            tenant: name(SYSTEM_TENANT),
            recorded: Some(keeps),
            reason: match keeps {
                true => "nobody's calls are kept (tenancy.unattributed)".into(),
                false => "nobody's calls are discarded (tenancy.unattributed)".into(),
            },
        }];
    }
    let line = |owner: &crate::directory::Owner| {
        let policy = directory.tenant(owner.tenant);
        let policy = policy.map(|tenant| tenant.recording);
        let policy = policy.unwrap_or_default();
        let decision = attribution.decision(owner, policy.policy);
        RecordingLine {
            tenant_id: owner.tenant,
            tenant: name(owner.tenant),
            recorded: match decision.policy {
                _ if policy.withheld.is_some() => Some(false),
                Policy::All => Some(true),
                Policy::None => Some(false),
                // On demand it is as somebody asks.
                Policy::OnDemand | Policy::Sample { .. } => None,
            },
            reason: match (&decision.extension, &decision.user) {
                _ if let Some(withheld) = policy.withheld => {
                    format!(
                        "nothing of the tenant is recorded: {}",
                        withheld_text(withheld)
                    )
                }
                (Some((side, _)), Some(user)) => format!(
                    "the policy of user {user}, the {side}, is {}",
                    decision.policy.text()
                ),
                (Some((side, extension)), None) => format!(
                    "the policy of extension {extension}, the {side}'s, is {}",
                    decision.policy.text()
                ),
                (None, _) => format!("the tenant's policy is {}", policy_text(policy)),
            },
        }
    };
    attribution.owners.iter().map(line).collect()
}

fn withheld_text(withheld: Withheld) -> &'static str {
    match withheld {
        Withheld::PlanStorage => "its recordings fill what its plan gives it of the storage",
        Withheld::PlanMinutes => "its minutes of this month are used up",
        Withheld::Suspended => "it is suspended",
    }
}

fn print(answer: &Answer, directory: &Directory) {
    let names = |id| {
        let tenant = directory.tenant(id)?;
        Some(tenant.name.to_string())
    };
    reasons::print(&answer.attribution, &names);
    output::print("\ncandidates:\n");
    reasons::print_candidates(&answer.candidates, &names);
    output::print("\nrecorded:\n");
    let mut table = Table::new(&["TENANT", "RECORDED", "BECAUSE"]);
    for line in &answer.recordings {
        let recorded = match line.recorded {
            Some(true) => "yes",
            Some(false) => "no",
            None => "perhaps",
        };
        table.row(vec![
            line.tenant.clone(),
            recorded.into(),
            line.reason.clone(),
        ]);
    }
    table.print();
    output::print(&format!("\n{}\n", harmless(&answer.facts.to_string())));
}
