// A program over the types that openapi-typescript has made of openapi.yaml: node program.js URL KEY SOURCE
// Submits a run, waits for its end, and prints what its metadata says.
import createClient from "openapi-fetch";
import type { components, paths } from "./lume.js";

// What node has, without the package that describes it.
declare const process: { argv: string[] };

type Run = components["schemas"]["Run"];

const [baseUrl = "", key = "", source = ""] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl, headers: { "lume-api-key": key } });

async function submit(): Promise<Run> {
  const body: components["schemas"]["RunRequest"] = {
    flow_version: "people:v1",
    source_path: source,
    run_metadata: { ticket: ["A-1", null, 1.5] },
  };
  const { data, error } = await client.POST("/v1/runs", {
    params: { header: { "Idempotency-Key": "k-1" } },
    body,
  });
  if (data === undefined) throw new Error(`${error.type}: ${error.detail}`);
  return data;
}

async function finished(run: Run): Promise<Run> {
  while (run.finished_at === null) {
    const { data, error } = await client.GET("/v1/runs/{run_id}", {
      params: { path: { run_id: run.id }, header: { Prefer: "wait=10" } },
    });
    if (data === undefined) throw new Error(error?.detail ?? "304 without a tag");
    run = data;
  }
  return run;
}

const run = await finished(await submit());
const { metrics, target_locations } = run.metadata;
const { data: page } = await client.GET("/v1/runs", { params: { query: { status: [run.status], limit: 5 } } });
const { error } = await client.GET("/v1/runs/{run_id}", { params: { path: { run_id: "run_0" } } });
console.log(
  JSON.stringify({
    status: run.status,
    ticket: run.run_metadata?.["ticket"],
    mapped: metrics.rows_mapped,
    reasons: Object.entries(metrics.reject_reasons).map(([reason, count]) => `${reason} ${count.toFixed(0)}`),
    rejects: target_locations.rejects,
    listed: page?.items.map((one) => one.id),
    ids: [run.id],
    problem: error?.type,
  }),
);
