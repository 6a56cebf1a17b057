//! seccomp: which system calls a process may make.
//!
//! A list of what is forbidden rather than of what is allowed: ONNX Runtime and the C
//! library change, and a call that is new to this list must not make good models fail.
//! What is forbidden answers with "not permitted", so that a library can go on.

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter_all_threads,
};

/// Forbidden whatever their arguments are.
const FORBIDDEN: &[c_long] = &[
    // The network, and other processes by way of it.
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    // Programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kcmp,
    libc::SYS_setpriority,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setattr,
    libc::SYS_ioprio_set,
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_mq_open,
    // Files: writing, and ways around names.
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_openat2,
    libc::SYS_mknodat,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_symlinkat,
    libc::SYS_linkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_truncate,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_memfd_create,
    libc::SYS_inotify_init1,
    libc::SYS_fanotify_init,
    // The machine.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_syslog,
    // The kernel, and ways around this filter.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_setup,
    libc::SYS_io_submit,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_personality,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // Rights.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_capset,
    libc::SYS_setsid,
    libc::SYS_setpgid,
];

/// Older forms of the same, which only this architecture still has.
#[cfg(target_arch = "x86_64")]
const OLD: &[c_long] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_creat,
    libc::SYS_mknod,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_symlink,
    libc::SYS_link,
    libc::SYS_rename,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_inotify_init,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_kexec_file_load,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[c_long] = &[];

/// The same calls again, under the numbers of x86-64's 32-bit pointers.
#[cfg(target_arch = "x86_64")]
const ALIASES: &[c_long] = &[0, 0x4000_0000];
#[cfg(not(target_arch = "x86_64"))]
const ALIASES: &[c_long] = &[0];

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Forbids all threads of this process what a model has no need for.
pub(super) fn confine() -> Result<(), String> {
    let confine = || -> Result<(), Box<dyn std::error::Error>> {
        let forbidden = filter(rules()?, libc::EPERM)?;
        // Its flags lie in memory, which a filter cannot read. The C library falls back to
        // `clone` when it is said not to exist.
        let clone3 = filter(numbers(&[libc::SYS_clone3]), libc::ENOSYS)?;
        apply_filter_all_threads(&clone3)?;
        Ok(apply_filter_all_threads(&forbidden)?)
    };
    confine().map_err(|error| error.to_string())
}

fn filter(rules: Rules, error: i32) -> Result<BpfProgram, Box<dyn std::error::Error>> {
    let deny = SeccompAction::Errno(error.unsigned_abs());
    let filter =
        SeccompFilter::new(rules, SeccompAction::Allow, deny, TargetArch::try_from(ARCH)?)?;
    Ok(filter.try_into()?)
}

fn numbers(calls: &[c_long]) -> Rules {
    let every = calls.iter().flat_map(|call| ALIASES.iter().map(move |alias| call | alias));
    every.map(|number| (number, Vec::new())).collect()
}

fn rules() -> Result<Rules, seccompiler::BackendError> {
    let mut rules = numbers(FORBIDDEN);
    rules.extend(numbers(OLD));
    let own = u64::from(std::process::id());
    let threads = libc::CLONE_THREAD as u64;
    // Threads, but no processes; signals to itself, as `abort` sends; its own limits.
    let mut conditional = vec![
        (libc::SYS_clone, vec![when(0, SeccompCmpOp::MaskedEq(threads), 0)?]),
        (libc::SYS_tgkill, vec![when(0, SeccompCmpOp::Ne, own)?]),
        (libc::SYS_prlimit64, vec![when(0, SeccompCmpOp::Ne, 0)?]),
        (libc::SYS_openat, writes(2)?),
    ];
    #[cfg(target_arch = "x86_64")]
    conditional.push((libc::SYS_open, writes(1)?));
    for (call, when) in conditional {
        for alias in ALIASES {
            rules.insert(call | alias, when.clone());
        }
    }
    Ok(rules)
}

/// Opening for anything but reading; the flags stand in argument `flags`.
fn writes(flags: u8) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    [libc::O_WRONLY, libc::O_RDWR, libc::O_CREAT, libc::O_TRUNC]
        .into_iter()
        .map(|flag| {
            let flag = u64::from(flag.unsigned_abs());
            when(flags, SeccompCmpOp::MaskedEq(flag), flag)
        })
        .collect()
}

fn when(
    argument: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompRule, seccompiler::BackendError> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?;
    SeccompRule::new(vec![condition])
}
