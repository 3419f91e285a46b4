// A tool for an agent of a language model: runs Python, and says what has come of it.

const url = process.env.GATEWAY ?? "http://127.0.0.1:8888";
const token = process.env.GATEWAY_TOKEN;
const outputs = { ansi: "strip", max_text_bytes: 10_000, mime: ["text/plain"] };

export const tool = {
  name: "run_python",
  description: "Run Python code. Variables stay from one call to the next.",
  input_schema: { type: "object", properties: { code: { type: "string" } }, required: ["code"] },
};

async function call(method: string, path: string, body?: object): Promise<any> {
  // The key makes it safe to send a request again.
  const headers: Record<string, string> = { "Idempotency-Key": crypto.randomUUID() };
  if (token) headers.Authorization = `token ${token}`;
  const response = await fetch(url + path, { method, headers, body: body && JSON.stringify(body) });
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
  return response.status === 204 ? undefined : response.json();
}

/** Run code for at most a minute, and return its text, which may be a traceback. */
export async function runPython(kernelId: string, code: string): Promise<string> {
  const result = await call("POST", `/api/kernels/${kernelId}/execute`, { code, timeout: 60, outputs });
  const texts = result.outputs.map((output: any) => output.text ?? output.data?.["text/plain"] ?? "");
  const failure = result.error?.traceback.join("\n") || result.error?.evalue || "";
  return texts.join("") + failure || "(no output)";
}

const kernel = await call("POST", "/api/kernels", { name: "python3" });
try {
  for (const code of process.argv.slice(2)) console.log(await runPython(kernel.id, code));
} finally {
  await call("DELETE", `/api/kernels/${kernel.id}`);
}
