//! How long a directory of 10,000 tenants with 100 extensions each takes to load, a lookup takes, and what it weighs.
//!
//! `cargo bench --bench directory [-- TENANTS EXTENSIONS]`; the directories are written below the temporary folder.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Instant;

use callreel::config;
use callreel::directory::{CallFacts, Candidate, CandidateSource, Directory};

/// What tells the tenants apart.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// A network each; everyone has the same numbers.
    Networks,
    /// One network for all; every number is one tenant's.
    Numbers,
    /// One network for all and the same numbers; a domain each.
    Domains,
    /// A network each, the same numbers, ranges, prefixes, aliases and users; two rules.
    Everything,
}

fn tenant_file(shape: Shape, tenant: u32, extensions: u32) -> String {
    let mut out = format!(
        "[tenant]\nid = \"00000000-0000-4000-8000-{tenant:012x}\"\nname = \"Tenant {tenant}\"\ncountry = \"GB\"\n\n[[match]]\n"
    );
    let network = format!("10.{}.{}.0/24", tenant >> 8, tenant & 255);
    let _ = match shape {
        Shape::Networks => writeln!(out, "networks = [\"{network}\"]"),
        Shape::Numbers => writeln!(out, "networks = [\"10.0.0.0/8\"]"),
        Shape::Domains => writeln!(
            out,
            "networks = [\"10.0.0.0/8\"]\ndomains = [\"t{tenant}.example.com\"]"
        ),
        Shape::Everything => {
            writeln!(
                out,
                "networks = [\"{network}\"]\n[[match]]\nnetworks = [\"2001:db8:{tenant:x}::/48\"]\nvlans = [7]"
            )
        }
    };
    for extension in 0..extensions {
        let _ = match shape {
            Shape::Networks | Shape::Domains => {
                writeln!(out, "\n[[extension]]\nnumber = \"{}\"", 1000 + extension)
            }
            Shape::Numbers => {
                writeln!(
                    out,
                    "\n[[extension]]\nnumber = \"+4420{:08}\"",
                    tenant * extensions + extension
                )
            }
            Shape::Everything if extension == 0 => {
                writeln!(out, "\n[[extension]]\nrange = \"1900-1999\"")
            }
            Shape::Everything if extension == 1 => writeln!(out, "\n[[extension]]\nprefix = \"7\""),
            Shape::Everything => writeln!(
                out,
                "\n[[extension]]\nnumber = \"{}\"\naliases = [\"+4420{:08}\"]\nuser = \"user{extension}\"",
                1000 + extension,
                tenant * extensions + extension
            ),
        };
    }
    out
}

fn write_files(shape: Shape, tenants: u32, extensions: u32) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("callreel-measure-{shape:?}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(folder.join("tenants")).unwrap();
    std::fs::write(folder.join("callreel.toml"), "").unwrap();
    for tenant in 0..tenants {
        let path = folder.join(format!("tenants/{tenant:05}.toml"));
        std::fs::write(path, tenant_file(shape, tenant, extensions)).unwrap();
    }
    folder
}

fn rss_mib(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        / 1024
}

const ROUNDS: u32 = 5;

struct Call {
    caller: String,
    callee: String,
    host: String,
    caller_address: IpAddr,
    callee_address: IpAddr,
}

fn calls(shape: Shape, tenants: u32, extensions: u32, count: usize) -> Vec<Call> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: u32| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as u32 % below
    };
    (0..count)
        .map(|_| {
            let tenant = next(tenants);
            let mut number = || match shape {
                Shape::Numbers => format!("+4420{:08}", tenant * extensions + next(extensions)),
                _ => format!("{}", 1000 + next(extensions)),
            };
            let (caller, callee) = (number(), number());
            let inside = Ipv4Addr::new(10, (tenant >> 8) as u8, tenant as u8, 5);
            Call {
                caller,
                // Every other call goes out to a number that is nobody's.
                callee: if next(2) == 0 {
                    callee
                } else {
                    "07911123456".into()
                },
                host: format!("t{tenant}.example.com"),
                caller_address: inside.into(),
                callee_address: Ipv4Addr::new(192, 0, 2, 10).into(),
            }
        })
        .collect()
}

/// Nanoseconds this thread has run: the wall clock would count what others do on the machine.
fn cpu_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

fn lookups(directory: &Directory, calls: &[Call]) -> (f64, f64, usize) {
    let mut owned = 0;
    let (mut best, mut sum) = (f64::MAX, 0.0);
    for _ in 0..ROUNDS {
        owned = 0;
        let start = cpu_nanos();
        for call in calls {
            let of = |source, user| Candidate {
                source,
                user,
                host: &call.host,
            };
            let facts = CallFacts {
                sensor: "s",
                interface: "span0",
                vlans: &[],
                caller_address: call.caller_address,
                callee_address: call.callee_address,
                caller: &[
                    of(CandidateSource::From, &call.caller),
                    of(CandidateSource::Contact, &call.caller),
                ],
                callee: &[
                    of(CandidateSource::RequestUri, &call.callee),
                    of(CandidateSource::To, &call.callee),
                ],
                headers: &|_| None,
                tunnels: callreel::base::Tunnels::NONE,
            };
            owned += std::hint::black_box(directory.attribute(&facts))
                .owners
                .len();
        }
        let nanos = (cpu_nanos() - start) as f64 / calls.len() as f64;
        best = best.min(nanos);
        sum += nanos;
    }
    (best, sum / f64::from(ROUNDS), owned)
}

fn main() {
    let mut args = std::env::args()
        .skip(1)
        .filter_map(|arg| arg.parse::<u32>().ok());
    let (tenants, extensions) = (args.next().unwrap_or(10_000), args.next().unwrap_or(100));
    for shape in [
        Shape::Networks,
        Shape::Numbers,
        Shape::Domains,
        Shape::Everything,
    ] {
        let folder = write_files(shape, tenants, extensions);
        measure(shape, &folder, tenants, extensions);
        let _ = std::fs::remove_dir_all(folder);
    }
}

fn measure(shape: Shape, folder: &Path, tenants: u32, extensions: u32) {
    let before = rss_mib("VmRSS");
    let start = Instant::now();
    let loaded =
        config::load(&folder.join("callreel.toml")).unwrap_or_else(|error| panic!("{error}"));
    let load = start.elapsed();
    let after = rss_mib("VmRSS");
    let directory = &loaded.directory;
    let (best, mean, owned) = lookups(directory, &calls(shape, tenants, extensions, 200_000));
    println!(
        "{shape:?}: {} tenants, {} extensions: load {:.2} s, resident {before} -> {after} MiB (peak {}), attribute {best:.0} ns best round, {mean:.0} ns mean, {owned} owners of 200000",
        directory.tenants().count(),
        directory.extension_count(),
        load.as_secs_f64(),
        rss_mib("VmHWM"),
    );
}
