//! Clients that lie, break the protocol or are not who they say: refused with their own code, counted, and the job ends
//! with exactly the model of the honest ones. Real server and honest clients as processes.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test ends at the first surprise")]

mod compressed;
mod doors;
mod evil;
mod frames;
mod raw;
mod updates;

use nsfl_integration::{Federation, Options, digits_job};
use serde_json::{Value, json};

/// For two honest clients and a third one that may be anything.
fn job(rounds: u32) -> Value {
    let mut job = digits_job("digits", 3, rounds);
    let hyper = &mut job["hyper_parameters"];
    hyper["threshold_client_num"] = json!(2);
    hyper["evaluate_interval"] = json!(0);
    hyper["save_interval"] = json!(0);
    job
}

/// What the two honest clients come to by themselves.
fn honest(rounds: u32) -> String {
    let federation = Federation::start(&Options::default()).unwrap();
    let mut job = job(rounds);
    job["hyper_parameters"]["client_num"] = json!(2);
    federation.submit(&job).unwrap();
    ended(&federation)
}

/// The final model's digest.
fn ended(federation: &Federation) -> String {
    let job = federation.rest.wait_until_at_rest("digits").unwrap();
    assert_eq!(job["status"]["state"], "FINISHED", "{job}");
    let end = federation.rest.wait_for("digits", |event| event.kind == "run-ended").unwrap();
    end.fields["sha256"].as_str().unwrap().to_owned()
}
