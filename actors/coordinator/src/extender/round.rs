//! The two conversations with a script: before a round, and with its updates.

use super::process::{Process, stored};
use super::{Call, Combine, Combined, ExtenderArgs, Fault};
use crate::aggregator;
use nsfl_package::pack_entries;
use nsfl_store::put_bytes;
use nsfl_types::{BlobRef, Metrics};
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
struct Sent {
    files: Vec<String>,
    parameters: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Finished {
    weights: bool,
    parameters: Option<Map<String, Value>>,
    metrics: Metrics,
}

pub(super) async fn broadcast(
    args: &ExtenderArgs,
    call: &Call,
    params: Map<String, Value>,
) -> Result<Option<BlobRef>, Fault> {
    let mut process = Process::start(args, call, 0).await?;
    let sent =
        if process.functions.broadcast { ask_broadcast(args, call, params, &mut process).await } else { Ok(None) };
    process.end().await;
    sent
}

async fn ask_broadcast(
    args: &ExtenderArgs,
    call: &Call,
    params: Map<String, Value>,
    process: &mut Process,
) -> Result<Option<BlobRef>, Fault> {
    let out = process.folder.join("files");
    let question = json!({"call": "broadcast", "params": params, "out": out});
    let answer = process.ask("broadcast", &question).await?;
    let sent: Sent = serde_json::from_value(answer).map_err(|e| Fault::new(format!("broadcast: {e}"), None))?;
    if sent.files.is_empty() && sent.parameters.is_empty() {
        return Ok(None);
    }
    let mut entries = vec![("parameters.json".to_owned(), Value::Object(sent.parameters).to_string().into_bytes())];
    for name in sent.files {
        let bytes = tokio::fs::read(out.join(&name)).await;
        entries.push((format!("files/{name}"), bytes.map_err(|e| Fault::new(format!("file '{name}': {e}"), None))?));
    }
    let zip = pack_entries(entries.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())));
    let zip = zip.map_err(|e| Fault::new(format!("broadcast: {e}"), None))?;
    put_bytes(args.blobs.as_ref(), zip.into(), &call.owner).await.map(Some).map_err(|e| stored(&e))
}

pub(super) async fn combine(args: &ExtenderArgs, call: &Call, combine: Combine) -> Result<Combined, Fault> {
    let mut process = Process::start(args, call, combine.result.len).await?;
    let functions = process.functions;
    let combined = if functions.aggregate || functions.finish {
        ask_round(args, call, combine, &mut process).await
    } else {
        Ok(Combined::default())
    };
    process.end().await;
    combined
}

async fn ask_round(
    args: &ExtenderArgs,
    call: &Call,
    combine: Combine,
    process: &mut Process,
) -> Result<Combined, Fault> {
    let base = process.lend(args, combine.base, "base.safetensors").await?;
    for (index, member) in combine.members.iter().enumerate() {
        let Some(update) = member.update.blob else { continue };
        let delta = process.lend_update(args, update, &format!("update-{index}.safetensors")).await?;
        let extra = match member.update.extra {
            Some(extra) => Some(process.lend(args, extra, &format!("extra-{index}.zip")).await?),
            None => None,
        };
        let question = json!({
            "call": "aggregate", "client": member.client, "round": call.round, "base": base, "update": delta,
            "extra": extra, "metrics": member.update.metrics, "weight": member.update.weight,
        });
        process.ask(&format!("aggregate of client {}", member.client), &question).await?;
    }
    let result = process.lend(args, combine.result, "result.safetensors").await?;
    let out = process.folder.join("next.safetensors");
    let answer = process.ask("finish", &json!({"call": "finish", "result": result, "out": out})).await?;
    let finished: Finished = serde_json::from_value(answer).map_err(|e| Fault::new(format!("finish: {e}"), None))?;
    let model = if finished.weights { Some(imported(args, call, combine.base, &out).await?) } else { None };
    let parameters = finished.parameters.map(|parameters| Value::Object(parameters).to_string());
    Ok(Combined { model, parameters, metrics: finished.metrics })
}

/// The script's model, checked like any update.
async fn imported(args: &ExtenderArgs, call: &Call, base: BlobRef, file: &std::path::Path) -> Result<BlobRef, Fault> {
    let model = args.blobs.import(file, &call.owner).await.map_err(|e| stored(&e))?;
    match aggregator::judge(&args.blobs, base, base.digest, model, None).await {
        Ok(_) => Ok(model),
        Err(unfit) => {
            if model != base {
                args.blobs.release(model.digest, &call.owner).await.map_err(|e| stored(&e))?;
            }
            Err(Fault::new(format!("finish: {}", unfit.into_refusal().reason), None))
        }
    }
}
