// matrix - what one client can do with one server: an SDK client of either generation runs a fixed
// list of probes and prints one line of JSON, { probe: { ok, ms, error, late } }. `late`: no answer
// came in time. Who cannot connect gets no further.
//
//   node matrix.mjs --client v1|v2 [--era legacy|auto|modern] --transport http|sse|stdio
//                   --server everything|fixture [--url URL] [-- command args...]
import { parseArgs } from 'node:util';
import * as v1 from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport as SseV1 } from '@modelcontextprotocol/sdk/client/sse.js';
import { StdioClientTransport as StdioV1 } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport as HttpV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  LoggingMessageNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import * as v2 from '@modelcontextprotocol/client';
import { StdioClientTransport as StdioV2 } from '@modelcontextprotocol/client/stdio';
import { call, within } from './client.mjs';

const PROBE_MS = 8000;
const timeout = 2 * PROBE_MS; // the SDK's own, so that a missing answer is told as one

const text = { type: 'string' };
const { values: options, positionals: command } = parseArgs({
  options: {
    client: text,
    era: { ...text, default: 'legacy' },
    transport: text,
    server: text,
    url: text,
  },
  allowPositionals: true,
});

const generations = {
  v1: {
    make: (info, rest) => new v1.Client(info, rest),
    http: HttpV1,
    sse: SseV1,
    stdio: StdioV1,
    sampling: CreateMessageRequestSchema,
    elicitation: ElicitRequestSchema,
    log: LoggingMessageNotificationSchema,
    call,
  },
  v2: {
    make: (info, rest) => {
      const mode = { legacy: 'legacy', auto: 'auto', modern: { pin: '2026-07-28' } }[options.era];
      return new v2.Client(info, { ...rest, versionNegotiation: { mode } });
    },
    http: v2.StreamableHTTPClientTransport,
    sse: v2.SSEClientTransport,
    stdio: StdioV2,
    sampling: 'sampling/createMessage',
    elicitation: 'elicitation/create',
    log: 'notifications/message',
    // Its second argument is what is the third of v1's.
    call: (client, name, args, more) =>
      call({ callTool: (params, _, rest) => client.callTool(params, rest) }, name, args, more),
  },
};
const sdk = generations[options.client];

function sure(truth, what) {
  if (!truth) throw new Error(`unexpected: ${what}`);
}

function makeTransport() {
  if (options.transport !== 'stdio') return new sdk[options.transport](new URL(options.url));
  const [program, ...args] = command;
  return new sdk.stdio({ command: program, args, stderr: 'ignore', env: { ...process.env } });
}

const seen = { logs: 0, onLog: () => {} };

function makeClient() {
  const info = { name: 'matrix', version: '1' };
  const capabilities = { sampling: {}, elicitation: { form: {} } };
  const client = sdk.make(info, { capabilities });
  client.setRequestHandler(sdk.sampling, () => ({
    model: 'none',
    role: 'assistant',
    content: { type: 'text', text: 'sampled-4711' },
  }));
  client.setRequestHandler(sdk.elicitation, () => ({ action: 'accept', content: { ok: true } }));
  client.setNotificationHandler(sdk.log, () => {
    seen.logs++;
    seen.onLog();
  });
  return client;
}

async function progress(client, name, args, steps) {
  const got = [];
  const onprogress = ({ progress, total }) => got.push(`${progress}/${total}`);
  const answer = await sdk.call(client, name, args, { onprogress, timeout });
  const want = Array.from({ length: steps }, (_, i) => `${i + 1}/${steps}`);
  // The SDKs drop a step that they read together with the result: the last one, bare as well.
  const whole = [want, want.slice(0, -1)].some((some) => got.join() === some.join());
  sure(whole, `steps: ${got.join()}`);
  return answer;
}

async function readText(client, uri) {
  const { contents } = await client.readResource({ uri }, { timeout });
  sure(contents[0].text.length > 0, 'an empty resource');
}

async function getPrompt(client, name) {
  const { messages } = await client.getPrompt({ name }, { timeout });
  sure(messages[0].content.text.length > 0, 'an empty prompt');
}

async function listTools(client, ...names) {
  const { tools } = await client.listTools({}, { timeout });
  for (const name of names) sure(tools.some((tool) => tool.name === name), `no ${name}`);
}

const everything = {
  'tools/list': (client) => listTools(client, 'echo', 'get-sum'),
  echo: async (client) => {
    const answer = await sdk.call(client, 'echo', { message: 'ä-4711' }, { timeout });
    sure(answer === 'Echo: ä-4711', answer);
  },
  'get-sum': async (client) => {
    const answer = await sdk.call(client, 'get-sum', { a: 2, b: 3 }, { timeout });
    sure(/\b5\b/.test(answer), answer);
  },
  progress: (client) =>
    progress(client, 'trigger-long-running-operation', { duration: 0.5, steps: 5 }, 5),
  resource: (client) => readText(client, 'demo://resource/dynamic/text/1'),
  prompt: (client) => getPrompt(client, 'simple-prompt'),
  ping: (client) => client.ping({ timeout }),
  sampling: async (client) => {
    const args = { prompt: 'question-4711', maxTokens: 10 };
    const answer = await sdk.call(client, 'trigger-sampling-request', args, { timeout });
    sure(answer.includes('sampled-4711'), answer);
  },
  notification: async (client) => {
    const arrived = new Promise((resolve) => (seen.onLog = resolve));
    await sdk.call(client, 'toggle-simulated-logging', {}, { timeout });
    await arrived;
    await sdk.call(client, 'toggle-simulated-logging', {}, { timeout });
  },
};

// The fixture serves both eras; what only one of them has is not among its probes.
const fixture = {
  'tools/list': (client) => listTools(client, 'test_simple_text', 'slow'),
  text: async (client) => {
    const answer = await sdk.call(client, 'test_simple_text', {}, { timeout });
    sure(answer.includes('simple text'), answer);
  },
  progress: (client) => progress(client, 'slow', { ms: 500, steps: 5 }, 5),
  resource: (client) => readText(client, 'test://static-text'),
  template: (client) => readText(client, 'test://template/4711/data'),
  prompt: (client) => getPrompt(client, 'test_simple_prompt'),
  sampling: async (client) => {
    const name = 'test_input_required_result_sampling';
    const answer = await sdk.call(client, name, {}, { timeout });
    sure(answer.includes('sampled-4711'), answer);
  },
  'own state': async (client) => {
    const name = 'test_input_required_result_request_state';
    const answer = await sdk.call(client, name, {}, { timeout });
    sure(answer === 'state-ok', answer);
  },
};

async function probe(run) {
  const begun = performance.now();
  let late = false;
  let timer;
  const end = new Promise((_, reject) => {
    timer = setTimeout(() => {
      late = true;
      reject(new Error(`no answer within ${PROBE_MS} ms`));
    }, PROBE_MS);
  });
  const result = { ok: true };
  try {
    await Promise.race([run(), end]);
  } catch (error) {
    Object.assign(result, { ok: false, late, error: String(error?.message ?? error) });
  }
  clearTimeout(timer);
  return { ...result, ms: Math.round(performance.now() - begun) };
}

const client = makeClient();
const transport = makeTransport();
const results = { connect: await probe(() => client.connect(transport, { timeout })) };
if (results.connect.ok)
  for (const [name, run] of Object.entries({ everything, fixture }[options.server]))
    results[name] = await probe(() => run(client));
if (results.connect.ok && options.transport === 'http' && transport.sessionId !== undefined)
  results.end = await probe(() => transport.terminateSession());
await within(2000, client.close(), 'close').catch(() => {});
console.log(JSON.stringify(results));
process.exit(0);
