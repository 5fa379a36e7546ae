//! The figures of one measurement, as a table's row or a JSON object.

use serde_json::json;

/// What was measured of one size of model and number of clients; the first round is in none of the times.
pub(crate) struct Figures {
    pub(crate) size_mb: f64,
    pub(crate) clients: u32,
    pub(crate) rounds: u32,
    /// Each round from its opening to its close, as its event says.
    pub(crate) seconds: Vec<f64>,
    /// From the close of the round before to its close.
    pub(crate) between: Vec<f64>,
    /// A round's share.
    pub(crate) server_cpu_seconds: f64,
    /// A round's share, of all clients together.
    pub(crate) clients_cpu_seconds: f64,
    pub(crate) server_peak_bytes: u64,
    pub(crate) client_peak_bytes: u64,
    /// A round's share of blob bytes through the server, both ways.
    pub(crate) moved_bytes: u64,
    pub(crate) server_idle_bytes: u64,
    pub(crate) client_idle_bytes: u64,
    pub(crate) registered_seconds: f64,
}

pub(crate) fn head() {
    println!(
        "seconds a round from close to close after the first (median, min, max), and from open to close (median);"
    );
    println!(
        "processor seconds a round; memory in MB (10^6 bytes); blobs moved a round; start to registered in seconds"
    );
    println!(
        "    MB clients |  median    min    max |   open | cpu srv  cpu cli | peak srv cli | moved MB | idle srv  cli | start"
    );
}

pub(crate) fn line(f: &Figures) {
    let [median, min, max] = spread(&f.between);
    println!(
        "{:>6} {:>7} | {median:>7.3} {min:>6.3} {max:>6.3} | {:>6.3} | {:>7.2} {:>8.2} | {:>8.1} {:>3.0} | {:>8.1} | {:>8.1} {:>4.1} | {:>5.3}",
        f.size_mb,
        f.clients,
        spread(&f.seconds)[0],
        f.server_cpu_seconds,
        f.clients_cpu_seconds,
        mb(f.server_peak_bytes),
        mb(f.client_peak_bytes),
        mb(f.moved_bytes),
        mb(f.server_idle_bytes),
        mb(f.client_idle_bytes),
        f.registered_seconds,
    );
}

pub(crate) fn json(f: &Figures) {
    let times = |values: &[f64]| {
        let [median, min, max] = spread(values);
        json!({"median": median, "min": min, "max": max})
    };
    let object = json!({
        "model_mb": f.size_mb, "clients": f.clients, "rounds": f.rounds,
        "close_to_close_seconds": times(&f.between), "open_to_close_seconds": times(&f.seconds),
        "server_cpu_seconds": f.server_cpu_seconds, "clients_cpu_seconds": f.clients_cpu_seconds,
        "server_peak_bytes": f.server_peak_bytes, "client_peak_bytes": f.client_peak_bytes,
        "moved_bytes": f.moved_bytes, "server_idle_bytes": f.server_idle_bytes,
        "client_idle_bytes": f.client_idle_bytes, "start_to_registered_seconds": f.registered_seconds,
    });
    println!("{object}");
}

/// Median, least and greatest.
pub(crate) fn spread(values: &[f64]) -> [f64; 3] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    [sorted[sorted.len() / 2], sorted[0], sorted[sorted.len() - 1]]
}

#[allow(clippy::cast_precision_loss, reason = "shown with one digit after the point")]
fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
