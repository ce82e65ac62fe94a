//! Where the decoder runs: this program, started again, takes everything from itself and becomes the decoder.
//!
//! What is left to it: memory, time, three pipes, and reading what programs and libraries are made of. No other file, none to
//! write, no socket, no other process, no privileges. Made of Landlock and seccomp, which ask for no rights, so that it works
//! for any user and within the service's own restrictions; where the kernel lacks either, nothing is run.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitiesSecureBits, CapabilitySet, CapabilitySets};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// The hidden command by which this program becomes the sandbox.
pub const COMMAND: &str = "decoder-sandbox";
/// It says by its exit status that it could not lock itself in,
pub const NOT_LOCKED_IN: i32 = 121;
/// or that the decoder could not be started within.
pub const NOT_STARTED: i32 = 122;

/// What programs and libraries are made of.
const PROGRAMS: [&str; 10] = [
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/bin",
    "/sbin",
    "/nix/store",
    "/gnu/store",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
];
/// Processes and threads of the account, in all: a decoder starts a few threads.
const MAX_THREADS: u64 = 4096;
const MAX_OPEN_FILES: u64 = 64;

/// What the decoder may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub memory_bytes: u64,
    pub cpu_seconds: u64,
}

/// Why the decoder does not run; the exit status, and the words.
#[derive(Debug)]
pub struct Refused {
    pub status: i32,
    pub reason: String,
}

/// Becomes `program`, locked in. Comes back only when that failed. The process must have one thread.
pub fn enter(limits: Limits, program: &Path, arguments: &[OsString]) -> Refused {
    let locked = lock_in(limits, program);
    if let Err(reason) = locked {
        return Refused {
            status: NOT_LOCKED_IN,
            reason,
        };
    }
    let error = Command::new(program).args(arguments).exec();
    Refused {
        status: NOT_STARTED,
        reason: error.to_string(),
    }
}

fn lock_in(limits: Limits, program: &Path) -> Result<(), String> {
    // Libraries open sockets that survive an exec.
    close_fds::set_fds_cloexec(3, &[]);
    // It yields to everything else, if it may say so.
    let _ = rustix::process::nice(10);
    limit(limits).map_err(|error| format!("limits: {error}"))?;
    rustix::thread::set_no_new_privs(true).map_err(|error| format!("no_new_privs: {error}"))?;
    confine_files(program).map_err(|error| format!("Landlock: {error}"))?;
    drop_capabilities().map_err(|error| format!("capabilities: {error}"))?;
    confine_calls().map_err(|error| format!("seccomp: {error}"))
}

fn limit(limits: Limits) -> rustix::io::Result<()> {
    let all = [
        (Resource::As, limits.memory_bytes),
        (Resource::Cpu, limits.cpu_seconds),
        (Resource::Fsize, 0),
        (Resource::Core, 0),
        (Resource::Nofile, MAX_OPEN_FILES),
        (Resource::Nproc, MAX_THREADS),
    ];
    for (resource, most) in all {
        let now = rustix::process::getrlimit(resource).maximum;
        let most = Some(now.map_or(most, |now| now.min(most)));
        let lowered = Rlimit {
            current: most,
            maximum: most,
        };
        setrlimit(resource, lowered)?;
    }
    Ok(())
}

/// Nothing may be opened but programs and libraries, and those only to be read and run; no TCP, no signals and no abstract
/// sockets to others, where the kernel knows of that (seccomp keeps it from those too).
fn confine_files(program: &Path) -> Result<(), String> {
    let text = |error: landlock::RulesetError| error.to_string();
    let readable = AccessFs::ReadFile | AccessFs::Execute;
    let paths = PROGRAMS.iter().map(Path::new).chain([program]);
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))
        .map_err(text)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V5))
        .map_err(text)?
        .handle_access(AccessNet::from_all(ABI::V5))
        .map_err(text)?
        .scope(Scope::from_all(ABI::V6))
        .map_err(text)?
        .create()
        .map_err(text)?
        .add_rules(path_beneath_rules(paths, readable))
        .map_err(text)?
        .add_rules(path_beneath_rules(
            ["/dev/null"],
            AccessFs::ReadFile | AccessFs::WriteFile,
        ))
        .map_err(text)?
        .restrict_self()
        .map_err(text)?;
    match status.ruleset {
        RulesetStatus::NotEnforced => Err("the kernel does not enforce it".into()),
        _ => Ok(()),
    }
}

/// Also for root, who would get all of them back with the next program.
fn drop_capabilities() -> rustix::io::Result<()> {
    rustix::thread::clear_ambient_capability_set()?;
    let now = rustix::thread::capabilities(None)?;
    if now.effective.contains(CapabilitySet::SETPCAP) {
        let bits = CapabilitiesSecureBits::NO_ROOT | CapabilitiesSecureBits::NO_ROOT_LOCKED;
        rustix::thread::set_capabilities_secure_bits(bits)?;
    }
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(
        None,
        CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        },
    )
}

fn confine_calls() -> Result<(), String> {
    let text = |error: seccompiler::Error| error.to_string();
    let errno = |errno: i32| SeccompAction::Errno(errno as u32);
    // clone3 hides its flags from a filter; without it the C library uses clone.
    let no_clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let no_clone3 = filter(no_clone3, SeccompAction::Allow, errno(libc::ENOSYS));
    seccompiler::apply_filter(&no_clone3?).map_err(text)?;
    let only = filter(allowed()?, errno(libc::EPERM), SeccompAction::Allow);
    seccompiler::apply_filter(&only?).map_err(text)
}

fn filter(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    then: SeccompAction,
) -> Result<BpfProgram, String> {
    let text = |error: seccompiler::BackendError| error.to_string();
    let arch = std::env::consts::ARCH.try_into().map_err(text)?;
    let filter = SeccompFilter::new(rules, otherwise, then, arch).map_err(text)?;
    filter.try_into().map_err(text)
}

/// Whether the bits of `mask` in argument `number` are `value`.
fn argument(number: u8, mask: i32, value: i32) -> Result<SeccompRule, String> {
    let text = |error: seccompiler::BackendError| error.to_string();
    let is = SeccompCmpOp::MaskedEq(mask as u64);
    let condition = SeccompCondition::new(number, SeccompCmpArgLen::Dword, is, value as u64);
    SeccompRule::new(vec![condition.map_err(text)?]).map_err(text)
}

fn allowed() -> Result<BTreeMap<i64, Vec<SeccompRule>>, String> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        CALLS.iter().map(|&call| (call, Vec::new())).collect();
    // Threads, and no processes.
    let thread = argument(0, libc::CLONE_THREAD, libc::CLONE_THREAD)?;
    rules.insert(libc::SYS_clone, vec![thread]);
    // Memory is written or run, never both: as `MemoryDenyWriteExecute` of the service has it.
    let either = vec![
        argument(2, libc::PROT_EXEC, 0)?,
        argument(2, libc::PROT_WRITE, 0)?,
    ];
    rules.insert(libc::SYS_mmap, either);
    let never = vec![argument(2, libc::PROT_EXEC, 0)?];
    rules.insert(libc::SYS_mprotect, never);
    Ok(rules)
}

/// What a program needs to load its libraries, to compute, and to use pipes that it was given.
const CALLS: &[i64] = &[
    // To become the decoder.
    libc::SYS_execve,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Pipes, and files as far as Landlock lets them be opened.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_lseek,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_openat,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_fadvise64,
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_mlock,
    libc::SYS_get_mempolicy,
    // Threads.
    libc::SYS_clone3,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_membarrier,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    // Signals to itself are not sent, only awaited.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // Clocks and chance.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    // Who and where it is.
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getpgid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getgroups,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrusage,
    libc::SYS_times,
    libc::SYS_prlimit64,
    libc::SYS_prctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_arch_prctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_dup2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_select,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_getpgrp,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_time,
];
