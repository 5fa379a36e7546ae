//! What Linux says of a process under /proc. Elsewhere every figure is missing.

use std::fs::read_to_string;

/// Memory of a process, in bytes.
pub(crate) struct Memory {
    /// Resident now, mapped files included (VmRSS).
    pub(crate) resident: u64,
    /// Resident at most since its start (VmHWM).
    pub(crate) peak: u64,
}

pub(crate) fn memory(pid: u32) -> Option<Memory> {
    let status = read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    };
    Some(Memory { resident: field("VmRSS:")?, peak: field("VmHWM:")? })
}

/// Processor seconds of a process and of the children it has waited for.
pub(crate) fn cpu_seconds(pid: u32) -> Option<f64> {
    /// USER_HZ, which is 100 on every Linux.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold spaces; user, system and the children's times are fields 14 to 17.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: f64 = fields.get(11..15)?.iter().filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    Some(ticks / TICKS_PER_SECOND)
}
