/** Jobs for a federation of digits. */

export const digits = (id: string, clients: number, rounds: number, epochs = 1) => ({
  id,
  description: "Handwritten digits, spread over the sites",
  runtime: "builtin",
  task_entry: "classifier",
  datasets: ["digits"],
  output: "out",
  hyper_parameters: {
    max_round_num: rounds,
    client_num: clients,
    threshold_client_num: Math.max(1, clients - 1),
    evaluate_interval: 2,
    save_interval: 5,
    round_timeout: 120,
  },
  parameters: { features: 64, classes: 10, hidden: 64, epochs, scale: 16, seed: 7 },
});

/** Scripts that were stored under the job's name. */
export const broken = (id: string) => ({
  id,
  description: "A script with a mistake at one of the sites",
  runtime: "pytorch",
  scripts: { path: `scripts/${id}/scripts.zip`, config_file: "task.json" },
  model_path: `models/${id}/model.safetensors`,
  output: "out",
  hyper_parameters: {
    max_round_num: 2,
    client_num: 2,
    threshold_client_num: 1,
    evaluate_interval: 0,
    round_timeout: 60,
  },
  parameters: { "--way": "exception" },
  clients: ["c1", "c2"],
});

/** A safetensors file of one tensor `w` of three numbers. */
export function model(values: [number, number, number]): Buffer<ArrayBuffer> {
  const head = Buffer.from(JSON.stringify({ w: { dtype: "F32", shape: [3], data_offsets: [0, 12] } }));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(head.length));
  return Buffer.concat([length, head, Buffer.from(new Float32Array(values).buffer)]);
}
