//! Two hosts and a wire between them: network namespaces joined by a third one, whose traffic control decides what happens to
//! each packet. Below TCP, so that packets are really lost, doubled and overtaken. Needs root, `ip` and `tc`.
//!
//! ```text
//!   near ─ en ═══ rn ─ wire ─ rf ═══ ef ─ far        10.111.0.1 (near)   10.111.0.2 (far)
//!                       ╚══════╝ a slow path, for some packets
//! ```

use anyhow::{Context, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

/// The address of the near host.
pub const NEAR: &str = "10.111.0.1";

static MADE: AtomicU32 = AtomicU32::new(0);

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the far host to the near one.
    Up,
    /// From the near host to the far one.
    Down,
}

/// What happens to packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// They arrive.
    Arrive,
    /// They are dropped and nobody is told.
    Drop,
    /// Each arrives twice.
    Twice,
    /// One in two takes a slow path, and others overtake it.
    Overtaken,
}

/// The hosts. Dropped, they are gone with everything in them.
#[derive(Debug)]
pub struct Hosts {
    name: String,
}

impl Hosts {
    /// Makes them; everything arrives.
    ///
    /// # Errors
    /// This process may not, or the commands are not there.
    pub fn make() -> anyhow::Result<Self> {
        let hosts = Self { name: format!("nsfl-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed)) };
        let (near, wire, far) = (hosts.near(), hosts.wire(), hosts.far());
        for host in [&near, &wire, &far] {
            ip(&["netns", "add", host])?;
            ip(&["-n", host, "link", "set", "lo", "up"])?;
        }
        for (host, end, other, address) in [(&near, "en", "rn", NEAR), (&far, "ef", "rf", "10.111.0.2")] {
            ip(&["-n", host, "link", "add", "name", end, "type", "veth", "peer", "name", other, "netns", &wire])?;
            ip(&["-n", host, "address", "add", &format!("{address}/24"), "dev", end])?;
            // packets as they are on a wire, not many in one
            ip(&["-n", host, "link", "set", "dev", end, "gso_max_segs", "1"])?;
            ip(&["-n", host, "link", "set", "dev", end, "up"])?;
            ip(&["-n", &wire, "link", "set", "dev", other, "up"])?;
        }
        // a slow path for each way: what is sent into `<way>0` comes out of `<way>1`, some milliseconds later
        for way in ["up", "down"] {
            let (entry, exit) = (format!("{way}0"), format!("{way}1"));
            ip(&["-n", &wire, "link", "add", "name", &entry, "type", "veth", "peer", "name", &exit])?;
            for end in [&entry, &exit] {
                ip(&["-n", &wire, "link", "set", "dev", end, "up"])?;
            }
            hosts.tc(&[
                "qdisc", "add", "dev", &entry, "root", "tbf", "rate", "20mbit", "burst", "4000", "latency", "1s",
            ])?;
        }
        for (way, end) in [("up", "rf"), ("down", "rn"), ("up", "up1"), ("down", "down1")] {
            hosts.tc(&["qdisc", "add", "dev", end, "ingress"])?;
            if end.ends_with('1') {
                let to = if way == "up" { "rn" } else { "rf" };
                hosts.filter(end, 1, EVERY, &format!("redirect dev {to}"))?;
            }
        }
        hosts.set(Way::Up, Fate::Arrive)?;
        hosts.set(Way::Down, Fate::Arrive)?;
        Ok(hosts)
    }

    /// From now on packets going this way meet this fate.
    ///
    /// # Errors
    /// `tc` does not know how.
    pub fn set(&self, way: Way, fate: Fate) -> anyhow::Result<()> {
        let (from, to, slow) = match way {
            Way::Up => ("rf", "rn", "up0"),
            Way::Down => ("rn", "rf", "down0"),
        };
        let _ = self.tc(&["filter", "del", "dev", from, "ingress"]);
        let straight = format!("redirect dev {to}");
        match fate {
            // the namespace between has no address: what is not handed on goes nowhere
            Fate::Drop => Ok(()),
            Fate::Arrive => self.filter(from, 2, EVERY, &straight),
            Fate::Twice => {
                let double = format!("mirror dev {to} action mirred egress redirect dev {to}");
                self.filter(from, 2, EVERY, &double)
            }
            Fate::Overtaken => {
                self.filter(from, 1, EVERY_OTHER, &format!("redirect dev {slow}"))?;
                self.filter(from, 2, EVERY, &straight)
            }
        }
    }

    /// Runs `work` on a thread whose processes, threads and sockets are of the near host.
    ///
    /// # Errors
    /// The host is gone.
    pub fn near_by<T: Send>(&self, work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        within(&self.near(), work)
    }

    /// The same on the far host.
    ///
    /// # Errors
    /// The host is gone.
    pub fn far_away<T: Send>(&self, work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        within(&self.far(), work)
    }

    /// What TCP on the near host has counted since it was made.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn counted(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        let text = within(&self.near(), || std::fs::read_to_string("/proc/thread-self/net/netstat"))??;
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        let pairs = lines.chunks_exact(2).flat_map(|pair| pair[0].iter().zip(&pair[1]));
        Ok(pairs.filter_map(|(name, value)| Some(((*name).to_owned(), value.parse().ok()?))).collect())
    }

    fn filter(&self, from: &str, priority: u32, of: &[&str], then: &str) -> anyhow::Result<()> {
        let priority = priority.to_string();
        let mut args = vec!["filter", "add", "dev", from, "ingress", "protocol", "all", "prio", &priority, "u32"];
        args.extend(of);
        args.extend(["action", "mirred", "egress"]);
        args.extend(then.split(' '));
        self.tc(&args)
    }

    fn tc(&self, args: &[&str]) -> anyhow::Result<()> {
        run(Command::new("tc").args(["-n", &self.wire()]).args(args))
    }

    fn near(&self) -> String {
        format!("{}-near", self.name)
    }

    fn wire(&self) -> String {
        format!("{}-wire", self.name)
    }

    fn far(&self) -> String {
        format!("{}-far", self.name)
    }
}

const EVERY: &[&str] = &["match", "u32", "0", "0"];
/// One bit of TCP's sequence number: of full segments, 1448 bytes each, it is set in every other one.
const EVERY_OTHER: &[&str] = &["match", "ip", "protocol", "6", "0xff", "match", "u32", "0x8", "0x8", "at", "24"];

impl Drop for Hosts {
    fn drop(&mut self) {
        for host in [self.near(), self.wire(), self.far()] {
            let _ = Command::new("ip").args(["netns", "del", &host]).output();
        }
    }
}

fn within<T: Send>(host: &str, work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
    let space = File::open(format!("/run/netns/{host}")).with_context(|| format!("there is no host {host}"))?;
    thread::scope(|scope| {
        let on_host = scope.spawn(move || {
            move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(work())
        });
        on_host.join().map_err(|_| anyhow::anyhow!("the thread on {host} panicked"))?
    })
}

fn ip(args: &[&str]) -> anyhow::Result<()> {
    run(Command::new("ip").args(args))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("there is no {:?}", command.get_program()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", said.trim());
    Ok(())
}
