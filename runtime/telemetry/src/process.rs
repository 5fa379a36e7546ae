//! Memory and CPU of a process, from `/proc`. Linux only: elsewhere every function answers an error.

use std::io;

/// Resident memory in bytes of process `pid`, or of this one.
///
/// # Errors
/// The process is gone, or the system has no `/proc`.
pub fn rss_bytes(pid: Option<u32>) -> io::Result<u64> {
    status_bytes(&read(pid, "status")?, "VmRSS:")
}

/// The most resident memory the process ever had, in bytes.
///
/// # Errors
/// As `rss_bytes`.
pub fn peak_rss_bytes(pid: Option<u32>) -> io::Result<u64> {
    status_bytes(&read(pid, "status")?, "VmHWM:")
}

/// CPU time used so far by the process itself, user and system, without its children, in seconds.
///
/// # Errors
/// As `rss_bytes`.
pub fn cpu_seconds(pid: Option<u32>) -> io::Result<f64> {
    let ticks = stat_ticks(&read(pid, "stat")?)?;
    #[allow(clippy::cast_precision_loss, reason = "ticks stay far below 2^52")]
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn read(pid: Option<u32>, file: &str) -> io::Result<String> {
    let process = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    std::fs::read_to_string(format!("/proc/{process}/{file}"))
}

/// A line such as `VmRSS: 1234 kB`. A zombie has none: it holds no memory.
fn status_bytes(status: &str, key: &str) -> io::Result<u64> {
    let Some(line) = status.lines().find_map(|line| line.strip_prefix(key)) else {
        return if status.contains("State:\tZ") { Ok(0) } else { Err(unreadable(key)) };
    };
    let kib = line.trim().strip_suffix("kB").and_then(|n| n.trim().parse::<u64>().ok());
    kib.map(|k| k * 1024).ok_or_else(|| unreadable(key))
}

/// Fields 14 and 15 of `/proc/<pid>/stat`; field 2, the command in parentheses, may hold anything, so count from its end.
fn stat_ticks(stat: &str) -> io::Result<u64> {
    let after = stat.rsplit_once(')').map(|(_, rest)| rest).ok_or_else(|| unreadable("stat"))?;
    let mut fields = after.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    match (fields.next(), fields.next()) {
        (Some(Ok(user)), Some(Ok(system))) => Ok(user + system),
        _ => Err(unreadable("stat")),
    }
}

fn unreadable(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} is not in the form proc(5) gives it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found_in_the_forms_of_proc_5() {
        let status = "Name:\tnsfl\nState:\tS (sleeping)\nVmHWM:\t   20480 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(status_bytes(status, "VmRSS:").unwrap(), 1 << 20);
        assert_eq!(status_bytes(status, "VmHWM:").unwrap(), 20 << 20);
        assert_eq!(status_bytes("State:\tZ (zombie)\n", "VmRSS:").unwrap(), 0);
        assert!(status_bytes("nonsense", "VmRSS:").is_err());
    }

    #[test]
    fn a_command_with_blanks_and_parentheses_does_not_shift_the_fields() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194304 90 0 0 0 70 30 5 5 20 0 1 0 100 0 0";
        assert_eq!(stat_ticks(stat).unwrap(), 100);
        assert!(stat_ticks("42 (a) S 1").is_err());
    }

    #[test]
    fn this_process_and_the_same_by_its_id_have_memory_and_a_gone_one_is_an_error() {
        let own = std::process::id();
        assert!(rss_bytes(None).unwrap() > 0);
        assert!(peak_rss_bytes(Some(own)).unwrap() >= rss_bytes(Some(own)).unwrap() / 2);
        assert!(cpu_seconds(None).unwrap() >= 0.0);
        assert!(rss_bytes(Some(u32::MAX)).is_err());
    }
}
